/* optimize_candidate.c: the latent that moves: where it starts, and how it becomes a
 * picture. Leaves the moving to optimize.c. */
#include "stages/optimize_internal.h"

#include "models/vqgan.h"

#include <stdlib.h>

enum { STREAM_CODES = 8 };

tc_tensor *candidate_quantize(tc_scope *up, const struct optimize *o, tc_tensor *z)
{
    const struct vqgan *v = o->networks.vqgan;
    if (o->settings.layer == POSTQUANT) /* lies behind the codebook, as in `blend` */
        return z;
    tc_scope *s = tc_push(up);
    if (o->settings.layer == PRECONV)
        z = vqgan_quant_conv(s, v->w, &v->config, z);
    tc_tensor *q = vqgan_quantize(s, v->w, &v->config, tc_detach(s, z));
    return tc_pop(s, tc_straight_through(s, q, z));
}

tc_tensor *candidate_picture(tc_scope *up, const struct optimize *o, tc_tensor *z)
{
    tc_scope *s = tc_push(up);
    const struct vqgan *v = o->networks.vqgan;
    tc_tensor *x = vqgan_decode(s, v->w, &v->config, z);
    x = tc_scale(s, tc_add_scalar(s, x, 1), 0.5);
    return tc_pop(s, tc_clamp_inward(s, x, 0, 1));
}

/* A random codebook entry per position: [1,D,h,w] */
static tc_tensor *random_codes(tc_scope *up, const struct optimize *o)
{
    const struct vqgan *v = o->networks.vqgan;
    int64_t factor = vqgan_factor(&v->config);
    int64_t height = o->height / factor, width = o->width / factor;
    int64_t *ids = malloc((size_t)(height * width) * sizeof *ids);
    if (!ids) {
        tc_fail(up, ERR_MEMORY, "no host memory for %lld random codes",
                (long long)(height * width));
        return NULL;
    }
    for (int64_t i = 0; i < height * width; i++)
        ids[i] = (int64_t)crops_random(o->settings.random_seed, STREAM_CODES, (uint64_t)i,
                                       (uint64_t)v->config.n_embed);
    tc_scope *s = tc_push(up);
    tc_tensor *indices = tc_from_host(s, TC_I64, SHAPE(1, height, width), ids);
    free(ids);
    return tc_pop(s, vqgan_lookup(s, v->w, &v->config, indices));
}

/* Random codes at the layer. Before quant_conv there are none: what the encoder makes of
 * their picture stands in. */
static tc_tensor *noise(tc_scope *up, const struct optimize *o)
{
    tc_scope *s = tc_push(up);
    const struct vqgan *v = o->networks.vqgan;
    tc_tensor *z = random_codes(s, o);
    if (o->settings.layer == PRECONV) {
        tc_tensor *x = vqgan_decode(s, v->w, &v->config, z);
        z = vqgan_encode(s, v->w, &v->config, tc_clamp(s, x, -1, 1));
    }
    return tc_pop(s, z);
}

static tc_tensor *gaussian(tc_scope *up, const struct optimize *o)
{
    tc_scope *s = tc_push(up);
    tc_tensor *like = o->latents[0].at[o->settings.layer];
    tc_rng *rng = tc_rng_new(s, o->settings.random_seed);
    tc_tensor *z =
        tc_randn(s, rng, SHAPE(1, tc_size(like, 1), tc_size(like, 2), tc_size(like, 3)));
    return tc_pop(s, tc_cast(s, z, o->dtype));
}

/* The blend of the parents, not yet through the codebook. */
static tc_tensor *mix(tc_scope *s, const struct optimize *o)
{
    tc_tensor *z[OPTIMIZE_MAX_PARENTS];
    for (int m = 0; m < o->parents; m++)
        z[m] = o->latents[m].at[o->settings.layer];
    return tc_combine(s, o->parents, o->shares, z);
}

tc_tensor *candidate_start(tc_scope *up, const struct optimize *o)
{
    tc_scope *s = tc_push(up);
    tc_tensor *z = NULL;
    switch (o->settings.seed) {
    case SEED_NOISE:
        z = noise(s, o);
        break;
    case SEED_GAUSSIAN:
        z = gaussian(s, o);
        break;
    case SEED_INPUT:
        z = mix(s, o);
        break;
    case SEED_FILE:
        z = stage_encode(s, o->networks.vqgan, o->settings.seed_image, o->height,
                         o->width)
                .at[o->settings.layer];
        break;
    }
    return tc_pop(s, optimize_copy(s, tc_contiguous(s, z)));
}
