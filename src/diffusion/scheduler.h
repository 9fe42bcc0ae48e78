/* scheduler.h: the samplers that turn a network's predictions into a less noisy latent,
 * step by step, as diffusers' scheduler classes do. Leaves the network, guidance and the
 * loop to the caller.
 *
 *   name on the command line   class in scheduler_config.json
 *   pndm                       PNDMScheduler
 *   ddim                       DDIMScheduler (eta 0)
 *   euler    [-karras]         EulerDiscreteScheduler
 *   euler-a                    EulerAncestralDiscreteScheduler
 *   heun     [-karras]         HeunDiscreteScheduler
 *   lms      [-karras]         LMSDiscreteScheduler
 *   dpm++2m  [-karras]         DPMSolverMultistepScheduler (algorithm_type dpmsolver++)
 *   unipc    [-karras]         UniPCMultistepScheduler
 *
 * Source of every formula: the diffusers class of that name, version 0.42. All numbers
 * that do not depend on the latent are computed on the host, in the precision diffusers
 * uses. */
#ifndef DIFFENS_SCHEDULER_H
#define DIFFENS_SCHEDULER_H

#include "diffens/tc.h"

enum prediction_type { PREDICT_EPSILON, PREDICT_V, PREDICT_SAMPLE };
enum timestep_spacing { SPACING_LEADING, SPACING_TRAILING, SPACING_LINSPACE };
enum beta_schedule { BETAS_LINEAR, BETAS_SCALED_LINEAR, BETAS_SQUAREDCOS_CAP_V2 };
enum solver_type { SOLVER_MIDPOINT, SOLVER_HEUN, SOLVER_BH1, SOLVER_BH2 };

struct scheduler_kind;

/* Settings of one scheduler, named as in scheduler_config.json. A class does not look at
 * those that it does not have. Start from `{0}`. */
struct scheduler_config {
    const struct scheduler_kind *kind;
    int num_train_timesteps;
    double beta_start, beta_end;
    enum beta_schedule beta_schedule;
    double *trained_betas; /* num_train_timesteps of them, or NULL; owned */
    enum prediction_type prediction_type;
    enum timestep_spacing timestep_spacing;
    int steps_offset;
    bool rescale_betas_zero_snr;
    bool use_karras_sigmas;
    bool final_sigma_is_min; /* final_sigmas_type "sigma_min", else "zero" */
    bool set_alpha_to_one;   /* pndm, ddim */
    bool skip_prk_steps;     /* pndm */
    bool clip_sample;        /* ddim, heun */
    double clip_sample_range;
    int solver_order;             /* dpm++2m, unipc: 1..3 */
    enum solver_type solver_type; /* dpm++2m: midpoint, heun; unipc: bh1, bh2 */
    bool lower_order_final;       /* dpm++2m, unipc */
    bool euler_at_final;          /* dpm++2m */
};

/* The names that the command line takes, "-karras" ones included. */
const char *const *scheduler_names(int *count);

/* Reads a model's scheduler_config.json. With name NULL the scheduler is the one that the
 * file names. With a name of scheduler_names() it is that one with this model's settings,
 * as OtherScheduler.from_config(pipe.scheduler.config) makes it in diffusers: what the
 * file says counts, what it does not say is the other class's default (so DDIM clips
 * where a PNDM file has no clip_sample); "-karras" sets use_karras_sigmas, and "dpm++2m"
 * is always second order.
 *
 * StableDiffusionPipeline corrects steps_offset to 1 and clip_sample to false in a
 * model's own scheduler; so does this, also for values that the file hands on to another
 * class.
 *
 * ERR_INPUT names file, field, what was found and what is known; ERR_USAGE an unknown
 * name. Settings that change the result and that are not supported (thresholding,
 * exponential and beta sigmas, flow matching, SDE variants...) are refused; those that
 * the class does not know are ignored, as diffusers does. */
bool scheduler_config_read(struct scheduler_config *c, const char *path, const char *name,
                           struct err *e);

/* The scheduler of Stable Diffusion 1.x or 2.x, for checkpoints that come without one
 * (diffusers: the configs of v1-5 and 2-1). `prediction` is "epsilon" or "v_prediction";
 * `name` as above. */
bool scheduler_config_default(struct scheduler_config *c, bool v2, const char *prediction,
                              const char *name, struct err *e);

/* The name among scheduler_names() of what a config describes, for records. */
const char *scheduler_config_name(const struct scheduler_config *c);

/* Accepts a zeroed config. */
void scheduler_config_free(struct scheduler_config *c);

struct scheduler;

/* A scheduler for one generation of `steps` steps, 1 to num_train_timesteps. What it
 * keeps between steps lives in a scope of its own inside `s`. `c` is not needed
 * afterwards. NULL with ERR_INPUT where the settings do not allow so many or so few
 * steps. */
struct scheduler *scheduler_new(tc_scope *s, const struct scheduler_config *c, int steps,
                                struct err *e);

/* Accepts NULL. Comes before `s` is closed. */
void scheduler_free(struct scheduler *sch);

/* Evaluations of the network that the steps take: Heun and PNDM need more than `steps`.
 */
int scheduler_evaluations(const struct scheduler *sch);

/* The timestep of evaluation i, for the network. */
double scheduler_timestep(const struct scheduler *sch, int i);

/* Standard deviation of the latent that the generation starts from. */
double scheduler_init_noise_sigma(const struct scheduler *sch);

/* What the network sees of the latent x at evaluation i: [B,C,h,w] -> [B,C,h,w] */
tc_tensor *scheduler_scale_input(tc_scope *s, const struct scheduler *sch, tc_tensor *x,
                                 int i);

/* The latent after evaluation i, in f32; evaluations come in order, each once.
 * output, x [B,C,h,w] -> [B,C,h,w]. rngs: a CPU generator for each image of the batch,
 * from which euler-a draws its noise (others leave them alone, and they may be NULL). */
tc_tensor *scheduler_step(tc_scope *s, struct scheduler *sch, int i, tc_tensor *output,
                          tc_tensor *x, tc_rng *const *rngs);

#endif
