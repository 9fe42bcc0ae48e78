/* scheduler_noise.c: the noise schedules that all schedulers draw on: betas, alphas,
 * sigmas, and the timesteps among them. Leaves what is done with them to the schedulers.
 */
#include "diffusion/scheduler_kind.h"

#include <math.h>
#include <stdlib.h>

/* torch.linspace in f32: from both ends towards the middle. */
static void linspace(float start, float end, int count, float *out)
{
    float step = (end - start) / (float)(count - 1);
    for (int i = 0; i < count; i++)
        out[i] =
            i < count / 2 ? start + step * (float)i : end - step * (float)(count - i - 1);
}

/* diffusers: betas_for_alpha_bar, "cosine" */
static double alpha_bar(double t)
{
    double c = cos((t + 0.008) / 1.008 * M_PI / 2);
    return c * c;
}

static void make_betas(const struct scheduler_config *c, float *betas)
{
    int count = c->num_train_timesteps;
    if (c->trained_betas) {
        for (int i = 0; i < count; i++)
            betas[i] = (float)c->trained_betas[i];
    } else if (c->beta_schedule == BETAS_LINEAR) {
        linspace((float)c->beta_start, (float)c->beta_end, count, betas);
    } else if (c->beta_schedule == BETAS_SCALED_LINEAR) {
        linspace((float)sqrt(c->beta_start), (float)sqrt(c->beta_end), count, betas);
        for (int i = 0; i < count; i++)
            betas[i] *= betas[i];
    } else {
        for (int i = 0; i < count; i++) {
            double beta = 1 - alpha_bar((i + 1.0) / count) / alpha_bar((double)i / count);
            betas[i] = (float)fmin(beta, 0.999);
        }
    }
}

/* torch.cumprod of 1 - betas: f32 in and out, accumulated in f64. */
static void accumulate(const float *betas, int count, float *alphas)
{
    double product = 1;
    for (int i = 0; i < count; i++) {
        product *= 1.0f - betas[i];
        alphas[i] = (float)product;
    }
}

/* diffusers: rescale_zero_terminal_snr (Lin et al. 2023, algorithm 1). `roots` is
 * scratch. */
static void rescale_betas(float *betas, int count, float *roots)
{
    accumulate(betas, count, roots);
    for (int i = 0; i < count; i++)
        roots[i] = sqrtf(roots[i]);
    float first = roots[0], last = roots[count - 1];
    float scale = first / (first - last);
    for (int i = 0; i < count; i++) {
        float root = (roots[i] - last) * scale;
        roots[i] = root * root;
    }
    betas[0] = 1.0f - roots[0];
    for (int i = 1; i < count; i++)
        betas[i] = 1.0f - roots[i] / roots[i - 1];
}

bool scheduler_make_alphas(struct scheduler *sch, float last, struct err *e)
{
    int count = sch->config.num_train_timesteps;
    float *betas = malloc((size_t)count * sizeof *betas);
    sch->alphas = malloc((size_t)count * sizeof *sch->alphas);
    if (!betas || !sch->alphas) {
        free(betas);
        return err_set(e, ERR_MEMORY, "out of memory for %d timesteps", count);
    }
    make_betas(&sch->config, betas);
    if (sch->config.rescale_betas_zero_snr)
        rescale_betas(betas, count, sch->alphas);
    accumulate(betas, count, sch->alphas);
    if (sch->config.rescale_betas_zero_snr)
        sch->alphas[count - 1] = last;
    free(betas);
    return true;
}

bool scheduler_allocate(struct scheduler *sch, int evaluations, bool sigmas,
                        struct err *e)
{
    sch->evaluations = evaluations;
    sch->timesteps = calloc((size_t)evaluations, sizeof *sch->timesteps);
    if (sigmas)
        sch->sigmas = calloc((size_t)evaluations + 1, sizeof *sch->sigmas);
    if (!sch->timesteps || (sigmas && !sch->sigmas))
        return err_set(e, ERR_MEMORY, "out of memory for %d timesteps", evaluations);
    return true;
}

void scheduler_space(const struct scheduler *sch, bool one_more, bool whole, double *out)
{
    int train = sch->config.num_train_timesteps, steps = sch->steps;
    int points = steps + one_more;
    for (int i = 0; i < steps; i++) {
        int up = points - 1 - i; /* place from the bottom */
        switch (sch->config.timestep_spacing) {
        case SPACING_LINSPACE: {
            /* A single point is the bottom, timestep 0 (numpy.linspace). */
            double t = points == 1 ? 0
                       : i == 0    ? train - 1
                                   : up * ((train - 1.0) / (points - 1));
            out[i] = whole ? rint(t) : (float)t;
            break;
        }
        case SPACING_LEADING:
            out[i] = up * (train / points) + sch->config.steps_offset;
            break;
        case SPACING_TRAILING: {
            /* numpy.arange(train, 0, -train / steps) adds the rounded difference. For 6 %
             * of all step numbers it gives a value too many, timestep -1: left out. */
            double ratio = (double)train / steps, delta = (train - ratio) - train;
            out[i] = rint(train + i * delta) - 1;
            break;
        }
        }
    }
}

float scheduler_sigma_at(const struct scheduler *sch, int timestep)
{
    float alpha = sch->alphas[timestep];
    return sqrtf((1.0f - alpha) / alpha);
}

double scheduler_sigma_between(const struct scheduler *sch, double timestep)
{
    int last = sch->config.num_train_timesteps - 1;
    if (timestep >= last)
        return scheduler_sigma_at(sch, last);
    int below = (int)timestep;
    double low = scheduler_sigma_at(sch, below),
           high = scheduler_sigma_at(sch, below + 1);
    return (high - low) * (timestep - below) + low;
}

double scheduler_karras(double sigma_max, double sigma_min, int count, int i)
{
    const double rho = 7;
    double top = pow(sigma_max, 1 / rho), bottom = pow(sigma_min, 1 / rho);
    double ramp = count == 1 ? 0 : i == count - 1 ? 1 : i * (1.0 / (count - 1));
    return pow(top + ramp * (bottom - top), rho);
}

double scheduler_sigma_to_timestep(const struct scheduler *sch, double sigma)
{
    double log_sigma = log(fmax(sigma, 1e-10));
    int last = sch->config.num_train_timesteps - 1;
    int below = last;
    while (below > 0 && log_sigma < logf(scheduler_sigma_at(sch, below)))
        below--;
    if (below > last - 1)
        below = last - 1;
    double low = logf(scheduler_sigma_at(sch, below));
    double high = logf(scheduler_sigma_at(sch, below + 1));
    double w = (low - log_sigma) / (low - high);
    w = fmin(fmax(w, 0), 1);
    return (1 - w) * below + w * (below + 1);
}

bool scheduler_start_multistep(struct scheduler *sch, struct err *e)
{
    int steps = sch->steps, last = sch->config.num_train_timesteps - 1;
    if (!scheduler_make_alphas(sch, LEAST_ALPHA, e) ||
        !scheduler_allocate(sch, steps, true, e))
        return false;
    scheduler_space(sch, true, true, sch->timesteps);
    double top = scheduler_sigma_at(sch, last), bottom = scheduler_sigma_at(sch, 0);
    for (int i = 0; i < steps; i++) {
        double sigma = scheduler_sigma_between(sch, sch->timesteps[i]);
        if (sch->config.use_karras_sigmas) {
            sigma = scheduler_karras(top, bottom, steps, i);
            sch->timesteps[i] = scheduler_sigma_to_timestep(sch, sigma);
        }
        sch->sigmas[i] = (float)sigma;
    }
    sch->sigmas[steps] = sch->config.final_sigma_is_min ? (float)bottom : 0;
    return true;
}

float scheduler_alpha_of(float sigma)
{
    return 1 / sqrtf(sigma * sigma + 1);
}

float scheduler_lambda_of(float sigma)
{
    float alpha = scheduler_alpha_of(sigma);
    return logf(alpha) - logf(sigma * alpha);
}

tc_tensor *scheduler_predict_x0(tc_scope *s, const struct scheduler *sch, float sigma,
                                tc_tensor *output, tc_tensor *x)
{
    float alpha = scheduler_alpha_of(sigma), noise = sigma * alpha;
    tc_tensor *both[] = {x, output};
    if (sch->config.prediction_type == PREDICT_EPSILON)
        return tc_combine(s, 2, (double[]){1.0 / alpha, -(double)noise / alpha}, both);
    if (sch->config.prediction_type == PREDICT_V)
        return tc_combine(s, 2, (double[]){alpha, -noise}, both);
    return tc_cast(s, output, TC_F32);
}
