/* blocks.h: what the UNet, the VAE and the VQGAN are built of alike, though diffusers and
 * taming-transformers name some of it differently. Leaves to each network which blocks it
 * has and in what order. Dimension letters: tc.h. */
#ifndef DIFFENS_NETS_BLOCKS_H
#define DIFFENS_NETS_BLOCKS_H

#include "diffens/nn.h"

enum key_names { NAMES_DIFFUSERS, NAMES_TAMING };

/* What all blocks of one network share. */
struct block_style {
    enum key_names names;
    int groups; /* of every group norm */
    double eps; /* of the group norms outside of attention */
};

/* diffusers: ResnetBlock2D; taming: ResnetBlock. silu_temb [1,D] is the time embedding,
 * already through the SiLU that every block begins with; NULL in a network without
 * timesteps. x [B,Cin,h,w] -> [B,channels,h,w] */
tc_tensor *block_resnet(tc_scope *up, weights w, const struct block_style *style,
                        int64_t channels, tc_tensor *x, tc_tensor *silu_temb);

/* Each position attends to all others, with one head; the residual is included.
 * diffusers: Attention of UNetMidBlock2D; taming: AttnBlock. [B,C,h,w] -> [B,C,h,w] */
tc_tensor *block_attention(tc_scope *up, weights w, const struct block_style *style,
                           tc_tensor *x);

/* Halves both sides with the padding at the right and the bottom alone, as autoencoders
 * do. `conv` is the node of the convolution. [B,C,h,w] -> [B,C,h/2,w/2] */
tc_tensor *block_downsample(tc_scope *up, weights conv, tc_tensor *x);

/* Nearest neighbour, then the convolution at `conv`. [B,C,h,w] -> [B,C,height,width] */
tc_tensor *block_upsample(tc_scope *up, weights conv, tc_tensor *x, int64_t height,
                          int64_t width);

/* The end of a network: SiLU of the norm, then the convolution to its output channels.
 * [B,C,h,w] -> [B,channels,h,w] */
tc_tensor *block_output(tc_scope *up, weights norm, weights conv,
                        const struct block_style *style, int64_t channels, tc_tensor *x);

/* Image positions as tokens, row by row. [B,C,h,w] -> [B,h*w,C] */
tc_tensor *block_tokens(tc_scope *s, tc_tensor *x);

/* The way back, to the height and width of `like`. [B,h*w,C] -> [B,C,h,w] */
tc_tensor *block_image(tc_scope *s, tc_tensor *tokens, tc_tensor *like);

#endif
