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
    /* For single files, set by the caller before diffuser_open() and kept; NULL for none.
     */
    const char *tokenizer_folder; /* where the file has none beside it */
    const char *prediction;       /* "epsilon" or "v_prediction", against the guess */
    bool without_tokenizer;       /* open one that has none, to look at it alone */
    bool single_file;             /* its three networks are in one file */
    struct tokenizer *tokenizer;
    struct clip_text_config text;
    struct unet_config unet;
    struct vae_config vae;
    struct scheduler_config scheduler;
    struct network text_network, unet_network, vae_network;
    tc_scope *shapes; /* root on the "meta" device that holds the checked shapes */
};

/* Reads a diffusers directory: configs, vocabulary, names and shapes of all tensors. Or a
 * single-file checkpoint of Stable Diffusion 1.x or 2.x: its architecture is read off the
 * tensors, its scheduler is the usual one, its vocabulary lies beside it in a folder
 * `tokenizer` or else in `tokenizer_folder`; 2.x is taken for v-prediction at 768 pixels
 * unless `prediction` says otherwise, as diffusers does. `name` is kept; `scheduler` is a
 * name of scheduler.h, or NULL for the model's own. ERR_INPUT names the file, the field
 * or the first tensors that do not fit; then `d` is closed. */
bool diffuser_open(struct diffuser *d, const char *name, const char *path,
                   const char *scheduler, const struct progress *progress, struct err *e);

/* Accepts a zeroed or half-built object. */
void diffuser_close(struct diffuser *d);

/* What generation needs on the device, in the order in which it needs it. The last one is
 * the VAE in f32, for pictures that its own precision cannot hold. */
enum diffuser_part { PART_TEXT, PART_UNET, PART_VAE, PART_VAE_F32, PART_COUNT };

/* The weights on the device. Start from `{0}`. */
struct diffuser_weights {
    const struct diffuser *diffuser;
    tc_scope *root;
    enum tc_dtype dtype; /* of the computation; the VAE's may be another */
    bool one_part;       /* memory is tight: diffuser_keep_one_part() */
    struct diffuser_resident {
        tc_scope *scope;
        weights w;
        enum tc_dtype dtype;
    } part[PART_COUNT];
};

/* The files of its weights, in the order in which they are read; returns how many. */
int diffuser_files(const struct diffuser *d, const struct tensor_file *files[3]);

/* Weights on the device of `root`, of which none is there yet; `d` outlives them. */
struct diffuser_weights diffuser_weights_new(tc_scope *root, const struct diffuser *d,
                                             enum tc_dtype dtype);

/* Makes sure that a part is on the device: reads it where it is not. */
bool diffuser_need(struct diffuser_weights *w, enum diffuser_part part, struct err *e);

/* Takes a part off the device again, where it is there. */
void diffuser_drop(struct diffuser_weights *w, enum diffuser_part part);

/* From now on one part is on the device at a time, and read anew whenever it is needed.
 */
void diffuser_keep_one_part(struct diffuser_weights *w);

/* Frees them and gives their memory back. Accepts a zeroed object. */
void diffuser_unload(struct diffuser_weights *w);

/* Pixels that a latent position stands for along one side: 8 for Stable Diffusion. */
int64_t diffuser_factor(const struct diffuser *d);

#endif
