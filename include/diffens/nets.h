/* nets.h: one forward function per network, with its shapes and the settings that its
 * config file holds. Knows no file, path or JSON. Dimension letters: tc.h.
 *
 * Each forward function is the only description of its architecture: run on the "meta"
 * device it checks a checkpoint's names and shapes (weights_check()). */
#ifndef DIFFENS_NETS_H
#define DIFFENS_NETS_H

#include "diffens/nn.h"

#define NET_MAX_LEVELS 8

/* CLIP text encoder (transformers: CLIPTextModel) */

struct clip_text_config {
    int64_t vocab_size;
    int64_t hidden_size;
    int64_t intermediate_size;
    int64_t num_hidden_layers;
    int64_t num_attention_heads;
    int64_t max_position_embeddings;
    enum nn_activation hidden_act;
    double layer_norm_eps;
};

/* ids [B,T] i64 -> last hidden state after the final norm [B,T,D]. With skip_last > 0
 * that many layers at the end are left out: 1 is the penultimate layer, as SD 2.x uses.
 * `w` is the node that holds `embeddings`, `encoder`, `final_layer_norm`. */
tc_tensor *clip_text_forward(tc_scope *s, weights w, const struct clip_text_config *c,
                             tc_tensor *ids, int skip_last);

/* UNet (diffusers: UNet2DConditionModel, block types of SD 1.x and 2.x) */

struct unet_config {
    int64_t in_channels, out_channels;
    int levels;
    int64_t block_out_channels[NET_MAX_LEVELS];
    int layers_per_block[NET_MAX_LEVELS];
    int transformer_layers[NET_MAX_LEVELS];
    int heads[NET_MAX_LEVELS];           /* attention heads at each level */
    bool down_attention[NET_MAX_LEVELS]; /* CrossAttnDownBlock2D, else DownBlock2D */
    bool up_attention[NET_MAX_LEVELS];   /* CrossAttnUpBlock2D, else UpBlock2D, in the
                                            order of up_blocks: lowest level first */
    bool mid_attention; /* UNetMidBlock2DCrossAttn, else UNetMidBlock2D */
    bool only_cross_attention[NET_MAX_LEVELS];
    bool use_linear_projection;
    int64_t cross_attention_dim;
    int norm_num_groups;
    double norm_eps;
    bool flip_sin_to_cos;
    double freq_shift;
    int64_t sample_size; /* default side of the latent */
};

#define UNET_MAX_CROSS_ATTENTIONS 64

/* The text that steers a generation and, from the first forward run on, the keys and
 * values that each cross-attention makes of it: they do not change between steps. */
struct unet_condition {
    tc_scope *scope; /* owns `text` and the cache; outlives the steps */
    tc_tensor *text; /* [B,T,cross_attention_dim] */
    tc_tensor *keys[UNET_MAX_CROSS_ATTENTIONS];
    tc_tensor *values[UNET_MAX_CROSS_ATTENTIONS];
    int next; /* cross-attentions passed in the present forward run */
};

/* What the deep levels last made, which changes little from step to step: DeepCache (Ma,
 * Fang and Wang 2023). */
struct unet_cache {
    tc_scope *scope;     /* owns `features`; outlives the steps */
    tc_tensor *features; /* [B,C,h,w]; NULL: there are none */
    int attentions;      /* cross-attentions passed when they were made */
};

/* x [B,C,h,w], one timestep for the whole batch -> epsilon or v, [B,Cout,h,w]. With a
 * cache: the whole network where that is empty, which fills it; else the first
 * convolution, the outermost layer of the way up on the cached features, and the output.
 * A cache is of one condition; NULL: none. */
tc_tensor *unet_forward(tc_scope *s, weights w, const struct unet_config *c, tc_tensor *x,
                        double timestep, struct unet_condition *condition,
                        struct unet_cache *cache);

/* VAE (diffusers: AutoencoderKL) */

struct vae_config {
    int64_t in_channels, out_channels, latent_channels;
    int levels;
    int64_t block_out_channels[NET_MAX_LEVELS];
    int layers_per_block;
    int norm_num_groups;
    bool mid_block_add_attention;
    bool use_quant_conv, use_post_quant_conv;
    bool force_upcast;
    double scaling_factor;
    double shift_factor; /* 0 where the config has none */
    int64_t sample_size;
};

/* x [B,3,H,W] in [-1,1] -> mean and log-variance [B,2C,h,w]; h = H / 2^(levels-1) */
tc_tensor *vae_encode(tc_scope *s, weights w, const struct vae_config *c, tc_tensor *x);

/* z [B,C,h,w], unscaled (divided by scaling_factor) -> [B,3,H,W] in [-1,1] but for
 * overshoot */
tc_tensor *vae_decode(tc_scope *s, weights w, const struct vae_config *c, tc_tensor *z);

/* VQGAN (taming-transformers: VQModel) */

struct vqgan_config {
    int64_t in_channels, out_channels;
    int64_t ch; /* channels after conv_in */
    int levels;
    int64_t ch_mult[NET_MAX_LEVELS];
    int num_res_blocks;
    bool attention[NET_MAX_LEVELS]; /* attn blocks at this level, down and up alike */
    int64_t z_channels, embed_dim, n_embed;
};

/* Pixels a latent position stands for along one side: 2^(levels-1). */
int64_t vqgan_factor(const struct vqgan_config *c);

/* E: x [B,3,H,W] in [-1,1] -> `preconv` latent [B,z_channels,h,w] */
tc_tensor *vqgan_encode(tc_scope *s, weights w, const struct vqgan_config *c,
                        tc_tensor *x);

/* C: quant_conv, `preconv` -> `prequant` latent [B,embed_dim,h,w] */
tc_tensor *vqgan_quant_conv(tc_scope *s, weights w, const struct vqgan_config *c,
                            tc_tensor *z);

/* Indices [B,h,w] i64 of the codebook entries nearest to z [B,embed_dim,h,w] */
tc_tensor *vqgan_nearest(tc_scope *s, weights w, const struct vqgan_config *c,
                         tc_tensor *z);

/* Codebook entries at indices [B,h,w] -> [B,embed_dim,h,w] */
tc_tensor *vqgan_lookup(tc_scope *s, weights w, const struct vqgan_config *c,
                        tc_tensor *indices);

/* Q: vqgan_lookup(vqgan_nearest(z)), `prequant` -> `postquant` latent */
tc_tensor *vqgan_quantize(tc_scope *s, weights w, const struct vqgan_config *c,
                          tc_tensor *z);

/* D(P(z)): post_quant_conv and decoder, `postquant` latent -> [B,3,H,W] in [-1,1] but for
 * overshoot */
tc_tensor *vqgan_decode(tc_scope *s, weights w, const struct vqgan_config *c,
                        tc_tensor *z);

/* CLIP image encoder (transformers: CLIPVisionModelWithProjection) */

struct clip_vision_config {
    int64_t hidden_size;
    int64_t intermediate_size;
    int64_t num_hidden_layers;
    int64_t num_attention_heads;
    int64_t image_size; /* side of the pictures it takes; a multiple of patch_size */
    int64_t patch_size;
    int64_t projection_dim;
    enum nn_activation hidden_act;
    double layer_norm_eps;
};

/* x [B,3,image_size,image_size], normalised -> embeddings [B,projection_dim], not of unit
 * length. `w` is the node that holds `vision_model` and `visual_projection`. */
tc_tensor *clip_vision_forward(tc_scope *s, weights w, const struct clip_vision_config *c,
                               tc_tensor *x);

/* VGG16 and LPIPS (torchvision: vgg16().features; lpips: LPIPS(net="vgg")) */

#define VGG_CONVOLUTIONS 13
#define VGG_TAPS 5

struct vgg_config {
    int64_t channels[VGG_CONVOLUTIONS]; /* 64,64,128,... in VGG16; narrower ones do */
};

/* The place of convolution i among the `features`: 0, 2, 5, 7, 10, ... 28. */
int vgg_feature(int i);

/* x [B,3,H,W] in [-1,1], through lpips' scaling layer -> the maps after relu1_2, relu2_2,
 * relu3_3, relu4_3 and relu5_3, each of unit length over channels: [B,C,H/2^i,W/2^i].
 * Sides of 16 pixels and more. `w` is the node that holds `features`. */
void vgg_unit_maps(tc_scope *s, weights w, const struct vgg_config *c, tc_tensor *x,
                   tc_tensor *maps[VGG_TAPS]);

/* The head of map i, a 1x1 convolution without a bias: [1,C,1,1] */
weights lpips_head(weights heads, int i);

/* The distance of one picture to each of M: squared differences of their unit maps
 * [1,C,h,w] and [M,C,h,w], weighted by the head of each map, or by 1 where the node of
 * `heads` is NULL, averaged over space and added up over channels and maps -> [M]. */
tc_tensor *lpips_distance(tc_scope *s, weights heads, tc_tensor *const a[VGG_TAPS],
                          tc_tensor *const b[VGG_TAPS]);

#endif
