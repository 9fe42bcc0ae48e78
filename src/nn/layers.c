/* layers.c: layers with weights: each looks up its tensors, states the shapes that they
 * must have, and makes one or two calls of tc.h. Leaves composition to the networks. */
#include "diffens/nn.h"

/* The weight of a dense layer, [out,Din], in the form that the device prefers. */
static tc_tensor *dense_weight(tc_scope *s, weights w, tc_tensor *x, int64_t out)
{
    weights at = w_at(w, "weight");
    tc_tensor *weight = w_tensor(s, at, SHAPE(out, tc_size(x, -1)));
    tc_scope *model = weight ? w_pack_begin(at) : NULL;
    return model ? w_pack_end(at, tc_linear_pack(model, weight, x)) : weight;
}

tc_tensor *nn_linear(tc_scope *s, weights w, tc_tensor *x, int64_t out)
{
    tc_tensor *weight = dense_weight(s, w, x, out);
    tc_tensor *bias = w_tensor(s, w_at(w, "bias"), SHAPE(out));
    return tc_linear(s, x, weight, bias);
}

tc_tensor *nn_geglu(tc_scope *s, weights w, tc_tensor *x, int64_t out)
{
    tc_tensor *weight = dense_weight(s, w, x, 2 * out);
    tc_tensor *bias = w_tensor(s, w_at(w, "bias"), SHAPE(2 * out));
    return tc_linear_geglu(s, x, weight, bias);
}

tc_tensor *nn_project(tc_scope *s, weights w, tc_tensor *x, int64_t out)
{
    return tc_linear(s, x, dense_weight(s, w, x, out), NULL);
}

tc_tensor *nn_conv2d(tc_scope *s, weights w, tc_tensor *x, int64_t out, int kernel,
                     int stride, int padding)
{
    weights at = w_at(w, "weight");
    tc_tensor *weight = w_tensor(s, at, SHAPE(out, tc_size(x, 1), kernel, kernel));
    tc_scope *model = weight ? w_pack_begin(at) : NULL;
    if (model)
        weight = w_pack_end(at, tc_conv2d_pack(model, weight, x, stride, padding));
    tc_tensor *bias = w_tensor(s, w_at(w, "bias"), SHAPE(out));
    return tc_conv2d(s, x, weight, bias, stride, padding);
}

tc_tensor *nn_group_norm(tc_scope *s, weights w, tc_tensor *x, int groups, double eps)
{
    tc_tensor *weight = w_tensor(s, w_at(w, "weight"), SHAPE(tc_size(x, 1)));
    tc_tensor *bias = w_tensor(s, w_at(w, "bias"), SHAPE(tc_size(x, 1)));
    return tc_group_norm(s, x, groups, weight, bias, eps);
}

tc_tensor *nn_group_norm_silu(tc_scope *s, weights w, tc_tensor *x, int groups,
                              double eps)
{
    tc_tensor *weight = w_tensor(s, w_at(w, "weight"), SHAPE(tc_size(x, 1)));
    tc_tensor *bias = w_tensor(s, w_at(w, "bias"), SHAPE(tc_size(x, 1)));
    return tc_group_norm_silu(s, x, groups, weight, bias, eps);
}

tc_tensor *nn_layer_norm(tc_scope *s, weights w, tc_tensor *x, double eps)
{
    tc_tensor *weight = w_tensor(s, w_at(w, "weight"), SHAPE(tc_size(x, -1)));
    tc_tensor *bias = w_tensor(s, w_at(w, "bias"), SHAPE(tc_size(x, -1)));
    return tc_layer_norm(s, x, weight, bias, eps);
}

tc_tensor *nn_embedding(tc_scope *s, weights w, tc_tensor *ids, int64_t count,
                        int64_t width)
{
    return tc_embedding(s, ids, w_tensor(s, w_at(w, "weight"), SHAPE(count, width)));
}

/* [B,T,D] -> [B,heads,T,D/heads] */
static tc_tensor *split_heads(tc_scope *s, tc_tensor *x, int heads)
{
    x = tc_reshape(s, x, SHAPE(tc_size(x, 0), tc_size(x, 1), heads, -1));
    return tc_permute(s, x, SHAPE(0, 2, 1, 3));
}

tc_tensor *nn_attention(tc_scope *s, tc_tensor *q, tc_tensor *k, tc_tensor *v, int heads,
                        bool causal)
{
    int64_t batch = tc_size(q, 0), tokens = tc_size(q, 1), width = tc_size(q, 2);
    q = split_heads(s, q, heads);
    k = split_heads(s, k, heads);
    v = split_heads(s, v, heads);
    tc_tensor *h = tc_attention(s, q, k, v, causal); /* [B,heads,T,D/heads] */
    h = tc_permute(s, h, SHAPE(0, 2, 1, 3));
    return tc_reshape(s, h, SHAPE(batch, tokens, width));
}

tc_tensor *nn_activate(tc_scope *s, enum nn_activation activation, tc_tensor *x)
{
    switch (activation) {
    case NN_SILU:
        return tc_silu(s, x);
    case NN_GELU:
        return tc_gelu(s, x);
    case NN_QUICK_GELU:
        return tc_quick_gelu(s, x);
    }
    return NULL;
}

tc_tensor *nn_tap(tc_scope *s, weights w, tc_tensor *x)
{
    char name[256];
    if (tc_has_tap(s))
        tc_tap(s, w_name(w, name, sizeof name), x);
    return x;
}
