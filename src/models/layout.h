/* layout.h: the names that other programs gave the same tensors, turned into those that
 * our networks ask for. A layout changes the entries of an open file: names, and where a
 * tensor is a part of a stored one or has another shape, offset and shape; bytes are not
 * touched. Leaves formats to tensor_file.h and what must be there to weights.h. */
#ifndef DIFFENS_LAYOUT_H
#define DIFFENS_LAYOUT_H

#include "diffens/tensor_file.h"

/* Each of these recognises the layouts of its network by their names, keeps its part of a
 * file that holds several networks, and leaves what it does not know as it is. False with
 * ERR_MEMORY, or ERR_INPUT where two entries get the same name. */
typedef bool layout_function(struct tensor_file *t, struct err *e);

/* -> transformers' CLIPTextModel without `text_model.`, from the same with it, from
 * single-file Stable Diffusion 1.x, and from OpenCLIP in those of 2.x */
layout_function layout_clip_text;

/* -> transformers' CLIPVisionModelWithProjection, from the same without `vision_model.`
 */
layout_function layout_clip_vision;

/* -> diffusers' UNet2DConditionModel, from the names of latent-diffusion's UNetModel */
layout_function layout_unet;

/* -> diffusers' AutoencoderKL, from latent-diffusion's, and from diffusers' before its
 * attentions were renamed */
layout_function layout_vae;

/* -> taming-transformers' VQModel, alone in its file or the first stage of another model
 */
layout_function layout_vqgan;

/* -> torchvision's vgg16().features, from the lpips package's copy of it */
layout_function layout_vgg;

#endif
