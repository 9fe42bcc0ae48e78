/* losses.h: the losses of an optimisation as texts: the table of its epochs, its part of
 * run.json, its verdict. Leaves computing them to optimize.h. */
#ifndef DIFFENS_LOSSES_H
#define DIFFENS_LOSSES_H

#include "base/str.h"
#include "io/json_write.h"
#include "run/loss_charts.h"
#include "stages/plan.h"

/* CSV: "epoch,rate,total,clip_NAME,perceptual_NAME,...", and "variation" where it has a
 * weight; and a line an epoch. */
void losses_add_header(struct str *csv, const struct plan *p);
void losses_add_row(struct str *csv, const struct plan *p,
                    const struct optimize_row *row);

struct losses_case {
    const struct plan *p;
    int64_t index_case;
};

/* The object of a case that is done. `user` is a struct losses_case. */
void losses_write_outcome(struct json_writer *w, const void *user);

/* One line: how far below the best baseline the final picture is in all, and below the
 * pixel average for each parent. */
void losses_add_verdict(struct str *line, const struct plan *p, int64_t index_case);

/* The baselines of a case, for charts, from the record, which may be older than this
 * process; none while they are not known. ERR_MEMORY. */
bool losses_levels(const struct plan *p, int64_t index_case, struct loss_levels *levels,
                   struct err *e);

#endif
