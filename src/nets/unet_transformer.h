/* unet_transformer.h: the attention of the UNet, in which the text steers the picture.
 * Leaves the choice of where it stands to unet.c. Dimension letters: tc.h; T counts
 * latent positions here, S the tokens of the text. */
#ifndef DIFFENS_NETS_UNET_TRANSFORMER_H
#define DIFFENS_NETS_UNET_TRANSFORMER_H

#include "diffens/nets.h"

/* diffusers: Transformer2DModel with the settings of one level of the UNet; the residual
 * is included. [B,C,h,w] -> [B,C,h,w] */
tc_tensor *unet_transformer(tc_scope *up, weights w, const struct unet_config *c,
                            int level, bool only_cross_attention,
                            struct unet_condition *condition, tc_tensor *x);

#endif
