/* table.c: aligns columns; widths are counted in UTF-8 characters. */
#include "cli/table.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void table_cell(struct table *t, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    str_add_bytes(&t->cells, text, strlen(text) + 1);
    t->count++;
}

static int width_of(const char *text)
{
    int width = 0;
    for (; *text; text++)
        width += (*text & 0xc0) != 0x80;
    return width;
}

static void add_cell(struct str *out, const char *cell, int width, char align, bool last)
{
    int blanks = width - width_of(cell);
    if (align == 'r')
        str_addf(out, "%*s%s", blanks, "", cell);
    else
        str_addf(out, "%s%*s", cell, last ? 0 : blanks, "");
    while (last && out->size > 0 && out->bytes[out->size - 1] == ' ')
        out->size--;
    str_add(out, last ? "\n" : "  ");
}

void table_end(struct table *t, struct str *out)
{
    int columns = (int)strlen(t->align), widths[TABLE_COLUMNS] = {0};
    const char *cell = str_text(&t->cells);
    for (int i = 0; i < t->count && !t->cells.failed; i++, cell += strlen(cell) + 1)
        if (width_of(cell) > widths[i % columns])
            widths[i % columns] = width_of(cell);
    cell = str_text(&t->cells);
    for (int i = 0; i < t->count && !t->cells.failed; i++, cell += strlen(cell) + 1)
        add_cell(out, cell, widths[i % columns], t->align[i % columns],
                 i % columns == columns - 1);
    out->failed = out->failed || t->cells.failed;
    str_free(&t->cells);
    t->count = 0;
}

const char *table_megabytes(char out[32], double bytes)
{
    snprintf(out, 32, "%.1f MB", bytes / 1e6);
    return out;
}

const char *table_millions(char out[32], double count)
{
    snprintf(out, 32, "%.2f M", count / 1e6);
    return out;
}
