/* vae.c: the autoencoder between pictures and the latents of Stable Diffusion, as
 * diffusers' AutoencoderKL computes it. Leaves the sampling of the encoder's distribution
 * and the scaling factor to the caller. */
#include "diffens/nets.h"
#include "nets/blocks.h"

/* diffusers: vae.py, Encoder and Decoder give every norm this epsilon; the config has
 * none */
static struct block_style style_of(const struct vae_config *c)
{
    return (struct block_style){NAMES_DIFFUSERS, c->norm_num_groups, 1e-6};
}

/* diffusers: UNetMidBlock2D. [B,C,h,w] -> [B,C,h,w] */
static tc_tensor *mid_block(tc_scope *up, weights w, const struct vae_config *c,
                            const struct block_style *style, tc_tensor *h)
{
    tc_scope *s = tc_push(up);
    int64_t channels = c->block_out_channels[c->levels - 1];

    h = block_resnet(s, w_at(w, "resnets.0"), style, channels, h, NULL);
    if (c->mid_block_add_attention)
        h = block_attention(s, w_at(w, "attentions.0"), style, h);
    h = block_resnet(s, w_at(w, "resnets.1"), style, channels, h, NULL);
    return tc_pop(s, nn_tap(s, w, h));
}

/* x [B,3,H,W] -> [B,2C,h,w] */
static tc_tensor *encoder(tc_scope *up, weights w, const struct vae_config *c,
                          tc_tensor *x)
{
    tc_scope *s = tc_push(up);
    struct block_style style = style_of(c);

    tc_tensor *h = nn_conv2d(s, w_at(w, "conv_in"), x, c->block_out_channels[0], 3, 1, 1);
    for (int i = 0; i < c->levels; i++) {
        weights block = w_at(w, "down_blocks.%d", i);
        int64_t channels = c->block_out_channels[i];
        for (int j = 0; j < c->layers_per_block; j++) {
            weights resnet = w_at(block, "resnets.%d", j);
            h = tc_replace(s, h, block_resnet(s, resnet, &style, channels, h, NULL));
        }
        if (i < c->levels - 1) /* [B,channels,H/2^i,W/2^i] -> half of that */
            h = tc_replace(s, h,
                           block_downsample(s, w_at(block, "downsamplers.0.conv"), h));
        nn_tap(s, block, h);
    }
    h = tc_replace(s, h, mid_block(s, w_at(w, "mid_block"), c, &style, h));
    h = block_output(s, w_at(w, "conv_norm_out"), w_at(w, "conv_out"), &style,
                     2 * c->latent_channels, h);
    return tc_pop(s, nn_tap(s, w, h));
}

/* z [B,C,h,w] -> [B,3,H,W] */
static tc_tensor *decoder(tc_scope *up, weights w, const struct vae_config *c,
                          tc_tensor *z)
{
    tc_scope *s = tc_push(up);
    struct block_style style = style_of(c);
    int64_t lowest = c->block_out_channels[c->levels - 1];

    tc_tensor *h = nn_conv2d(s, w_at(w, "conv_in"), z, lowest, 3, 1, 1);
    h = tc_replace(s, h, mid_block(s, w_at(w, "mid_block"), c, &style, h));
    for (int i = 0; i < c->levels; i++) {
        weights block = w_at(w, "up_blocks.%d", i);
        int64_t channels = c->block_out_channels[c->levels - 1 - i];
        for (int j = 0; j < c->layers_per_block + 1; j++) {
            weights resnet = w_at(block, "resnets.%d", j);
            h = tc_replace(s, h, block_resnet(s, resnet, &style, channels, h, NULL));
        }
        if (i < c->levels - 1) /* [B,channels,h*2^i,w*2^i] -> twice that */
            h = tc_replace(s, h,
                           block_upsample(s, w_at(block, "upsamplers.0.conv"), h,
                                          2 * tc_size(h, 2), 2 * tc_size(h, 3)));
        nn_tap(s, block, h);
    }
    h = block_output(s, w_at(w, "conv_norm_out"), w_at(w, "conv_out"), &style,
                     c->out_channels, h);
    return tc_pop(s, nn_tap(s, w, h));
}

tc_tensor *vae_encode(tc_scope *up, weights w, const struct vae_config *c, tc_tensor *x)
{
    tc_scope *s = tc_push(up);

    tc_tensor *moments = encoder(s, w_at(w, "encoder"), c, x);
    if (c->use_quant_conv)
        moments =
            nn_conv2d(s, w_at(w, "quant_conv"), moments, 2 * c->latent_channels, 1, 1, 0);
    return tc_pop(s, moments);
}

tc_tensor *vae_decode(tc_scope *up, weights w, const struct vae_config *c, tc_tensor *z)
{
    tc_scope *s = tc_push(up);

    if (c->use_post_quant_conv)
        z = nn_conv2d(s, w_at(w, "post_quant_conv"), z, c->latent_channels, 1, 1, 0);
    return tc_pop(s, decoder(s, w_at(w, "decoder"), c, z));
}
