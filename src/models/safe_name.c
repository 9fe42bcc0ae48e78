/* safe_name.c: which names may become parts of file names. Leaves files to others. */
#include "models/safe_name.h"

#include "base/str.h"

#include <string.h>

bool safe_name(const char *name)
{
    size_t size = strlen(name);
    return size >= 1 && size <= SAFE_NAME_MAX && name[0] != '.' && name[0] != '-' &&
           !strpbrk(name, "/\\") && str_is_printable(name);
}
