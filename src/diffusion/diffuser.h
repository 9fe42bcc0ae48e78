/* diffuser.h: one Stable-Diffusion-class generator: its files, checked, and its weights
 * on the device. Leaves the making of pictures to sampler.h. */
#ifndef DIFFENS_DIFFUSER_H
#define DIFFENS_DIFFUSER_H

#include "diffens/nets.h"
#include "diffusion/scheduler.h"
#include "diffusion/tokenizer.h"
#include "models/network.h"

/* A model directory, opened: everything but the weights' bytes is read and checked, and
 * nothing is on the device. Start from `{0}`. */
struct diffuser {
    const char *name; /* the caller's */
    struct tokenizer *tokenizer;
    struct clip_text_config text;
    struct unet_config unet;
    struct vae_config vae;
    struct scheduler_config scheduler;
    struct network text_network, unet_network, vae_network;
    tc_scope *shapes; /* root on the "meta" device that holds the checked shapes */
};

/* Reads a diffusers directory: configs, vocabulary, names and shapes of all tensors.
 * `name` is kept; `scheduler` is a name of scheduler.h, or NULL for the model's own.
 * ERR_INPUT names the file, the field or the first tensors that do not fit; then `d` is
 * closed. */
bool diffuser_open(struct diffuser *d, const char *name, const char *directory,
                   const char *scheduler, const struct progress *progress, struct err *e);

/* Accepts a zeroed or half-built object. */
void diffuser_close(struct diffuser *d);

/* The weights on the device, in a scope of their own. Start from `{0}`. */
struct diffuser_weights {
    tc_scope *scope;
    enum tc_dtype dtype, vae_dtype; /* of the computation */
    weights text, unet, vae;
};

/* Reads the weights that generation needs onto the device of `root`. */
bool diffuser_load(struct diffuser_weights *w, tc_scope *root, const struct diffuser *d,
                   enum tc_dtype dtype, struct err *e);

/* Frees them and gives their memory back. Accepts a zeroed object. */
void diffuser_unload(struct diffuser_weights *w);

/* Pixels that a latent position stands for along one side: 8 for Stable Diffusion. */
int64_t diffuser_factor(const struct diffuser *d);

#endif
