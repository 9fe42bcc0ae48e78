/* vqgan.c: the vector-quantised autoencoder in whose latent space pictures are mixed, as
 * taming-transformers' VQModel computes it. Leaves the mixing to the stages. */
#include "diffens/nets.h"
#include "nets/blocks.h"

/* taming: model.py, Normalize */
static const struct block_style style = {NAMES_TAMING, 32, 1e-6};

int64_t vqgan_factor(const struct vqgan_config *c)
{
    return (int64_t)1 << (c->levels - 1);
}

static int64_t channels_at(const struct vqgan_config *c, int level)
{
    return c->ch * c->ch_mult[level];
}

/* The middle of encoder and decoder. [B,C,h,w] -> [B,C,h,w] */
static tc_tensor *mid(tc_scope *up, weights w, const struct vqgan_config *c, tc_tensor *h)
{
    tc_scope *s = tc_push(up);
    int64_t channels = channels_at(c, c->levels - 1);

    h = block_resnet(s, w_at(w, "block_1"), &style, channels, h, NULL);
    h = block_attention(s, w_at(w, "attn_1"), &style, h);
    h = block_resnet(s, w_at(w, "block_2"), &style, channels, h, NULL);
    return tc_pop(s, h);
}

/* Residual block j of a level and, where the level has any, its attention: `level_node`
 * is `down.LEVEL` or `up.LEVEL`. [B,C',h,w] -> [B,C,h,w] */
static tc_tensor *level_block(tc_scope *up, weights level_node,
                              const struct vqgan_config *c, int level, int j,
                              tc_tensor *h)
{
    tc_scope *s = tc_push(up);

    h = block_resnet(s, w_at(level_node, "block.%d", j), &style, channels_at(c, level), h,
                     NULL);
    if (c->attention[level])
        h = block_attention(s, w_at(level_node, "attn.%d", j), &style, h);
    return tc_pop(s, h);
}

tc_tensor *vqgan_encode(tc_scope *up, weights root, const struct vqgan_config *c,
                        tc_tensor *x)
{
    tc_scope *s = tc_push(up);
    weights w = w_at(root, "encoder");

    tc_tensor *h = nn_conv2d(s, w_at(w, "conv_in"), x, c->ch, 3, 1, 1);
    for (int i = 0; i < c->levels; i++) {
        weights down = w_at(w, "down.%d", i);
        for (int j = 0; j < c->num_res_blocks; j++)
            h = tc_replace(s, h, level_block(s, down, c, i, j, h));
        if (i < c->levels - 1) /* [B,C,H/2^i,W/2^i] -> half of that */
            h = tc_replace(s, h, block_downsample(s, w_at(down, "downsample.conv"), h));
    }
    h = tc_replace(s, h, mid(s, w_at(w, "mid"), c, h));
    h = block_output(s, w_at(w, "norm_out"), w_at(w, "conv_out"), &style, c->z_channels,
                     h);
    return tc_pop(s, nn_tap(s, w, h));
}

tc_tensor *vqgan_quant_conv(tc_scope *s, weights w, const struct vqgan_config *c,
                            tc_tensor *z)
{
    return nn_conv2d(s, w_at(w, "quant_conv"), z, c->embed_dim, 1, 1, 0);
}

/* The codebook, [K,D]. */
static tc_tensor *codebook(tc_scope *s, weights w, const struct vqgan_config *c)
{
    return w_tensor(s, w_at(w, "quantize.embedding.weight"),
                    SHAPE(c->n_embed, c->embed_dim));
}

/* Squared distances as taming's VectorQuantizer2.forward forms them, |z|^2 + |e|^2 - 2ze
 * in this order, and its einsum as the batched product that libtorch makes of it: nearly
 * equal distances then round alike, and the same entry wins. */
tc_tensor *vqgan_nearest(tc_scope *up, weights w, const struct vqgan_config *c,
                         tc_tensor *z)
{
    tc_scope *s = tc_push(up);
    int64_t batch = tc_size(z, 0), height = tc_size(z, 2), width = tc_size(z, 3);
    int64_t positions = batch * height * width;

    z = tc_permute(s, z, SHAPE(0, 2, 3, 1));              /* [B,h,w,D] */
    z = tc_reshape(s, z, SHAPE(positions, c->embed_dim)); /* [B*h*w,D] */
    tc_tensor *e = codebook(s, w, c);                     /* [K,D] */
    tc_tensor *zz = tc_sum(s, tc_mul(s, z, z), 1);        /* [B*h*w] */
    tc_tensor *ee = tc_sum(s, tc_mul(s, e, e), 1);        /* [K] */
    tc_tensor *squares = tc_add(s, tc_reshape(s, zz, SHAPE(positions, 1)), ee);

    z = tc_reshape(s, z, SHAPE(1, positions, c->embed_dim));
    e = tc_permute(s, e, SHAPE(1, 0)); /* [D,K] */
    e = tc_reshape(s, e, SHAPE(1, c->embed_dim, c->n_embed));
    tc_tensor *ze = tc_matmul_precise(s, z, e); /* [1,B*h*w,K] */
    ze = tc_reshape(s, ze, SHAPE(positions, c->n_embed));

    tc_tensor *d = tc_sub(s, squares, tc_scale(s, ze, 2)); /* [B*h*w,K] */
    tc_tensor *indices = tc_argmin(s, d, 1);               /* [B*h*w] */
    return tc_pop(s, tc_reshape(s, indices, SHAPE(batch, height, width)));
}

tc_tensor *vqgan_lookup(tc_scope *up, weights w, const struct vqgan_config *c,
                        tc_tensor *indices)
{
    tc_scope *s = tc_push(up);

    tc_tensor *z = tc_embedding(s, indices, codebook(s, w, c)); /* [B,h,w,D] */
    return tc_pop(s, tc_permute(s, z, SHAPE(0, 3, 1, 2)));      /* [B,D,h,w] */
}

tc_tensor *vqgan_quantize(tc_scope *up, weights w, const struct vqgan_config *c,
                          tc_tensor *z)
{
    tc_scope *s = tc_push(up);
    return tc_pop(s, vqgan_lookup(s, w, c, vqgan_nearest(s, w, c, z)));
}

/* z [B,z_channels,h,w] -> [B,3,H,W] */
static tc_tensor *decoder(tc_scope *up, weights w, const struct vqgan_config *c,
                          tc_tensor *z)
{
    tc_scope *s = tc_push(up);
    int64_t lowest = channels_at(c, c->levels - 1);

    tc_tensor *h = nn_conv2d(s, w_at(w, "conv_in"), z, lowest, 3, 1, 1);
    h = tc_replace(s, h, mid(s, w_at(w, "mid"), c, h));
    for (int i = c->levels - 1; i >= 0; i--) {
        weights up_node = w_at(w, "up.%d", i);
        for (int j = 0; j < c->num_res_blocks + 1; j++)
            h = tc_replace(s, h, level_block(s, up_node, c, i, j, h));
        if (i > 0) /* [B,C,H/2^i,W/2^i] -> twice that */
            h = tc_replace(s, h,
                           block_upsample(s, w_at(up_node, "upsample.conv"), h,
                                          2 * tc_size(h, 2), 2 * tc_size(h, 3)));
    }
    h = block_output(s, w_at(w, "norm_out"), w_at(w, "conv_out"), &style, c->out_channels,
                     h);
    return tc_pop(s, nn_tap(s, w, h));
}

tc_tensor *vqgan_decode(tc_scope *up, weights w, const struct vqgan_config *c,
                        tc_tensor *z)
{
    tc_scope *s = tc_push(up);

    z = nn_conv2d(s, w_at(w, "post_quant_conv"), z, c->z_channels, 1, 1, 0);
    return tc_pop(s, decoder(s, w_at(w, "decoder"), c, z));
}
