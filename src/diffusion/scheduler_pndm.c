/* scheduler_pndm.c: pseudo numerical methods (Liu et al. 2022; diffusers: PNDMScheduler):
 * Runge-Kutta steps to begin with, unless skip_prk_steps, then linear multistep. Leaves
 * noise schedules to scheduler_noise.c. */
#include "diffusion/scheduler_kind.h"

#include <math.h>
#include <stdlib.h>

enum { PRK_STEPS = 3, PRK_EVALUATIONS = 4 * PRK_STEPS, PLMS_ORDER = 4 };

static void set_defaults(struct scheduler_config *c)
{
    c->timestep_spacing = SPACING_LEADING;
}

static bool read_fields(struct scheduler_config *c, const struct json *object,
                        struct err *e)
{
    return config_may_bool(object, "skip_prk_steps", &c->skip_prk_steps, e) &&
           config_may_bool(object, "set_alpha_to_one", &c->set_alpha_to_one, e);
}

/* Each step t -> t' is evaluated at t, twice in the middle, and at t'. */
static void place_prk(struct scheduler *sch, const double *spaced)
{
    int half = sch->config.num_train_timesteps / sch->steps / 2;
    for (int i = 0; i < PRK_STEPS; i++) {
        double *t = sch->timesteps + 4 * i;
        t[0] = spaced[i];
        t[1] = t[2] = spaced[i + 1] + half;
        t[3] = spaced[i + 1];
    }
    for (int i = PRK_STEPS; i < sch->steps; i++)
        sch->timesteps[PRK_EVALUATIONS + i - PRK_STEPS] = spaced[i];
}

/* The first step is taken twice, the second time with the mean of both outputs. */
static void place_plms(struct scheduler *sch, const double *spaced)
{
    int at = 0;
    for (int i = 0; i < sch->steps; i++) {
        sch->timesteps[at++] = spaced[i];
        if (i == 1)
            sch->timesteps[at++] = spaced[i];
    }
}

static bool check_timesteps(const struct scheduler *sch, struct err *e)
{
    int last = sch->config.num_train_timesteps - 1;
    for (int i = 0; i < sch->evaluations; i++)
        if (sch->timesteps[i] > last)
            return err_set(e, ERR_INPUT,
                           "steps: found %d, which need timestep %g, expected at most %d "
                           "(steps_offset %d)",
                           sch->steps, sch->timesteps[i], last, sch->config.steps_offset);
    return true;
}

static bool start(struct scheduler *sch, struct err *e)
{
    bool skip = sch->config.skip_prk_steps;
    int steps = sch->steps;
    int evaluations = skip ? steps + (steps > 1) : PRK_EVALUATIONS + steps - PRK_STEPS;
    if (!skip && steps <= PRK_STEPS)
        return err_set(e, ERR_INPUT,
                       "steps: found %d, expected at least %d without skip_prk_steps",
                       steps, PRK_STEPS + 1);
    double *spaced = calloc((size_t)steps, sizeof *spaced);
    bool ok = spaced || err_set(e, ERR_MEMORY, "out of memory for %d timesteps", steps);
    ok = ok && scheduler_make_alphas(sch, 0, e) &&
         scheduler_allocate(sch, evaluations, false, e);
    if (ok) {
        scheduler_space(sch, false, true, spaced);
        if (skip)
            place_plms(sch, spaced);
        else
            place_prk(sch, spaced);
        ok = check_timesteps(sch, e);
    }
    free(spaced);
    return ok;
}

/* From timestep t to t_prev: formula 9 of the paper (diffusers: _get_prev_sample). */
static tc_tensor *transfer(tc_scope *s, const struct scheduler *sch, int t, int t_prev,
                           tc_tensor *output, tc_tensor *x)
{
    const struct scheduler_config *c = &sch->config;
    float alpha = sch->alphas[t];
    float alpha_prev = t_prev >= 0           ? sch->alphas[t_prev]
                       : c->set_alpha_to_one ? 1
                                             : sch->alphas[0];
    float beta = 1 - alpha, beta_prev = 1 - alpha_prev;
    if (c->prediction_type == PREDICT_V)
        output = tc_combine(s, 2, (double[]){sqrtf(alpha), sqrtf(beta)},
                            (tc_tensor *[]){output, x});
    float below = alpha * sqrtf(beta_prev) + sqrtf(alpha * beta * alpha_prev);
    return tc_combine(
        s, 2, (double[]){sqrtf(alpha_prev / alpha), -(alpha_prev - alpha) / below},
        (tc_tensor *[]){x, output});
}

static tc_tensor *step_prk(tc_scope *s, struct scheduler *sch, int i, tc_tensor *output,
                           tc_tensor *x)
{
    static const double weight[] = {1.0 / 6, 1.0 / 3, 1.0 / 3, 1.0 / 6};
    int half = sch->config.num_train_timesteps / sch->steps / 2;
    int stage = i % 4, t = (int)sch->timesteps[i - stage];
    int t_prev = (int)sch->timesteps[i] - (i % 2 ? 0 : half);
    if (stage == 0) {
        scheduler_remember(sch, scheduler_keep(sch, output), PLMS_ORDER);
        sch->kept_sample =
            tc_replace(sch->scope, sch->kept_sample, scheduler_keep(sch, x));
        sch->kept_output = tc_replace(sch->scope, sch->kept_output,
                                      tc_scale(sch->scope, output, weight[0]));
    } else {
        sch->kept_output =
            tc_replace(sch->scope, sch->kept_output,
                       tc_combine(sch->scope, 2, (double[]){1, weight[stage]},
                                  (tc_tensor *[]){sch->kept_output, output}));
    }
    if (stage == 3)
        output = sch->kept_output;
    return transfer(s, sch, t, t_prev, output, sch->kept_sample);
}

static tc_tensor *step_plms(tc_scope *s, struct scheduler *sch, int i, tc_tensor *output,
                            tc_tensor *x)
{
    /* Adams-Bashforth of order 1 to 4. */
    static const double weights[PLMS_ORDER][PLMS_ORDER] = {
        {1},
        {3.0 / 2, -1.0 / 2},
        {23.0 / 12, -16.0 / 12, 5.0 / 12},
        {55.0 / 24, -59.0 / 24, 37.0 / 24, -9.0 / 24},
    };
    int stride = sch->config.num_train_timesteps / sch->steps;
    int t = (int)sch->timesteps[i];
    if (i == 1 && sch->config.skip_prk_steps) {
        output = tc_combine(s, 2, (double[]){0.5, 0.5},
                            (tc_tensor *[]){output, sch->history[0]});
        return transfer(s, sch, t + stride, t, output, sch->kept_sample);
    }
    if (i == 0)
        sch->kept_sample =
            tc_replace(sch->scope, sch->kept_sample, scheduler_keep(sch, x));
    scheduler_remember(sch, scheduler_keep(sch, output), PLMS_ORDER);
    output =
        tc_combine(s, sch->history_count, weights[sch->history_count - 1], sch->history);
    return transfer(s, sch, t, t - stride, output, x);
}

static tc_tensor *step(tc_scope *s, struct scheduler *sch, int i, tc_tensor *output,
                       tc_tensor *x, tc_rng *const *rngs)
{
    (void)rngs;
    if (!sch->config.skip_prk_steps && i < PRK_EVALUATIONS)
        return step_prk(s, sch, i, output, x);
    return step_plms(s, sch, i, output, x);
}

const struct scheduler_kind scheduler_pndm = {
    .name = "pndm",
    .class_name = "PNDMScheduler",
    .set_defaults = set_defaults,
    .read = read_fields,
    .start = start,
    .step = step,
};
