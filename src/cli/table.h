/* table.h: texts in aligned columns. Leaves what is in them to the commands. */
#ifndef DIFFENS_CLI_TABLE_H
#define DIFFENS_CLI_TABLE_H

#include "base/str.h"

#define TABLE_COLUMNS 9

/* Start from `{.align = "lrr"}`: a letter for each column, l left or r right. */
struct table {
    const char *align;
    struct str cells; /* NUL after each */
    int count;
};

/* The next cell, row by row. */
void table_cell(struct table *t, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Adds the rows to `out`, two blanks between columns, and frees the table. */
void table_end(struct table *t, struct str *out);

/* "12.3 MB", "8.40 M": decimal millions. Return `out`. */
const char *table_megabytes(char out[32], double bytes);
const char *table_millions(char out[32], double count);

#endif
