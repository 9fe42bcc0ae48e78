/* loss_table.c: reads tables of losses in one pass and little memory, however many epochs
 * they have. Leaves writing them to the stages. */
#include "run/loss_table.h"

#include "base/str.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* More than any number of columns and names of models need; the end and a NUL with it. */
enum { LINE_ROOM = 64 * 1024 + 2 };

static bool no_memory(struct err *e)
{
    return err_set(e, ERR_MEMORY, "no host memory for a table of losses");
}

/* The next field of a line, unquoted in place; NULL at the end. */
static char *next_field(char **at)
{
    char *field = *at, *out = field, *c = field;
    bool quoted = c && *c == '"';
    if (!field)
        return NULL;
    for (c += quoted; *c && (quoted || *c != ','); c++) {
        if (quoted && *c == '"' && *++c != '"')
            quoted = false;
        if (*c == '\0' || (!quoted && *c == ','))
            break;
        *out++ = *c;
    }
    *at = *c ? c + 1 : NULL;
    *out = '\0';
    return field;
}

static bool read_header(struct loss_table *t, char *line, struct err *e)
{
    for (char *at = line, *name; (name = next_field(&at));) {
        if (t->columns == LOSS_TABLE_COLUMNS)
            return err_set(e, ERR_INPUT,
                           "found more than %d columns, expected at most that",
                           LOSS_TABLE_COLUMNS);
        int c = t->columns++;
        t->name[c] = str_dup(name);
        t->value[c] = calloc(LOSS_TABLE_POINTS, sizeof *t->value[c]);
        if (!t->name[c] || !t->value[c])
            return no_memory(e);
    }
    return true;
}

static bool read_row(const struct loss_table *t, char *line, double *row, struct err *e)
{
    char *at = line, *end;
    for (int c = 0; c < t->columns; c++) {
        char *field = next_field(&at);
        row[c] = field ? strtod(field, &end) : 0;
        if (!field || end == field || *end)
            return err_set(e, ERR_INPUT, "row %lld: found \"%s\", expected %d numbers",
                           (long long)t->rows + 1, STR_SHOW(field ? field : ""),
                           t->columns);
    }
    return true;
}

/* Rows that are averaged into the next point. */
struct pending {
    double sum[LOSS_TABLE_COLUMNS];
    int64_t count, stride;
};

static void end_point(struct loss_table *t, struct pending *p)
{
    for (int c = 0; c < t->columns; c++) {
        t->value[c][t->points] = p->sum[c] / (double)p->count;
        p->sum[c] = 0;
    }
    t->points++;
    p->count = 0;
}

/* Makes room: every two neighbours become one point. */
static void halve(struct loss_table *t, struct pending *p)
{
    t->points /= 2;
    p->stride *= 2;
    for (int c = 0; c < t->columns; c++)
        for (int i = 0; i < t->points; i++)
            t->value[c][i] = (t->value[c][2 * i] + t->value[c][2 * i + 1]) / 2;
}

static void add_row(struct loss_table *t, struct pending *p, const double *row)
{
    for (int c = 0; c < t->columns; c++)
        p->sum[c] += row[c];
    t->rows++;
    if (++p->count < p->stride)
        return;
    end_point(t, p);
    if (t->points == LOSS_TABLE_POINTS)
        halve(t, p);
}

/* Ends the line; false where it does not fit. What follows a NUL is left out. */
static bool cut_line(char *line, int64_t number, struct err *e)
{
    size_t size = strcspn(line, "\r\n");
    if (size == LINE_ROOM - 1)
        return err_set(e, ERR_INPUT,
                       "line %lld: found more than %d bytes, expected at most that",
                       (long long)number, LINE_ROOM - 2);
    line[size] = '\0';
    return true;
}

static bool read_lines(struct loss_table *t, FILE *file, struct err *e)
{
    struct pending p = {.stride = 1};
    double row[LOSS_TABLE_COLUMNS];
    char *line = malloc(LINE_ROOM);
    bool ok = line || no_memory(e);
    for (int64_t n = 1; ok && fgets(line, LINE_ROOM, file); n++) {
        ok = cut_line(line, n, e) &&
             (n == 1 ? read_header(t, line, e) : read_row(t, line, row, e));
        if (ok && n > 1)
            add_row(t, &p, row);
    }
    if (ok && p.count > 0)
        end_point(t, &p);
    if (ok && ferror(file))
        ok = err_set(e, ERR_INPUT, "cannot read: %s", strerror(errno));
    free(line);
    return ok;
}

bool loss_table_read(struct loss_table *t, const char *path, struct err *e)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return err_set(e, ERR_INPUT, "%s: cannot read: %s", STR_SHOW(path),
                       strerror(errno));
    bool ok = read_lines(t, file, e) || err_in_file(e, path);
    fclose(file);
    if (!ok)
        loss_table_free(t);
    return ok;
}

void loss_table_free(struct loss_table *t)
{
    for (int c = 0; c < t->columns; c++) {
        free(t->name[c]);
        free(t->value[c]);
    }
    *t = (struct loss_table){0};
}

int loss_table_column(const struct loss_table *t, const char *name)
{
    for (int c = 0; c < t->columns; c++)
        if (strcmp(t->name[c], name) == 0)
            return c;
    return -1;
}
