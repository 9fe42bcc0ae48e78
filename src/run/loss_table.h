/* loss_table.h: the table of losses that a run leaves (CASE_losses.csv), short enough to
 * be drawn. Leaves drawing to loss_charts.h. */
#ifndef DIFFENS_RUN_LOSS_TABLE_H
#define DIFFENS_RUN_LOSS_TABLE_H

#include "diffens/error.h"

#include <stdint.h>

#define LOSS_TABLE_COLUMNS 80
#define LOSS_TABLE_POINTS 512 /* longer tables are averaged over neighbouring rows */

/* Start from `{0}`. The first column is the epoch. */
struct loss_table {
    int columns, points;
    char *name[LOSS_TABLE_COLUMNS];
    double *value[LOSS_TABLE_COLUMNS]; /* [points] */
    int64_t rows;                      /* of the file */
};

/* Reads a table (RFC 4180: a header, then numbers). ERR_INPUT, ERR_MEMORY. */
bool loss_table_read(struct loss_table *t, const char *path, struct err *e);

/* Accepts a zeroed table. */
void loss_table_free(struct loss_table *t);

/* The column of that name, or -1. */
int loss_table_column(const struct loss_table *t, const char *name);

#endif
