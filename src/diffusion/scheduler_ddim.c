/* scheduler_ddim.c: DDIM with eta 0 (Song et al. 2020, formula 12; diffusers:
 * DDIMScheduler). Leaves noise schedules to scheduler_noise.c. */
#include "diffusion/scheduler_kind.h"

#include <math.h>

static void set_defaults(struct scheduler_config *c)
{
    c->timestep_spacing = SPACING_LEADING;
    c->clip_sample = true;
    c->set_alpha_to_one = true;
}

static bool read_fields(struct scheduler_config *c, const struct json *object,
                        struct err *e)
{
    static const char *const refused[] = {"thresholding"};
    return scheduler_refuse_flags(object, refused, 1, e) &&
           config_may_bool(object, "clip_sample", &c->clip_sample, e) &&
           config_may_double(object, "clip_sample_range", 0, INFINITY,
                             &c->clip_sample_range, e) &&
           config_may_bool(object, "set_alpha_to_one", &c->set_alpha_to_one, e);
}

static bool start(struct scheduler *sch, struct err *e)
{
    const struct scheduler_config *c = &sch->config;
    if (!scheduler_make_alphas(sch, 0, e) ||
        !scheduler_allocate(sch, sch->steps, false, e))
        return false;
    scheduler_space(sch, false, true, sch->timesteps);
    int first = (int)sch->timesteps[0], last = c->num_train_timesteps - 1;
    if (first > last)
        return err_set(e, ERR_INPUT,
                       "steps: found %d, which begin at timestep %d, expected at most %d "
                       "(steps_offset %d)",
                       sch->steps, first, last, c->steps_offset);
    if (sch->alphas[first] == 0 && c->prediction_type == PREDICT_EPSILON)
        return err_set(e, ERR_INPUT,
                       "prediction_type: found epsilon, expected v_prediction or sample "
                       "where rescale_betas_zero_snr leaves nothing but noise");
    return true;
}

static tc_tensor *step(tc_scope *s, struct scheduler *sch, int i, tc_tensor *output,
                       tc_tensor *x, tc_rng *const *rngs)
{
    (void)rngs;
    const struct scheduler_config *c = &sch->config;
    int t = (int)sch->timesteps[i], t_prev = t - c->num_train_timesteps / sch->steps;
    float alpha = sch->alphas[t];
    float alpha_prev = t_prev >= 0           ? sch->alphas[t_prev]
                       : c->set_alpha_to_one ? 1
                                             : sch->alphas[0];
    float a = sqrtf(alpha), b = sqrtf(1 - alpha);

    tc_tensor *both[] = {x, output};
    tc_tensor *x0 = output, *eps = output;
    if (c->prediction_type == PREDICT_EPSILON) {
        x0 = tc_combine(s, 2, (double[]){1.0 / a, -(double)b / a}, both);
    } else if (c->prediction_type == PREDICT_V) {
        x0 = tc_combine(s, 2, (double[]){a, -b}, both);
        eps = tc_combine(s, 2, (double[]){b, a}, both);
    } else {
        eps = tc_combine(s, 2, (double[]){1.0 / b, -(double)a / b}, both);
    }
    if (c->clip_sample)
        x0 = tc_clamp(s, x0, -c->clip_sample_range, c->clip_sample_range);
    return tc_combine(s, 2, (double[]){sqrtf(alpha_prev), sqrtf(1 - alpha_prev)},
                      (tc_tensor *[]){x0, eps});
}

const struct scheduler_kind scheduler_ddim = {
    .name = "ddim",
    .class_name = "DDIMScheduler",
    .has_zero_snr = true,
    .predicts_sample = true,
    .set_defaults = set_defaults,
    .read = read_fields,
    .start = start,
    .step = step,
};
