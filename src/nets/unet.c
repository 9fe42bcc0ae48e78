/* unet.c: the network that removes noise from a latent, as diffusers'
 * UNet2DConditionModel computes it with the block types of SD 1.x and 2.x. Leaves
 * guidance and the steps to the sampler, attention to unet_transformer.c. */
#include "diffens/nets.h"
#include "nets/blocks.h"
#include "nets/unet_transformer.h"

#include <math.h>

#define MAX_SKIPS 128

/* One forward run: what all its blocks look at. */
struct run {
    const struct unet_config *c;
    struct block_style style;
    tc_tensor *silu_temb; /* [1,D]; every residual block begins with this SiLU */
    struct unet_condition *condition;
    struct unet_cache *cache;    /* NULL: none */
    tc_tensor *skips[MAX_SKIPS]; /* down path to up path, last in first out */
    int skip_count;
};

static void push_skip(struct run *r, tc_tensor *x)
{
    r->skips[r->skip_count++] = x;
}

static tc_tensor *pop_skip(struct run *r)
{
    return r->skips[--r->skip_count];
}

/* Refuses a config whose skips or cross-attentions would not fit into their arrays. */
static bool check_depth(tc_scope *s, const struct unet_config *c)
{
    int lowest = c->levels - 1;
    int64_t skips = 1; /* after conv_in */
    int64_t attentions = c->mid_attention ? c->transformer_layers[lowest] : 0;

    for (int i = 0; i < c->levels; i++) {
        int64_t layers = c->layers_per_block[i], depth = c->transformer_layers[i];
        if (c->only_cross_attention[i])
            depth *= 2;
        skips += layers + 1;
        attentions += c->down_attention[i] ? layers * depth : 0;
        attentions += c->up_attention[lowest - i] ? (layers + 1) * depth : 0;
    }
    if (skips > MAX_SKIPS)
        tc_fail(s, ERR_INPUT, "unet: found %lld skip connections, expected at most %d",
                (long long)skips, MAX_SKIPS);
    if (attentions > UNET_MAX_CROSS_ATTENTIONS)
        tc_fail(s, ERR_INPUT, "unet: found %lld cross-attentions, expected at most %d",
                (long long)attentions, UNET_MAX_CROSS_ATTENTIONS);
    return tc_ok(s);
}

/* Sinusoids of the timestep, always in f32 and in the order of operations of diffusers'
 * embeddings.py, get_timestep_embedding: at t = 1000 another order shows in the sixth
 * digit. -> [1,width] */
static tc_tensor *time_proj(tc_scope *up, const struct unet_config *c, double timestep)
{
    tc_scope *s = tc_push(up);
    int64_t half = c->block_out_channels[0] / 2;
    double divisor = (double)half - c->freq_shift;

    tc_tensor *exponent = tc_scale(s, tc_arange(s, half), -log(10000)); /* [half] */
    exponent = tc_div(s, exponent, tc_full(s, TC_F32, SHAPE(1), divisor));
    tc_tensor *angle = tc_scale(s, tc_exp(s, exponent), timestep);
    tc_tensor *sine = tc_sin(s, angle), *cosine = tc_cos(s, angle);
    tc_tensor *both = c->flip_sin_to_cos ? tc_cat(s, 2, (tc_tensor *[]){cosine, sine}, 0)
                                         : tc_cat(s, 2, (tc_tensor *[]){sine, cosine}, 0);
    return tc_pop(s, tc_reshape(s, both, SHAPE(1, 2 * half)));
}

/* diffusers: TimestepEmbedding. [1,width] -> [1,4*width] */
static tc_tensor *time_embedding(tc_scope *up, weights w, const struct unet_config *c,
                                 tc_tensor *t)
{
    tc_scope *s = tc_push(up);
    int64_t width = 4 * c->block_out_channels[0];

    tc_tensor *temb = tc_silu(s, nn_linear(s, w_at(w, "linear_1"), t, width));
    temb = nn_linear(s, w_at(w, "linear_2"), temb, width);
    return tc_pop(s, nn_tap(s, w, temb));
}

/* Layer i of a down or up block: a residual block and, in a CrossAttn block, a
 * transformer. x [B,C',h,w] -> [B,C,h,w] */
static tc_tensor *layer(tc_scope *up, weights w, struct run *r, int level, int i,
                        bool attention, tc_tensor *x)
{
    tc_scope *s = tc_push(up);
    const struct unet_config *c = r->c;

    x = block_resnet(s, w_at(w, "resnets.%d", i), &r->style, c->block_out_channels[level],
                     x, r->silu_temb);
    if (attention)
        x = unet_transformer(s, w_at(w, "attentions.%d", i), c, level,
                             c->only_cross_attention[level], r->condition, x);
    return tc_pop(s, x);
}

/* CrossAttnDownBlock2D and DownBlock2D. Everything it makes is a skip connection, so it
 * works in the network's scope. x [B,C',h,w] -> [B,C,h/2,w/2], the last [B,C,h,w] */
static tc_tensor *down_block(tc_scope *s, weights w, struct run *r, int level,
                             tc_tensor *x)
{
    const struct unet_config *c = r->c;

    for (int i = 0; i < c->layers_per_block[level]; i++) {
        x = layer(s, w, r, level, i, c->down_attention[level], x);
        push_skip(r, x);
    }
    if (level < c->levels - 1) {
        weights conv = w_at(w, "downsamplers.0.conv");
        x = nn_conv2d(s, conv, x, c->block_out_channels[level], 3, 2, 1);
        push_skip(r, nn_tap(s, conv, x));
    }
    return nn_tap(s, w, x);
}

/* UNetMidBlock2DCrossAttn; UNetMidBlock2D is its first residual block alone.
 * [B,C,h,w] -> [B,C,h,w] */
static tc_tensor *mid_block(tc_scope *up, weights w, struct run *r, tc_tensor *x)
{
    tc_scope *s = tc_push(up);
    const struct unet_config *c = r->c;
    int lowest = c->levels - 1;
    int64_t channels = c->block_out_channels[lowest];

    x = block_resnet(s, w_at(w, "resnets.0"), &r->style, channels, x, r->silu_temb);
    if (c->mid_attention) {
        x = unet_transformer(s, w_at(w, "attentions.0"), c, lowest, false, r->condition,
                             x);
        x = block_resnet(s, w_at(w, "resnets.1"), &r->style, channels, x, r->silu_temb);
    }
    return tc_pop(s, nn_tap(s, w, x));
}

/* Keeps what the last layer goes on from, for the runs that are of the outermost alone.
 */
static void fill_cache(struct run *r, tc_tensor *x)
{
    r->cache->features = tc_detach(r->cache->scope, x);
    r->cache->attentions = r->condition->next;
}

/* Layer i of the way up, on its skip connection. x [B,C',h,w] -> [B,C,h,w] */
static tc_tensor *up_layer(tc_scope *s, weights w, struct run *r, int block, int i,
                           tc_tensor *x)
{
    tc_tensor *joined = tc_cat(s, 2, (tc_tensor *[]){x, pop_skip(r)}, 1);
    x = layer(s, w, r, r->c->levels - 1 - block, i, r->c->up_attention[block], joined);
    tc_replace(s, joined, NULL);
    return x;
}

/* CrossAttnUpBlock2D and UpBlock2D; block 0 is at the lowest level. Upsamples to the size
 * of the skip connection that is next: with an odd size on the way down that is not twice
 * the present one. x [B,C',h,w] -> [B,C,2h,2w], the last [B,C,h,w] */
static tc_tensor *up_block(tc_scope *up, weights w, struct run *r, int block,
                           tc_tensor *x)
{
    tc_scope *s = tc_push(up);
    const struct unet_config *c = r->c;
    int level = c->levels - 1 - block;

    for (int i = 0; i < c->layers_per_block[level] + 1; i++) {
        if (r->cache && level == 0 && i == c->layers_per_block[0])
            fill_cache(r, x);
        x = up_layer(s, w, r, block, i, x);
    }
    if (level > 0) {
        tc_tensor *next = r->skips[r->skip_count - 1];
        x = block_upsample(s, w_at(w, "upsamplers.0.conv"), x, tc_size(next, 2),
                           tc_size(next, 3));
    }
    return tc_pop(s, nn_tap(s, w, x));
}

/* From the skip connection of conv_in, which is the last on the stack, to the last hidden
 * layer. */
static tc_tensor *all_levels(tc_scope *s, weights w, struct run *r, tc_tensor *h)
{
    int levels = r->c->levels;

    for (int i = 0; i < levels; i++)
        h = down_block(s, w_at(w, "down_blocks.%d", i), r, i, h);
    h = mid_block(s, w_at(w, "mid_block"), r, h);
    for (int i = 0; i < levels; i++)
        h = tc_replace(s, h, up_block(s, w_at(w, "up_blocks.%d", i), r, i, h));
    return h;
}

/* The same by way of the cache: the skip connection and the last layer alone. */
static tc_tensor *last_layer(tc_scope *s, weights w, struct run *r)
{
    int block = r->c->levels - 1;

    r->condition->next = r->cache->attentions;
    return up_layer(s, w_at(w, "up_blocks.%d", block), r, block,
                    r->c->layers_per_block[0], r->cache->features);
}

tc_tensor *unet_forward(tc_scope *up, weights w, const struct unet_config *c,
                        tc_tensor *x, double timestep, struct unet_condition *condition,
                        struct unet_cache *cache)
{
    tc_scope *s = tc_push(up);
    struct run r = {.c = c,
                    .style = {NAMES_DIFFUSERS, c->norm_num_groups, c->norm_eps},
                    .condition = condition,
                    .cache = cache};

    if (!check_depth(s, c))
        return tc_pop(s, NULL);
    condition->next = 0;

    tc_tensor *t = tc_cast(s, time_proj(s, c, timestep), tc_dtype_of(x));
    r.silu_temb = tc_silu(s, time_embedding(s, w_at(w, "time_embedding"), c, t));

    tc_tensor *h = nn_conv2d(s, w_at(w, "conv_in"), x, c->block_out_channels[0], 3, 1, 1);
    push_skip(&r, nn_tap(s, w_at(w, "conv_in"), h));
    h = cache && cache->features ? last_layer(s, w, &r) : all_levels(s, w, &r, h);
    return tc_pop(s, block_output(s, w_at(w, "conv_norm_out"), w_at(w, "conv_out"),
                                  &r.style, c->out_channels, h));
}
