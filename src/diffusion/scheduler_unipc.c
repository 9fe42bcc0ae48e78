/* scheduler_unipc.c: UniPC, a predictor and a corrector of one family (Zhao et al. 2023,
 * B(h) version; diffusers: UniPCMultistepScheduler with predict_x0). Leaves noise
 * schedules to scheduler_noise.c. */
#include "diffusion/scheduler_kind.h"

#include <math.h>

static void set_defaults(struct scheduler_config *c)
{
    c->solver_order = 2;
    c->solver_type = SOLVER_BH2;
    c->lower_order_final = true;
}

/* Fields whose default is the only value that is supported. */
static bool read_rest(const struct json *object, struct err *e)
{
    static const char *const absent[] = {"solver_p", "sigma_min", "sigma_max",
                                         "shift_terminal"};
    const struct json *corrector = NULL;
    bool predict_x0 = true;
    for (int i = 0; i < 4; i++)
        if (config_has(object, absent[i]))
            return json_fail(json_get(object, absent[i]), e,
                             "found a value, expected null (not supported)");
    if (!config_may_bool(object, "predict_x0", &predict_x0, e) ||
        !config_may_array(object, "disable_corrector", 0, 0, &corrector, e))
        return false;
    return predict_x0 || json_fail(json_get(object, "predict_x0"), e,
                                   "found false, expected true (not supported)");
}

static bool read_fields(struct scheduler_config *c, const struct json *object,
                        struct err *e)
{
    static const char *const refused[] = {
        "thresholding",    "use_exponential_sigmas", "use_beta_sigmas",
        "use_flow_sigmas", "use_dynamic_shifting",
    };
    static const char *const types[SOLVER_TYPES] = {"bh2", "bh1", "midpoint", "heun",
                                                    "logrho"};
    int type = 0;
    if (!scheduler_refuse_flags(object, refused, 5, e) || !read_rest(object, e) ||
        !scheduler_read_solver(c, object, types, &type, e))
        return false;
    /* What DPM-Solver calls its types is taken for bh2, as in __init__. */
    c->solver_type = type == 1 ? SOLVER_BH1 : SOLVER_BH2;
    return true;
}

static bool start(struct scheduler *sch, struct err *e)
{
    const struct scheduler_config *c = &sch->config;
    int steps = sch->steps;
    if (!scheduler_start_multistep(sch, e))
        return false;
    if (c->use_karras_sigmas)
        for (int i = 0; i < steps; i++)
            sch->timesteps[i] = rint(sch->timesteps[i]);
    if (c->use_karras_sigmas && c->final_sigma_is_min)
        sch->sigmas[steps] = sch->sigmas[steps - 1];
    return true;
}

/* Solves a small system by elimination with row pivoting, in f32 as torch.linalg.solve.
 */
static void solve(int n, float a[SOLVER_MAX_ORDER][SOLVER_MAX_ORDER], float *b)
{
    for (int k = 0; k < n; k++) {
        int pivot = k;
        for (int r = k + 1; r < n; r++)
            if (fabsf(a[r][k]) > fabsf(a[pivot][k]))
                pivot = r;
        for (int c = 0; c < n; c++) {
            float swap = a[k][c];
            a[k][c] = a[pivot][c];
            a[pivot][c] = swap;
        }
        float swap = b[k];
        b[k] = b[pivot];
        b[pivot] = swap;
        for (int r = k + 1; r < n; r++) {
            float factor = a[r][k] / a[k][k];
            for (int c = k; c < n; c++)
                a[r][c] -= factor * a[k][c];
            b[r] -= factor * b[k];
        }
    }
    for (int k = n - 1; k >= 0; k--) {
        for (int c = k + 1; c < n; c++)
            b[k] -= a[k][c] * b[c];
        b[k] /= a[k][k];
    }
}

/* What predictor and corrector have in common, from point `from` to the next. */
struct expansion {
    float h_phi_1, b_h;
    float r[SOLVER_MAX_ORDER];   /* places of earlier points, in steps; 1 at the end */
    float rho[SOLVER_MAX_ORDER]; /* weights of the differences there */
};

/* `unknowns`: 0 to `order` weights are wanted (order - 1: predictor, order: corrector).
 */
static void expand(struct expansion *x, const struct scheduler *sch, int from, int order,
                   int unknowns)
{
    const float *sigma = sch->sigmas;
    float lambda = scheduler_lambda_of(sigma[from]);
    float h = scheduler_lambda_of(sigma[from + 1]) - lambda;
    for (int k = 1; k < order; k++)
        x->r[k - 1] = (scheduler_lambda_of(sigma[from - k]) - lambda) / h;
    x->r[order - 1] = 1;
    x->h_phi_1 = expm1f(-h);
    x->b_h = sch->config.solver_type == SOLVER_BH1 ? -h : x->h_phi_1;

    float rows[SOLVER_MAX_ORDER][SOLVER_MAX_ORDER], h_phi_k = x->h_phi_1 / -h - 1,
                                                    factorial = 1;
    for (int i = 0; i < order; i++) {
        for (int k = 0; k < order; k++)
            rows[i][k] = i == 0 ? 1 : rows[i - 1][k] * x->r[k];
        x->rho[i] = h_phi_k * factorial / x->b_h;
        factorial *= (float)(i + 2);
        h_phi_k = h_phi_k / -h - 1 / factorial;
    }
    /* A single unknown is fixed, "a simplified version". */
    if (unknowns == 1)
        x->rho[0] = 0.5f;
    else
        solve(unknowns, rows, x->rho);
}

/* The latent at the point after `from`, from the latent x at `from` and the predictions
 * in the history, whose newest is at `from`; `output`, the prediction at the point
 * itself, makes it the corrector (diffusers: multistep_uni_p_bh_update,
 * multistep_uni_c_bh_update).
 */
static tc_tensor *update(tc_scope *s, const struct scheduler *sch, int from, int order,
                         tc_tensor *x, tc_tensor *output)
{
    struct expansion p;
    int unknowns = output ? order : order - 1;
    expand(&p, sch, from, order, unknowns);

    float here = sch->sigmas[from], next = sch->sigmas[from + 1];
    float alpha = scheduler_alpha_of(next);
    double c[2 + SOLVER_MAX_ORDER] = {next * alpha / (here * scheduler_alpha_of(here)),
                                      -alpha * p.h_phi_1};
    tc_tensor *terms[2 + SOLVER_MAX_ORDER] = {x, sch->history[0]};
    for (int k = 0; k < unknowns; k++) {
        bool last = output && k == unknowns - 1;
        c[k + 2] = -alpha * p.b_h * p.rho[k] / p.r[last ? order - 1 : k];
        c[1] -= c[k + 2];
        terms[k + 2] = last ? output : sch->history[k + 1];
    }
    return tc_combine(s, 2 + unknowns, c, terms);
}

static tc_tensor *step(tc_scope *s, struct scheduler *sch, int i, tc_tensor *output,
                       tc_tensor *x, tc_rng *const *rngs)
{
    (void)rngs;
    const struct scheduler_config *c = &sch->config;
    tc_tensor *x0 = scheduler_predict_x0(sch->scope, sch, sch->sigmas[i], output, x);
    if (i > 0)
        x = update(s, sch, i - 1, sch->order, sch->kept_sample, x0);
    scheduler_remember(sch, x0, c->solver_order);
    sch->kept_sample = tc_replace(sch->scope, sch->kept_sample, scheduler_keep(sch, x));

    int left = sch->steps - i;
    sch->order = sch->history_count;
    if (c->lower_order_final && sch->order > left)
        sch->order = left;
    return update(s, sch, i, sch->order, x, NULL);
}

const struct scheduler_kind scheduler_unipc = {
    .name = "unipc",
    .class_name = "UniPCMultistepScheduler",
    .has_karras = true,
    .has_zero_snr = true,
    .predicts_sample = true,
    .set_defaults = set_defaults,
    .read = read_fields,
    .start = start,
    .step = step,
};
