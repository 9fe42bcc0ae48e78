/* shapes.c: looks tensors up for those who read architectures off them. */
#include "models/shapes.h"

#include "base/str.h"

#include <stdarg.h>
#include <stdio.h>

bool shapes_need(const struct tensor_file *file, const char *path, const char *name,
                 int rank, const char *what, const struct tensor_entry **out,
                 struct err *e)
{
    const struct tensor_entry *entry = tensor_file_find(file, name);
    if (!entry)
        return err_set(e, ERR_INPUT, "%s: %s: found no such tensor, expected %s", path,
                       name, what);
    if (entry->rank != rank)
        return err_set(e, ERR_INPUT, "%s: %s: found rank %d, expected %d", path, name,
                       entry->rank, rank);
    for (int i = 0; i < rank; i++)
        if (entry->dim[i] < 1 || entry->dim[i] > SHAPE_MAX)
            return err_set(e, ERR_INPUT,
                           "%s: %s: dimension %d: found %lld, expected 1..%d", path, name,
                           i, (long long)entry->dim[i], SHAPE_MAX);
    *out = entry;
    return true;
}

const struct tensor_entry *shapes_at(const struct tensor_file *file, const char *format,
                                     ...)
{
    char name[160];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    return tensor_file_find(file, name);
}
