/* configs.h: the settings of networks, from the config.json beside their weights or
 * from the names and shapes of the tensors. Leaves the weights themselves to
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

/* The same read off the names and shapes of the tensors, as diffusers names them, for
 * single-file checkpoints, which carry no config. What no tensor shows is that of Stable
 * Diffusion 1.x or, where the UNet's transformers have dense projections, 2.x
 * (diffusers: the configs of v1-5 and 2-1); `v2` says that it is the latter. `path`
 * stands in messages. */
bool unet_config_from_tensors(const struct tensor_file *file, const char *path,
                              struct unet_config *c, struct err *e);
bool vae_config_from_tensors(const struct tensor_file *file, const char *path,
                             struct vae_config *c, struct err *e);
bool clip_text_config_from_tensors(const struct tensor_file *file, const char *path,
                                   bool v2, struct clip_text_config *c, struct err *e);

/* taming-transformers: VQModel. `path` stands in messages. */
bool vqgan_config_from_tensors(const struct tensor_file *file, const char *path,
                               struct vqgan_config *c, struct err *e);

#endif
