/* scheduler_kind.h: what the schedulers share among themselves. Leaves their interface to
 * scheduler.h. */
#ifndef DIFFENS_SCHEDULER_KIND_H
#define DIFFENS_SCHEDULER_KIND_H

#include "diffusion/scheduler.h"
#include "io/config.h"

enum { SCHEDULER_HISTORY = 4 };

/* One scheduler class. */
struct scheduler_kind {
    const char *name;
    const char *class_name;
    bool has_karras, has_zero_snr, predicts_sample;
    bool scales_input; /* by 1 / sqrt(sigma^2 + 1) */
    /* The class's own defaults, on top of those that most classes share. */
    void (*set_defaults)(struct scheduler_config *c);
    /* Reads and checks the fields that are this class's own. */
    bool (*read)(struct scheduler_config *c, const struct json *object, struct err *e);
    /* Fills in timesteps, sigmas and init_noise_sigma. */
    bool (*start)(struct scheduler *sch, struct err *e);
    tc_tensor *(*step)(tc_scope *s, struct scheduler *sch, int i, tc_tensor *output,
                       tc_tensor *x, tc_rng *const *rngs);
};

extern const struct scheduler_kind scheduler_pndm, scheduler_ddim, scheduler_euler,
    scheduler_euler_a, scheduler_heun, scheduler_lms, scheduler_dpm, scheduler_unipc;

struct scheduler {
    struct scheduler_config config;
    int steps;
    int evaluations;
    double *timesteps; /* [evaluations] */
    float *alphas;     /* [num_train_timesteps], diffusers' alphas_cumprod */
    float *sigmas;     /* [evaluations + 1]; NULL in ddim and pndm */
    double init_noise_sigma;

    tc_scope *scope;
    tc_tensor *history[SCHEDULER_HISTORY]; /* newest first, owned by `scope` */
    int history_count;
    tc_tensor *kept_sample; /* a latent for a later step, owned by `scope` */
    /* pndm: weighted sum of outputs; heun: the first derivative */
    tc_tensor *kept_output;
    int order; /* unipc: of the last step */
};

/* scheduler_config.c */

/* Refuses those of the flags that are there and true. */
bool scheduler_refuse_flags(const struct json *object, const char *const *keys, int count,
                            struct err *e);

/* A string among `names`, whose place becomes *choice; absent: *choice stays. */
bool scheduler_read_choice(const struct json *object, const char *key,
                           const char *const *names, int count, int *choice,
                           struct err *e);

/* final_sigmas_type */
bool scheduler_read_final_sigma(struct scheduler_config *c, const struct json *object,
                                struct err *e);

enum { SOLVER_MAX_ORDER = 3, SOLVER_TYPES = 5 };

/* The fields that DPM-Solver++ and UniPC share. `type` becomes the index in `types` of
 * solver_type, where there is one. */
bool scheduler_read_solver(struct scheduler_config *c, const struct json *object,
                           const char *const types[SOLVER_TYPES], int *type,
                           struct err *e);

/* scheduler_noise.c */

/* FP16's smallest number stands for zero terminal SNR where sigma must be finite. */
#define LEAST_ALPHA 0x1p-24f

/* Fills in alphas. `last` replaces the alpha of the last timestep when betas are rescaled
 * to zero terminal SNR. False with ERR_MEMORY. */
bool scheduler_make_alphas(struct scheduler *sch, float last, struct err *e);

/* Fills in evaluations and allocates as many timesteps, and sigmas if asked for. */
bool scheduler_allocate(struct scheduler *sch, int evaluations, bool sigmas,
                        struct err *e);

/* Writes `steps` timesteps, descending. The multistep solvers of `one_more` space one
 * point more and drop the last; `whole` rounds to integers where spacing is linspace. */
void scheduler_space(const struct scheduler *sch, bool one_more, bool whole, double *out);

/* sqrt((1 - alpha) / alpha) at a training timestep */
float scheduler_sigma_at(const struct scheduler *sch, int timestep);

/* The same between timesteps (numpy.interp). */
double scheduler_sigma_between(const struct scheduler *sch, double timestep);

/* Noise level i of `count` between the two (Karras et al. 2022, equation 5, rho 7). */
double scheduler_karras(double sigma_max, double sigma_min, int count, int i);

/* The training timestep, in general not whole, that has this noise level. */
double scheduler_sigma_to_timestep(const struct scheduler *sch, double sigma);

/* What DPM-Solver++ and UniPC begin with; Karras timesteps are not rounded yet. */
bool scheduler_start_multistep(struct scheduler *sch, struct err *e);

/* Of the variance-preserving process at noise level sigma: the scale of the signal, and
 * the log of signal over noise, infinite at sigma 0. */
float scheduler_alpha_of(float sigma);
float scheduler_lambda_of(float sigma);

/* The noiseless latent that the output stands for. */
tc_tensor *scheduler_predict_x0(tc_scope *s, const struct scheduler *sch, float sigma,
                                tc_tensor *output, tc_tensor *x);

/* scheduler.c */

/* A handle of x, in f32, that the scheduler keeps. */
tc_tensor *scheduler_keep(struct scheduler *sch, tc_tensor *x);

/* x / divisor, a true division */
tc_tensor *scheduler_divide(tc_scope *s, tc_tensor *x, float divisor);

/* Puts `newest`, owned by the scheduler's scope, in front of the history; of more than
 * `most` the oldest is freed. */
void scheduler_remember(struct scheduler *sch, tc_tensor *newest, int most);

#endif
