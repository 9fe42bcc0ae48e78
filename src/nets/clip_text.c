/* clip_text.c: the CLIP text encoder, as transformers' CLIPTextModel computes it. Leaves
 * the tokenizer, and which layer's output to use, to the caller. */
#include "diffens/nets.h"

/* ids [B,T] -> [B,T,D] */
static tc_tensor *embeddings(tc_scope *up, weights w, const struct clip_text_config *c,
                             tc_tensor *ids)
{
    tc_scope *s = tc_push(up);
    struct tc_shape table = SHAPE(c->max_position_embeddings, c->hidden_size);

    tc_tensor *tokens =
        nn_embedding(s, w_at(w, "token_embedding"), ids, c->vocab_size, c->hidden_size);
    tc_tensor *positions = w_tensor(s, w_at(w, "position_embedding.weight"), table);
    positions = tc_slice(s, positions, 0, 0, tc_size(ids, 1)); /* [T,D] */
    return tc_pop(s, nn_tap(s, w, tc_add(s, tokens, positions)));
}

/* A token sees itself and the tokens before it. [B,T,D] -> [B,T,D] */
static tc_tensor *self_attn(tc_scope *up, weights w, const struct clip_text_config *c,
                            tc_tensor *x)
{
    tc_scope *s = tc_push(up);

    tc_tensor *q = nn_linear(s, w_at(w, "q_proj"), x, c->hidden_size);
    tc_tensor *k = nn_linear(s, w_at(w, "k_proj"), x, c->hidden_size);
    tc_tensor *v = nn_linear(s, w_at(w, "v_proj"), x, c->hidden_size);
    tc_tensor *h = nn_attention(s, q, k, v, (int)c->num_attention_heads, true);
    h = nn_linear(s, w_at(w, "out_proj"), h, c->hidden_size);
    return tc_pop(s, nn_tap(s, w, h));
}

/* [B,T,D] -> [B,T,D] */
static tc_tensor *mlp(tc_scope *up, weights w, const struct clip_text_config *c,
                      tc_tensor *x)
{
    tc_scope *s = tc_push(up);

    tc_tensor *h = nn_linear(s, w_at(w, "fc1"), x, c->intermediate_size);
    h = nn_activate(s, c->hidden_act, h);
    h = nn_linear(s, w_at(w, "fc2"), h, c->hidden_size);
    return tc_pop(s, nn_tap(s, w, h));
}

/* [B,T,D] -> [B,T,D] */
static tc_tensor *encoder_layer(tc_scope *up, weights w, const struct clip_text_config *c,
                                tc_tensor *x)
{
    tc_scope *s = tc_push(up);

    tc_tensor *h = nn_layer_norm(s, w_at(w, "layer_norm1"), x, c->layer_norm_eps);
    x = tc_add(s, x, self_attn(s, w_at(w, "self_attn"), c, h));
    h = nn_layer_norm(s, w_at(w, "layer_norm2"), x, c->layer_norm_eps);
    x = tc_add(s, x, mlp(s, w_at(w, "mlp"), c, h));
    return tc_pop(s, nn_tap(s, w, x));
}

tc_tensor *clip_text_forward(tc_scope *up, weights w, const struct clip_text_config *c,
                             tc_tensor *ids, int skip_last)
{
    tc_scope *s = tc_push(up);

    tc_tensor *h = embeddings(s, w_at(w, "embeddings"), c, ids);
    for (int i = 0; i < (int)c->num_hidden_layers - skip_last; i++) {
        weights layer = w_at(w, "encoder.layers.%d", i);
        h = tc_replace(s, h, encoder_layer(s, layer, c, h));
    }
    weights norm = w_at(w, "final_layer_norm");
    h = nn_layer_norm(s, norm, h, c->layer_norm_eps);
    return tc_pop(s, nn_tap(s, norm, h));
}
