/* unet_transformer.c: self-attention, cross-attention and feed-forward at one place of
 * the UNet, as diffusers' Transformer2DModel and BasicTransformerBlock compute them.
 * Leaves the choice of where they stand to unet.c. */
#include "nets/unet_transformer.h"
#include "nets/blocks.h"

/* diffusers fixes both, whatever the UNet's norm_eps: BasicTransformerBlock,
 * Transformer2DModel */
#define LAYER_NORM_EPS 1e-5
#define GROUP_NORM_EPS 1e-6

/* x [B,T,D] -> [B,T,D] */
static tc_tensor *self_attention(tc_scope *up, weights w, int heads, tc_tensor *x)
{
    tc_scope *s = tc_push(up);
    int64_t width = tc_size(x, 2);

    tc_tensor *q = nn_project(s, w_at(w, "to_q"), x, width);
    tc_tensor *k = nn_project(s, w_at(w, "to_k"), x, width);
    tc_tensor *v = nn_project(s, w_at(w, "to_v"), x, width);
    tc_tensor *h = nn_attention(s, q, k, v, heads, false);
    h = nn_linear(s, w_at(w, "to_out.0"), h, width);
    return tc_pop(s, nn_tap(s, w, h));
}

/* Makes, on the first forward run, the keys and values [B,S,D] of the cross-attention
 * that is next in the network's order; returns its index in the cache. */
static int keys_and_values(weights w, struct unet_condition *condition, int64_t width)
{
    tc_scope *s = condition->scope;
    int i = condition->next;

    if (!condition->keys[i])
        condition->keys[i] = nn_project(s, w_at(w, "to_k"), condition->text, width);
    if (!condition->values[i])
        condition->values[i] = nn_project(s, w_at(w, "to_v"), condition->text, width);
    condition->next++;
    return i;
}

/* x [B,T,D] attends to the text -> [B,T,D] */
static tc_tensor *cross_attention(tc_scope *up, weights w, int heads,
                                  struct unet_condition *condition, tc_tensor *x)
{
    tc_scope *s = tc_push(up);
    int64_t width = tc_size(x, 2);
    int i = keys_and_values(w, condition, width);

    tc_tensor *q = nn_project(s, w_at(w, "to_q"), x, width);
    tc_tensor *h =
        nn_attention(s, q, condition->keys[i], condition->values[i], heads, false);
    h = nn_linear(s, w_at(w, "to_out.0"), h, width);
    return tc_pop(s, nn_tap(s, w, h));
}

/* diffusers: FeedForward with GEGLU. x [B,T,D] -> [B,T,D] */
static tc_tensor *feed_forward(tc_scope *up, weights w, tc_tensor *x)
{
    tc_scope *s = tc_push(up);
    int64_t width = tc_size(x, 2);

    tc_tensor *h = nn_geglu(s, w_at(w, "net.0.proj"), x, 4 * width); /* [B,T,4D] */
    h = nn_linear(s, w_at(w, "net.2"), h, width);
    return tc_pop(s, nn_tap(s, w, h));
}

/* diffusers: BasicTransformerBlock. With only_cross_attention attn1, too, attends to the
 * text. x [B,T,D] -> [B,T,D] */
static tc_tensor *transformer_block(tc_scope *up, weights w, int heads,
                                    bool only_cross_attention,
                                    struct unet_condition *condition, tc_tensor *x)
{
    tc_scope *s = tc_push(up);
    weights attn1 = w_at(w, "attn1"), attn2 = w_at(w, "attn2");

    tc_tensor *h = nn_layer_norm(s, w_at(w, "norm1"), x, LAYER_NORM_EPS);
    h = only_cross_attention ? cross_attention(s, attn1, heads, condition, h)
                             : self_attention(s, attn1, heads, h);
    x = tc_add(s, h, x);
    h = nn_layer_norm(s, w_at(w, "norm2"), x, LAYER_NORM_EPS);
    x = tc_add(s, cross_attention(s, attn2, heads, condition, h), x);
    h = nn_layer_norm(s, w_at(w, "norm3"), x, LAYER_NORM_EPS);
    x = tc_add(s, feed_forward(s, w_at(w, "ff"), h), x);
    return tc_pop(s, nn_tap(s, w, x));
}

tc_tensor *unet_transformer(tc_scope *up, weights w, const struct unet_config *c,
                            int level, bool only_cross_attention,
                            struct unet_condition *condition, tc_tensor *x)
{
    tc_scope *s = tc_push(up);
    int64_t width = c->block_out_channels[level];
    weights proj_in = w_at(w, "proj_in"), proj_out = w_at(w, "proj_out");

    tc_tensor *h =
        nn_group_norm(s, w_at(w, "norm"), x, c->norm_num_groups, GROUP_NORM_EPS);
    if (!c->use_linear_projection)
        h = nn_conv2d(s, proj_in, h, width, 1, 1, 0);
    h = block_tokens(s, h); /* [B,h*w,C] */
    if (c->use_linear_projection)
        h = nn_linear(s, proj_in, h, width);

    for (int i = 0; i < c->transformer_layers[level]; i++)
        h = tc_replace(s, h,
                       transformer_block(s, w_at(w, "transformer_blocks.%d", i),
                                         c->heads[level], only_cross_attention, condition,
                                         h));

    if (c->use_linear_projection)
        h = nn_linear(s, proj_out, h, width);
    h = block_image(s, h, x); /* [B,C,h,w] */
    if (!c->use_linear_projection)
        h = nn_conv2d(s, proj_out, h, width, 1, 1, 0);
    return tc_pop(s, nn_tap(s, w, tc_add(s, h, x)));
}
