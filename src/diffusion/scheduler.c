/* scheduler.c: the interface that all schedulers share, and what they keep between steps.
 * Leaves formulas to the files of the schedulers. */
#include "diffusion/scheduler_kind.h"

#include <math.h>
#include <stdlib.h>

struct scheduler *scheduler_new(tc_scope *s, const struct scheduler_config *c, int steps,
                                struct err *e)
{
    if (steps < 1 || steps > c->num_train_timesteps) {
        err_set(e, ERR_INPUT, "steps: found %d, expected 1..%d (num_train_timesteps)",
                steps, c->num_train_timesteps);
        return NULL;
    }
    struct scheduler *sch = calloc(1, sizeof *sch);
    if (!sch) {
        err_set(e, ERR_MEMORY, "out of memory");
        return NULL;
    }
    sch->config = *c;
    sch->steps = steps;
    sch->init_noise_sigma = 1;
    sch->scope = tc_push(s);
    bool ok = c->kind->start(sch, e);
    sch->config.trained_betas = NULL; /* borrowed; the alphas are made of them */
    if (ok)
        return sch;
    scheduler_free(sch);
    return NULL;
}

void scheduler_free(struct scheduler *sch)
{
    if (!sch)
        return;
    tc_pop(sch->scope, NULL);
    free(sch->timesteps);
    free(sch->alphas);
    free(sch->sigmas);
    free(sch);
}

int scheduler_evaluations(const struct scheduler *sch)
{
    return sch->evaluations;
}

double scheduler_timestep(const struct scheduler *sch, int i)
{
    return sch->timesteps[i];
}

double scheduler_init_noise_sigma(const struct scheduler *sch)
{
    return sch->init_noise_sigma;
}

tc_tensor *scheduler_scale_input(tc_scope *s, const struct scheduler *sch, tc_tensor *x,
                                 int i)
{
    if (!sch->config.kind->scales_input)
        return x;
    float sigma = sch->sigmas[i];
    return scheduler_divide(s, x, sqrtf(sigma * sigma + 1));
}

tc_tensor *scheduler_step(tc_scope *s, struct scheduler *sch, int i, tc_tensor *output,
                          tc_tensor *x, tc_rng *const *rngs)
{
    tc_scope *step = tc_push(s);
    output = tc_cast(step, output, TC_F32);
    x = tc_cast(step, x, TC_F32);
    return tc_pop(step, sch->config.kind->step(step, sch, i, output, x, rngs));
}

tc_tensor *scheduler_keep(struct scheduler *sch, tc_tensor *x)
{
    return tc_cast(sch->scope, x, TC_F32);
}

tc_tensor *scheduler_divide(tc_scope *s, tc_tensor *x, float divisor)
{
    return tc_div(s, x, tc_full(s, TC_F32, SHAPE(1), divisor));
}

void scheduler_remember(struct scheduler *sch, tc_tensor *newest, int most)
{
    tc_tensor *oldest = NULL;
    if (sch->history_count == most)
        oldest = sch->history[most - 1];
    else
        sch->history_count++;
    for (int i = sch->history_count - 1; i > 0; i--)
        sch->history[i] = sch->history[i - 1];
    sch->history[0] = tc_replace(sch->scope, oldest, newest);
}
