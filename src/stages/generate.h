/* generate.h: the first stage, with the diffusers of a plan. */
#ifndef DIFFENS_GENERATE_H
#define DIFFENS_GENERATE_H

#include "diffusion/sampler.h"
#include "stages/plan.h"

/* Opens and checks every diffuser of the run and every prompt's tokens, and sets the
 * plan's cases, models and size. */
bool generate_open(struct plan *p, struct err *e);

/* Accepts a plan without diffusers. */
void generate_close(struct plan *p);

/* How pictures are drawn. */
struct sampler_settings generate_settings(const struct plan *p);

/* Evaluations of a diffuser's UNet that a picture takes: by its scheduler more than the
 * steps asked for. */
bool generate_count_evaluations(const struct plan *p, const struct diffuser *d,
                                int *count, struct err *e);

/* The seed of the noise that a picture starts from. */
uint64_t generate_noise_seed(const struct plan *p, int64_t index_case, int index_model);

/* Draws every case with every diffuser, one diffuser on the device at a time (draw.c). A
 * picture that is not made of finite numbers, in f32 either, is recorded as such and the
 * others go on. ERR_MEMORY after every remedy; what is finished then is published. */
bool generate_parents(const struct plan *p, tc_scope *root, struct image_tensor *images,
                      struct err *e);

#endif
