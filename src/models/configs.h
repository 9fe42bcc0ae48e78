/* configs.h: the settings of networks, from the config.json beside their weights or, for
 * the VQGAN, from the names and shapes of its tensors. Leaves the weights themselves to
 * weights.h. Everything here is untrusted input; failures are ERR_INPUT and name file,
 * field, found and expected. */
#ifndef DIFFENS_CONFIGS_H
#define DIFFENS_CONFIGS_H

#include "diffens/nets.h"

/* transformers: CLIPTextConfig */
bool clip_text_config_read(const char *path, struct clip_text_config *c, struct err *e);

/* diffusers: UNet2DConditionModel. Settings that SD 1.x and 2.x leave at their defaults
 * are refused by name when they differ: a picture made without them would be wrong. */
bool unet_config_read(const char *path, struct unet_config *c, struct err *e);

/* diffusers: AutoencoderKL */
bool vae_config_read(const char *path, struct vae_config *c, struct err *e);

/* taming-transformers: VQModel. `path` stands in messages. */
bool vqgan_config_from_tensors(const struct tensor_file *file, const char *path,
                               struct vqgan_config *c, struct err *e);

#endif
