/* model_dir.h: what is in a diffusers directory: the parts that model_index.json names,
 * and which file holds a network's weights. Leaves the contents of those files to others.
 */
#ifndef DIFFENS_MODEL_DIR_H
#define DIFFENS_MODEL_DIR_H

#include "diffens/error.h"

/* Checks that model_index.json of `directory` describes a Stable Diffusion pipeline whose
 * text_encoder, tokenizer, unet, vae and scheduler are of known classes and have their
 * folders. ERR_INPUT names what was found and what is expected. */
bool model_dir_check(const char *directory, struct err *e);

/* The weights of one network: `directory`/`stem`.safetensors, its sharded form
 * (.safetensors.index.json), the fp16 variant of either, or the same as .bin (for the
 * stem "model" pytorch_model.bin), .pth, .pt or .ckpt, in this order. A file that is
 * there is never passed over for a later one because it is broken. The caller frees
 * *path. ERR_INPUT where there is none. */
bool model_dir_weights(const char *directory, const char *stem, char **path,
                       struct err *e);

/* The same, but *path is NULL where there is none. */
bool model_dir_find_weights(const char *directory, const char *stem, char **path,
                            struct err *e);

#endif
