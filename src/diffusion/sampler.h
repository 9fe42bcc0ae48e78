/* sampler.h: from prompts to pictures with one loaded diffuser. Leaves files and the
 * choice of what is drawn together to src/stages. */
#ifndef DIFFENS_SAMPLER_H
#define DIFFENS_SAMPLER_H

#include "diffens/image.h"
#include "diffusion/diffuser.h"

struct sampler_settings {
    int steps;
    double guidance; /* classifier-free guidance scale; 1 or less: none */
    /* Part of the evaluations in which there is guidance, from 0 to 1: an evaluation is
     * in it where its middle is (Kynkaanniemi et al. 2024). */
    double guided_from, guided_to;
    int cache_interval;    /* evaluations from one of the whole UNet to the next */
    int64_t height, width; /* pixels, multiples of diffuser_factor() */
    bool last;             /* no batch follows: the UNet leaves before the VAE works */
};

/* Whether a negative prompt may count. */
bool sampler_takes_negative(const struct sampler_settings *settings);

/* What one evaluation of the UNet takes. */
struct sampler_evaluation {
    bool guided; /* negative and prompt, in one batch; else the prompt alone */
    bool whole;  /* all levels; else the outermost layers on cached features */
};

/* Of evaluation i of scheduler_evaluations(). Where guidance begins or ends the UNet is
 * run as a whole: features of another batch are of no use. */
struct sampler_evaluation sampler_evaluation(const struct sampler_settings *settings,
                                             int i, int total);

/* A prompt as the UNet takes it, [1,T,D], owned by `up`. Loads the text encoder where it
 * is not on the device. */
tc_tensor *sampler_encode(tc_scope *up, struct diffuser_weights *w, const char *text,
                          struct err *e);

/* One picture to make. */
struct sampler_cell {
    tc_tensor *prompt, *negative; /* sampler_encode(); the latter where it may count */
    uint64_t noise_seed;          /* of torch.Generator("cpu") */
};

/* Called after each step, with the number of steps done and in all. */
typedef void sampler_step_fn(void *user, int done, int total);

/* What became of a cell. */
struct sampler_picture {
    struct image image; /* the caller's to free; empty where it is not finite */
    bool finite;        /* it and all model outputs that were looked at */
    bool upcast;        /* the VAE's own precision could not hold it: decoded in f32 */
};

/* Makes `count` pictures in one batch, with the parts of the diffuser that this takes
 * loaded as they are needed. They depend on the cells alone, not on which of them share a
 * batch, but for rounding. ERR_STOPPED when that is asked for (base/stop.h), between
 * steps and within one that takes long; ERR_MEMORY when the device is too small for the
 * batch: the caller may try a smaller one. Waits for the device every ten steps and once
 * a picture, not in between. */
bool sampler_run(tc_scope *root, struct diffuser_weights *w,
                 const struct sampler_settings *settings,
                 const struct sampler_cell *cells, int count, sampler_step_fn *step,
                 void *user, struct sampler_picture *pictures, struct err *e);

#endif
