/* safe_name.c: which names may become parts of file names. Leaves files to others. */
#include "models/safe_name.h"

#include "base/utf8.h"

#include <string.h>

bool safe_name(const char *name)
{
    size_t size = strlen(name);
    if (size < 1 || size > SAFE_NAME_MAX || name[0] == '.' || name[0] == '-' ||
        !utf8_valid(name, size, NULL))
        return false;
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)name[i];
        if (c < 0x20 || c == 0x7f || c == '/' || c == '\\')
            return false;
    }
    return true;
}
