/* loss_charts.h: which lines the charts of an optimisation have. Leaves drawing them to
 * chart.h. */
#ifndef DIFFENS_RUN_LOSS_CHARTS_H
#define DIFFENS_RUN_LOSS_CHARTS_H

#include "run/chart.h"
#include "run/loss_table.h"

#define LOSS_CHARTS 3
#define LOSS_BASELINES 8

#define LOSS_PARENTS 32

/* What the losses of a case are measured against, where it is known. */
struct loss_levels {
    int totals; /* 0: nothing is known */
    struct {
        char name[64];
        double total;
    } total[LOSS_BASELINES];
    double clip[LOSS_PARENTS], perceptual[LOSS_PARENTS]; /* of the pixel average */
};

/* Total, CLIP and perceptual losses, the latter two by parent. The table and the texts
 * outlive the charts. */
void loss_charts_make(struct chart charts[LOSS_CHARTS], const struct loss_table *t,
                      const struct loss_levels *levels, int models,
                      const char *const *model_names);

#endif
