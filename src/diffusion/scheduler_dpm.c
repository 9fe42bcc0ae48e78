/* scheduler_dpm.c: DPM-Solver++ multistep (Lu et al. 2022; diffusers:
 * DPMSolverMultistepScheduler with algorithm_type dpmsolver++). Leaves noise schedules to
 * scheduler_noise.c. */
#include "diffusion/scheduler_kind.h"

#include <math.h>

enum { FEW_STEPS = 15 };

static void set_defaults(struct scheduler_config *c)
{
    c->solver_order = 2;
    c->solver_type = SOLVER_MIDPOINT;
    c->lower_order_final = true;
}

static bool read_algorithm(const struct json *object, struct err *e)
{
    /* What UniPC and DEIS call theirs is taken for the own one, as in __init__. */
    static const char *const algorithms[] = {"dpmsolver++", "deis"};
    int choice = 0;
    if (config_has(object, "variance_type"))
        return json_fail(json_get(object, "variance_type"), e,
                         "found a value, expected null (not supported)");
    if (config_has(object, "lambda_min_clipped"))
        return json_fail(json_get(object, "lambda_min_clipped"), e,
                         "found a value, expected -Infinity or null (not supported)");
    return scheduler_read_choice(object, "algorithm_type", algorithms, 2, &choice, e);
}

static bool read_fields(struct scheduler_config *c, const struct json *object,
                        struct err *e)
{
    static const char *const refused[] = {
        "thresholding",   "use_exponential_sigmas", "use_beta_sigmas",
        "use_lu_lambdas", "use_flow_sigmas",
    };
    static const char *const types[SOLVER_TYPES] = {"midpoint", "heun", "logrho", "bh1",
                                                    "bh2"};
    int type = 0;
    if (!scheduler_refuse_flags(object, refused, 5, e) || !read_algorithm(object, e) ||
        !scheduler_read_solver(c, object, types, &type, e) ||
        !config_may_bool(object, "euler_at_final", &c->euler_at_final, e))
        return false;
    c->solver_type = type == 1 ? SOLVER_HEUN : SOLVER_MIDPOINT;
    return true;
}

static bool start(struct scheduler *sch, struct err *e)
{
    const struct scheduler_config *c = &sch->config;
    if (!scheduler_start_multistep(sch, e))
        return false;
    if (c->use_karras_sigmas)
        for (int i = 0; i < sch->steps; i++)
            sch->timesteps[i] = c->beta_schedule == BETAS_SQUAREDCOS_CAP_V2
                                    ? floor(sch->timesteps[i])
                                    : rint(sch->timesteps[i]);
    return true;
}

/* The order of step i (diffusers: step, lower_order_final and lower_order_second). */
static int order_at(const struct scheduler *sch, int i)
{
    const struct scheduler_config *c = &sch->config;
    int left = sch->steps - i, order = sch->history_count;
    bool lower = c->lower_order_final && sch->steps < FEW_STEPS;
    if (left == 1 && (c->euler_at_final || lower || !c->final_sigma_is_min))
        return 1;
    if (left == 2 && lower && order > 2)
        return 2;
    return order;
}

/* Weights of the predictions m[0], newest first, of the first `order` terms of
 *   -alpha (e^-h - 1) D0 + k1 D1 + k2 D2
 * with D1 and D2 the differences of first and second order (section 3 of the paper). */
static void weigh(const struct scheduler *sch, int i, int order,
                  double m[SOLVER_MAX_ORDER])
{
    const float *sigma = sch->sigmas;
    float lambda = scheduler_lambda_of(sigma[i]);
    float h = scheduler_lambda_of(sigma[i + 1]) - lambda;
    float alpha = scheduler_alpha_of(sigma[i + 1]);
    float decay = expf(-h) - 1;
    m[0] = -alpha * decay;
    if (order == 1)
        return;
    float r0 = (lambda - scheduler_lambda_of(sigma[i - 1])) / h;
    float k1 = order == 2 && sch->config.solver_type == SOLVER_MIDPOINT
                   ? -0.5f * (alpha * decay)
                   : alpha * (decay / h + 1);
    double first = k1, second = 0; /* weights of (m0 - m1) / r0 and (m1 - m2) / r1 */
    if (order == 3) {
        float r1 =
            (scheduler_lambda_of(sigma[i - 1]) - scheduler_lambda_of(sigma[i - 2])) / h;
        float k2 = -alpha * ((decay + h) / (h * h) - 0.5f);
        double shift = (k1 * r0 + k2) / (r0 + r1);
        first += shift;
        second = -shift / r1;
    }
    first /= r0;
    m[0] += first;
    m[1] = second - first;
    m[2] = -second;
}

static tc_tensor *step(tc_scope *s, struct scheduler *sch, int i, tc_tensor *output,
                       tc_tensor *x, tc_rng *const *rngs)
{
    (void)rngs;
    int most = sch->config.solver_order;
    scheduler_remember(
        sch, scheduler_predict_x0(sch->scope, sch, sch->sigmas[i], output, x), most);
    int order = order_at(sch, i);
    double c[1 + SOLVER_MAX_ORDER] = {0};
    tc_tensor *terms[1 + SOLVER_MAX_ORDER] = {x};
    float here = sch->sigmas[i], next = sch->sigmas[i + 1];
    c[0] = next * scheduler_alpha_of(next) / (here * scheduler_alpha_of(here));
    weigh(sch, i, order, c + 1);
    for (int k = 0; k < order; k++)
        terms[k + 1] = sch->history[k];
    return tc_combine(s, 1 + order, c, terms);
}

const struct scheduler_kind scheduler_dpm = {
    .name = "dpm++2m",
    .class_name = "DPMSolverMultistepScheduler",
    .has_karras = true,
    .has_zero_snr = true,
    .predicts_sample = true,
    .set_defaults = set_defaults,
    .read = read_fields,
    .start = start,
    .step = step,
};
