/* terminal.c: escape sequences (ECMA-48) and what the terminal can do. Leaves the texts
 * to progress_bar.c. */
#include "cli/terminal.h"

#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define COLUMNS_UNKNOWN 80

static bool is_set(const char *variable)
{
    const char *value = getenv(variable);
    return value && *value;
}

static bool locale_is_utf8(void)
{
    locale_t user = newlocale(LC_CTYPE_MASK, "", (locale_t)0);
    if (!user)
        return false;
    bool utf8 = strcmp(nl_langinfo_l(CODESET, user), "UTF-8") == 0;
    freelocale(user);
    return utf8;
}

void terminal_open(struct terminal *t)
{
    const char *kind = getenv("TERM");
    *t = (struct terminal){0};
    t->usable = isatty(STDERR_FILENO) && kind && *kind && strcmp(kind, "dumb") != 0;
    t->utf8 = locale_is_utf8();
    t->color = t->usable && !is_set("NO_COLOR");
}

int terminal_columns(void)
{
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
        return COLUMNS_UNKNOWN;
    return size.ws_col;
}

/* A terminal that became narrower has broken the line into several. */
static void add_return(struct str *out, const struct terminal *t, int width)
{
    int rows = t->drawn > 0 && width < t->width ? (t->drawn - 1) / width : 0;
    if (rows > 0)
        str_addf(out, "\033[%dA", rows);
    str_add(out, "\r");
    if (rows > 0)
        str_add(out, "\033[J");
}

static void write_out(const struct str *out)
{
    fwrite(str_text(out), 1, out->size, stderr);
    fflush(stderr);
}

void terminal_draw(struct terminal *t, const struct str *line, int columns)
{
    int width = terminal_columns();
    struct str out = {0};
    add_return(&out, t, width);
    str_add_bytes(&out, str_text(line), line->size);
    str_add(&out, "\033[K");
    write_out(&out);
    str_free(&out);
    t->drawn = columns;
    t->width = width;
}

void terminal_clear(struct terminal *t)
{
    struct str out = {0};
    if (t->drawn == 0)
        return;
    add_return(&out, t, terminal_columns());
    str_add(&out, "\033[K");
    write_out(&out);
    str_free(&out);
    t->drawn = 0;
}
