/* error.c: records the first failure. Leaves printing to main.c. */
#include "diffens/error.h"

#include "base/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool err_set(struct err *e, int code, const char *format, ...)
{
    if (e->code != ERR_OK)
        return false;
    e->code = code;
    va_list args;
    va_start(args, format);
    vsnprintf(e->message, sizeof e->message, format, args);
    va_end(args);
    return false;
}

bool err_hint(struct err *e, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(e->hint, sizeof e->hint, format, args);
    va_end(args);
    return false;
}

bool err_from(struct err *e, const struct err *cause, const char *path)
{
    if (e->code != ERR_OK)
        return false;
    *e = *cause;
    return path && err_in_file(e, path);
}

bool err_in_file(struct err *e, const char *path)
{
    char message[sizeof e->message];
    memcpy(message, e->message, sizeof message);
    const char *shown = STR_SHOW(path);
    int room = (int)(sizeof e->message - strlen(shown) - sizeof ": ");
    snprintf(e->message, sizeof e->message, "%s: %.*s", shown, room, message);
    return false;
}
