/* progress.c: calls the callbacks of a struct progress. Leaves showing to src/cli. */
#include "diffens/progress.h"

#include <stdarg.h>
#include <stdio.h>

void progress_at(const struct progress *p, const struct progress_at *at)
{
    if (p && p->at)
        p->at(p->user, at);
}

void progress_note(const struct progress *p, enum note_level level, const char *format,
                   ...)
{
    if (!p || !p->note)
        return;
    char line[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    p->note(p->user, level, line);
}

void progress_made(const struct progress *p, const char *path)
{
    if (p && p->made)
        p->made(p->user, path);
}
