/* blocks.c: residual, attention and resampling blocks. The order of operations is that of
 * diffusers' ResnetBlock2D, Attention, Downsample2D and Upsample2D and of taming's
 * model.py, which agree. Leaves to each network which blocks it has. */
#include "nets/blocks.h"

tc_tensor *block_resnet(tc_scope *up, weights w, const struct block_style *style,
                        int64_t channels, tc_tensor *x, tc_tensor *silu_temb)
{
    tc_scope *s = tc_push(up);

    /* What is done with goes at once: at full size each is a large part of a GB. */
    tc_tensor *h = nn_group_norm_silu(s, w_at(w, "norm1"), x, style->groups, style->eps);
    h = tc_replace(s, h, nn_conv2d(s, w_at(w, "conv1"), h, channels, 3, 1, 1));
    if (silu_temb) {
        tc_tensor *t = nn_linear(s, w_at(w, "time_emb_proj"), silu_temb, channels);
        t = tc_reshape(s, t, SHAPE(-1, channels, 1, 1));
        h = tc_replace(s, h, tc_add(s, h, t));
    }
    h = tc_replace(s, h,
                   nn_group_norm_silu(s, w_at(w, "norm2"), h, style->groups, style->eps));
    h = tc_replace(s, h, nn_conv2d(s, w_at(w, "conv2"), h, channels, 3, 1, 1));
    if (tc_size(x, 1) != channels) {
        weights shortcut = style->names == NAMES_TAMING ? w_at(w, "nin_shortcut")
                                                        : w_at(w, "conv_shortcut");
        x = nn_conv2d(s, shortcut, x, channels, 1, 1, 0);
    }
    return tc_pop(s, nn_tap(s, w, tc_add(s, x, h)));
}

/* The projections are 1x1 convolutions in taming. [B,C,h,w] -> [B,C,h,w] */
static tc_tensor *attention_by_conv(tc_scope *s, weights w,
                                    const struct block_style *style, tc_tensor *x)
{
    int64_t channels = tc_size(x, 1);

    tc_tensor *h = nn_group_norm(s, w_at(w, "norm"), x, style->groups, style->eps);
    tc_tensor *q = nn_conv2d(s, w_at(w, "q"), h, channels, 1, 1, 0);
    tc_tensor *k = nn_conv2d(s, w_at(w, "k"), h, channels, 1, 1, 0);
    tc_tensor *v = nn_conv2d(s, w_at(w, "v"), h, channels, 1, 1, 0);
    q = block_tokens(s, q); /* [B,h*w,C] */
    k = block_tokens(s, k);
    v = block_tokens(s, v);
    h = block_image(s, nn_attention(s, q, k, v, 1, false), x); /* [B,C,h,w] */
    return nn_conv2d(s, w_at(w, "proj_out"), h, channels, 1, 1, 0);
}

/* The projections are dense layers in diffusers. [B,C,h,w] -> [B,C,h,w] */
static tc_tensor *attention_by_linear(tc_scope *s, weights w,
                                      const struct block_style *style, tc_tensor *x)
{
    int64_t channels = tc_size(x, 1);

    tc_tensor *h = nn_group_norm(s, w_at(w, "group_norm"), x, style->groups, style->eps);
    h = block_tokens(s, h); /* [B,h*w,C] */
    tc_tensor *q = nn_linear(s, w_at(w, "to_q"), h, channels);
    tc_tensor *k = nn_linear(s, w_at(w, "to_k"), h, channels);
    tc_tensor *v = nn_linear(s, w_at(w, "to_v"), h, channels);
    h = nn_attention(s, q, k, v, 1, false);
    return block_image(s, nn_linear(s, w_at(w, "to_out.0"), h, channels),
                       x); /* [B,C,h,w] */
}

tc_tensor *block_attention(tc_scope *up, weights w, const struct block_style *style,
                           tc_tensor *x)
{
    tc_scope *s = tc_push(up);

    tc_tensor *h = style->names == NAMES_TAMING ? attention_by_conv(s, w, style, x)
                                                : attention_by_linear(s, w, style, x);
    return tc_pop(s, nn_tap(s, w, tc_add(s, h, x)));
}

tc_tensor *block_downsample(tc_scope *up, weights conv, tc_tensor *x)
{
    tc_scope *s = tc_push(up);

    x = nn_conv2d(s, conv, tc_pad(s, x, 0, 1, 0, 1), tc_size(x, 1), 3, 2, 0);
    return tc_pop(s, nn_tap(s, conv, x));
}

tc_tensor *block_upsample(tc_scope *up, weights conv, tc_tensor *x, int64_t height,
                          int64_t width)
{
    tc_scope *s = tc_push(up);

    tc_tensor *h = tc_resize_nearest(s, x, height, width);
    h = nn_conv2d(s, conv, h, tc_size(x, 1), 3, 1, 1);
    return tc_pop(s, nn_tap(s, conv, h));
}

tc_tensor *block_output(tc_scope *up, weights norm, weights conv,
                        const struct block_style *style, int64_t channels, tc_tensor *x)
{
    tc_scope *s = tc_push(up);

    tc_tensor *h = nn_group_norm_silu(s, norm, x, style->groups, style->eps);
    h = nn_conv2d(s, conv, h, channels, 3, 1, 1);
    return tc_pop(s, nn_tap(s, conv, h));
}

tc_tensor *block_tokens(tc_scope *s, tc_tensor *x)
{
    tc_tensor *rows = tc_permute(s, x, SHAPE(0, 2, 3, 1)); /* [B,h,w,C] */
    return tc_reshape(s, rows, SHAPE(tc_size(x, 0), -1, tc_size(x, 1)));
}

tc_tensor *block_image(tc_scope *s, tc_tensor *tokens, tc_tensor *like)
{
    struct tc_shape rows =
        SHAPE(tc_size(tokens, 0), tc_size(like, 2), tc_size(like, 3), -1);
    tc_tensor *x = tc_reshape(s, tokens, rows); /* [B,h,w,C] */
    return tc_permute(s, x, SHAPE(0, 3, 1, 2));
}
