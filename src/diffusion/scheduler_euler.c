/* scheduler_euler.c: the solvers of the ordinary differential equation in sigma, after
 * Karras et al. 2022 and k-diffusion: Euler, Euler ancestral, Heun and linear multistep
 * (diffusers: EulerDiscreteScheduler and so on). Leaves noise schedules to
 * scheduler_noise.c. */
#include "diffusion/scheduler_kind.h"

#include <math.h>

/* Settings */

static bool read_plain(struct scheduler_config *c, const struct json *object,
                       struct err *e)
{
    (void)c;
    static const char *const refused[] = {"use_exponential_sigmas", "use_beta_sigmas"};
    return scheduler_refuse_flags(object, refused, 2, e);
}

static bool read_euler(struct scheduler_config *c, const struct json *object,
                       struct err *e)
{
    static const char *const interpolation[] = {"linear"}, *const type[] = {"discrete"};
    static const char *const limits[] = {"sigma_min", "sigma_max"};
    int choice = 0;
    for (int i = 0; i < 2; i++)
        if (config_has(object, limits[i]))
            return json_fail(json_get(object, limits[i]), e,
                             "found a value, expected null (not supported)");
    return read_plain(c, object, e) && scheduler_read_final_sigma(c, object, e) &&
           scheduler_read_choice(object, "interpolation_type", interpolation, 1, &choice,
                                 e) &&
           scheduler_read_choice(object, "timestep_type", type, 1, &choice, e);
}

static bool read_heun(struct scheduler_config *c, const struct json *object,
                      struct err *e)
{
    return read_plain(c, object, e) &&
           config_may_bool(object, "clip_sample", &c->clip_sample, e) &&
           config_may_double(object, "clip_sample_range", 0, INFINITY,
                             &c->clip_sample_range, e);
}

static void set_heun_defaults(struct scheduler_config *c)
{
    c->beta_start = 0.00085;
    c->beta_end = 0.012;
}

/* Timesteps and sigmas */

/* Heun visits each of the spaced points twice, but the first, the others once. */
static bool start_repeated(struct scheduler *sch, int visits, struct err *e)
{
    const struct scheduler_config *c = &sch->config;
    int steps = sch->steps, evaluations = visits * (steps - 1) + 1;
    if (!scheduler_make_alphas(sch, LEAST_ALPHA, e) ||
        !scheduler_allocate(sch, evaluations, true, e))
        return false;

    /* The first `steps` timesteps serve as scratch; spread out from the back. */
    double *spaced = sch->timesteps;
    scheduler_space(sch, false, false, spaced);
    double top = scheduler_sigma_between(sch, spaced[0]);
    double bottom = scheduler_sigma_between(sch, spaced[steps - 1]);
    for (int i = steps - 1; i >= 0; i--) {
        double sigma = scheduler_sigma_between(sch, spaced[i]), t = spaced[i];
        if (c->use_karras_sigmas) {
            sigma = scheduler_karras(top, bottom, steps, i);
            t = (float)scheduler_sigma_to_timestep(sch, sigma);
        }
        for (int at = i == 0 ? 0 : visits * (i - 1) + 1; at <= visits * i; at++) {
            sch->timesteps[at] = t;
            sch->sigmas[at] = (float)sigma;
        }
    }
    sch->sigmas[evaluations] = c->final_sigma_is_min ? scheduler_sigma_at(sch, 0) : 0;

    float sigma_max = sch->sigmas[0];
    for (int i = 1; i < evaluations; i++)
        sigma_max = fmaxf(sigma_max, sch->sigmas[i]);
    sch->init_noise_sigma = c->timestep_spacing == SPACING_LEADING
                                ? sqrtf(sigma_max * sigma_max + 1)
                                : sigma_max;
    return true;
}

static bool start(struct scheduler *sch, struct err *e)
{
    return start_repeated(sch, 1, e);
}

static bool start_heun(struct scheduler *sch, struct err *e)
{
    return start_repeated(sch, 2, e);
}

/* Steps */

/* Where sigma is large, what a step leaves of x is small against x, and mostly rounding:
 * so that the same is left, these go through x0 and round where diffusers does, instead
 * of being one tc_combine(). */

/* x + factor * y */
static tc_tensor *add_scaled(tc_scope *s, tc_tensor *x, double factor, tc_tensor *y)
{
    return tc_add(s, x, tc_scale(s, y, factor));
}

static tc_tensor *predict_x0(tc_scope *s, const struct scheduler *sch, float sigma,
                             tc_tensor *output, tc_tensor *x)
{
    float variance = sigma * sigma + 1;
    if (sch->config.prediction_type == PREDICT_EPSILON)
        return add_scaled(s, x, -sigma, output);
    if (sch->config.prediction_type == PREDICT_V)
        return add_scaled(s, scheduler_divide(s, x, variance), -sigma / sqrtf(variance),
                          output);
    return output;
}

/* The direction dx/dsigma at x: (x - x0) / sigma, with x0 clipped where the class does.
 */
static tc_tensor *derivative(tc_scope *s, const struct scheduler *sch, float sigma,
                             tc_tensor *output, tc_tensor *x)
{
    const struct scheduler_config *c = &sch->config;
    tc_tensor *x0 = predict_x0(s, sch, sigma, output, x);
    if (c->clip_sample)
        x0 = tc_clamp(s, x0, -c->clip_sample_range, c->clip_sample_range);
    return scheduler_divide(s, tc_sub(s, x, x0), sigma);
}

static tc_tensor *step_euler(tc_scope *s, struct scheduler *sch, int i, tc_tensor *output,
                             tc_tensor *x, tc_rng *const *rngs)
{
    (void)rngs;
    float sigma = sch->sigmas[i];
    tc_tensor *slope = derivative(s, sch, sigma, output, x);
    return add_scaled(s, x, sch->sigmas[i + 1] - sigma, slope);
}

/* diffusers: randn_tensor with a list of generators. [B,C,h,w] of x */
static tc_tensor *noise_like(tc_scope *s, tc_tensor *x, tc_rng *const *rngs)
{
    tc_tensor *noise = NULL;
    for (int64_t b = 0; b < tc_size(x, 0); b++) {
        tc_tensor *one =
            tc_randn(s, rngs[b], SHAPE(1, tc_size(x, 1), tc_size(x, 2), tc_size(x, 3)));
        noise = noise ? tc_cat(s, 2, (tc_tensor *[]){noise, one}, 0) : one;
    }
    return noise;
}

static tc_tensor *step_ancestral(tc_scope *s, struct scheduler *sch, int i,
                                 tc_tensor *output, tc_tensor *x, tc_rng *const *rngs)
{
    float from = sch->sigmas[i], to = sch->sigmas[i + 1];
    float up = sqrtf(to * to * (from * from - to * to) / (from * from));
    float down = sqrtf(to * to - up * up);
    x = add_scaled(s, x, down - from, derivative(s, sch, from, output, x));
    return add_scaled(s, x, up, noise_like(s, x, rngs));
}

/* Evaluations 1, 3, 5... are at the end of a step whose Euler estimate they correct. */
static tc_tensor *step_heun(tc_scope *s, struct scheduler *sch, int i, tc_tensor *output,
                            tc_tensor *x, tc_rng *const *rngs)
{
    (void)rngs;
    float sigma = sch->sigmas[i];
    tc_tensor *slope = derivative(s, sch, sigma, output, x);
    if (i % 2 == 0) {
        sch->kept_output =
            tc_replace(sch->scope, sch->kept_output, scheduler_keep(sch, slope));
        sch->kept_sample =
            tc_replace(sch->scope, sch->kept_sample, scheduler_keep(sch, x));
        return add_scaled(s, x, sch->sigmas[i + 1] - sigma, slope);
    }
    slope = tc_scale(s, tc_add(s, sch->kept_output, slope), 0.5);
    return add_scaled(s, sch->kept_sample, sigma - sch->sigmas[i - 1], slope);
}

enum { LMS_ORDER = 4 };

/* Integral over the step of the Lagrange polynomial that is 1 at sigma[i - place] and 0
 * at the other points. Of degree 3 at most: two Gauss points are exact. */
static double lms_coefficient(const float *sigma, int i, int order, int place)
{
    double middle = ((double)sigma[i] + sigma[i + 1]) / 2;
    double half = ((double)sigma[i + 1] - sigma[i]) / 2, sum = 0;
    for (int sign = -1; sign <= 1; sign += 2) {
        double tau = middle + sign * half / sqrt(3), product = 1;
        for (int k = 0; k < order; k++)
            if (k != place)
                product *=
                    (tau - sigma[i - k]) / ((double)sigma[i - place] - sigma[i - k]);
        sum += product;
    }
    return half * sum;
}

static tc_tensor *step_lms(tc_scope *s, struct scheduler *sch, int i, tc_tensor *output,
                           tc_tensor *x, tc_rng *const *rngs)
{
    (void)rngs;
    tc_tensor *slope = derivative(s, sch, sch->sigmas[i], output, x);
    scheduler_remember(sch, scheduler_keep(sch, slope), LMS_ORDER);
    int order = sch->history_count;
    double c[LMS_ORDER];
    for (int k = 0; k < order; k++)
        c[k] = lms_coefficient(sch->sigmas, i, order, k);
    return tc_add(s, x, tc_combine(s, order, c, sch->history));
}

const struct scheduler_kind scheduler_euler = {
    .name = "euler",
    .class_name = "EulerDiscreteScheduler",
    .has_karras = true,
    .has_zero_snr = true,
    .predicts_sample = true,
    .scales_input = true,
    .read = read_euler,
    .start = start,
    .step = step_euler,
};

const struct scheduler_kind scheduler_euler_a = {
    .name = "euler-a",
    .class_name = "EulerAncestralDiscreteScheduler",
    .has_zero_snr = true,
    .scales_input = true,
    .start = start,
    .step = step_ancestral,
};

const struct scheduler_kind scheduler_heun = {
    .name = "heun",
    .class_name = "HeunDiscreteScheduler",
    .has_karras = true,
    .predicts_sample = true,
    .scales_input = true,
    .set_defaults = set_heun_defaults,
    .read = read_heun,
    .start = start_heun,
    .step = step_heun,
};

const struct scheduler_kind scheduler_lms = {
    .name = "lms",
    .class_name = "LMSDiscreteScheduler",
    .has_karras = true,
    .predicts_sample = true,
    .scales_input = true,
    .read = read_plain,
    .start = start,
    .step = step_lms,
};
