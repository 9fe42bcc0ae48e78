/* clip_vision.c: the CLIP image encoder, as transformers' CLIPVisionModelWithProjection
 * computes it. Leaves cutting, resizing and normalising pictures to the caller. */
#include "diffens/nets.h"

/* The patch convolution as a product of matrices: its windows do not overlap.
 * [B,3,S,S] -> [B,P,D], P patches row by row */
static tc_tensor *patches(tc_scope *up, weights w, const struct clip_vision_config *c,
                          tc_tensor *x)
{
    tc_scope *s = tc_push(up);
    int64_t side = c->patch_size, grid = c->image_size / side, width = 3 * side * side;

    tc_tensor *kernel = w_tensor(s, w_at(w, "patch_embedding.weight"),
                                 SHAPE(c->hidden_size, 3, side, side));
    x = tc_reshape(s, x, SHAPE(-1, 3, grid, side, grid, side));
    x = tc_permute(s, x, SHAPE(0, 2, 4, 1, 3, 5)); /* [B,grid,grid,3,side,side] */
    x = tc_reshape(s, x, SHAPE(-1, grid * grid, width));
    kernel = tc_reshape(s, kernel, SHAPE(c->hidden_size, width));
    return tc_pop(s, tc_linear(s, x, kernel, NULL));
}

/* [B,3,S,S] -> [B,1+P,D]: the class token, then the patches */
static tc_tensor *embeddings(tc_scope *up, weights w, const struct clip_vision_config *c,
                             tc_tensor *x)
{
    tc_scope *s = tc_push(up);
    int64_t grid = c->image_size / c->patch_size, width = c->hidden_size;

    tc_tensor *token = w_tensor(s, w_at(w, "class_embedding"), SHAPE(width));
    token = tc_expand(s, token, SHAPE(tc_size(x, 0), 1, width));
    tc_tensor *h = tc_cat(s, 2, (tc_tensor *[]){token, patches(s, w, c, x)}, 1);
    tc_tensor *positions =
        w_tensor(s, w_at(w, "position_embedding.weight"), SHAPE(grid * grid + 1, width));
    return tc_pop(s, nn_tap(s, w, tc_add(s, h, positions)));
}

/* The first `queries` tokens look at all of them. [B,T,D] -> [B,queries,D] */
static tc_tensor *self_attn(tc_scope *up, weights w, const struct clip_vision_config *c,
                            tc_tensor *x, int64_t queries)
{
    tc_scope *s = tc_push(up);
    int64_t width = c->hidden_size;

    tc_tensor *asking = tc_slice(s, x, 1, 0, queries);
    tc_tensor *q = nn_linear(s, w_at(w, "q_proj"), asking, width);
    tc_tensor *k = nn_linear(s, w_at(w, "k_proj"), x, width);
    tc_tensor *v = nn_linear(s, w_at(w, "v_proj"), x, width);
    tc_tensor *h = nn_attention(s, q, k, v, (int)c->num_attention_heads, false);
    return tc_pop(s, nn_linear(s, w_at(w, "out_proj"), h, width));
}

/* [B,T,D] -> [B,T,D] */
static tc_tensor *mlp(tc_scope *up, weights w, const struct clip_vision_config *c,
                      tc_tensor *x)
{
    tc_scope *s = tc_push(up);

    tc_tensor *h = nn_linear(s, w_at(w, "fc1"), x, c->intermediate_size);
    h = nn_activate(s, c->hidden_act, h);
    return tc_pop(s, nn_linear(s, w_at(w, "fc2"), h, c->hidden_size));
}

/* [B,T,D] -> [B,queries,D] */
static tc_tensor *encoder_layer(tc_scope *up, weights w,
                                const struct clip_vision_config *c, tc_tensor *x,
                                int64_t queries)
{
    tc_scope *s = tc_push(up);

    tc_tensor *h = nn_layer_norm(s, w_at(w, "layer_norm1"), x, c->layer_norm_eps);
    h = self_attn(s, w_at(w, "self_attn"), c, h, queries);
    x = tc_add(s, tc_slice(s, x, 1, 0, queries), h);
    h = nn_layer_norm(s, w_at(w, "layer_norm2"), x, c->layer_norm_eps);
    x = tc_add(s, x, mlp(s, w_at(w, "mlp"), c, h));
    return tc_pop(s, nn_tap(s, w, x));
}

tc_tensor *clip_vision_forward(tc_scope *up, weights root,
                               const struct clip_vision_config *c, tc_tensor *x)
{
    tc_scope *s = tc_push(up);
    weights w = w_at(root, "vision_model");

    tc_tensor *h = embeddings(s, w_at(w, "embeddings"), c, x);
    /* transformers: CLIPVisionTransformer.pre_layrnorm, spelled so */
    h = nn_layer_norm(s, w_at(w, "pre_layrnorm"), h, c->layer_norm_eps);
    for (int i = 0; i < (int)c->num_hidden_layers; i++) {
        weights layer = w_at(w, "encoder.layers.%d", i);
        /* Of the last layer only the class token is looked at. */
        int64_t queries = i + 1 < c->num_hidden_layers ? tc_size(h, 1) : 1;
        h = tc_replace(s, h, encoder_layer(s, layer, c, h, queries));
    }
    h = tc_reshape(s, tc_slice(s, h, 1, 0, 1), SHAPE(-1, c->hidden_size)); /* [B,D] */
    h = nn_layer_norm(s, w_at(w, "post_layernorm"), h, c->layer_norm_eps);
    return tc_pop(s,
                  nn_project(s, w_at(root, "visual_projection"), h, c->projection_dim));
}
