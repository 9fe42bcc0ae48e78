/* plan_work.h: what a planned run costs, before it is done. */
#ifndef DIFFENS_PLAN_WORK_H
#define DIFFENS_PLAN_WORK_H

#include "stages/plan.h"

/* Of `peak` bytes are those that one picture, or one optimised case, takes in fp32 beside
 * the weights. */
struct plan_work {
    struct tc_work draw; /* parents: all that are not there yet */
    struct tc_work mix;  /* what becomes of them */
    int64_t unet_runs;   /* latents that go through a whole UNet, and */
    int64_t outer_runs;  /* through its outermost layers alone */
};

/* Counts the operations of every network that the run will use, at the sizes at which it
 * will, by running it on shapes alone. */
bool plan_count_work(const struct plan *p, struct plan_work *work, struct err *e);

/* Measures the device that the run will use, for about a second, with convolutions and
 * products of the run's own sizes, and says how long the run will compute there. */
bool plan_measure(const struct plan *p, const struct plan_work *work, double *seconds,
                  struct err *e);

#endif
