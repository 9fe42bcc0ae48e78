/* optimize_losses.c: how far a picture is from its parents: CLIP distances of crops and
 * perceptual distance, each by parent, and their gradient. Leaves decoding the candidate
 * and the steps to optimize.c. */
#include "stages/optimize_internal.h"

#include "models/clip.h"
#include "models/perceptual.h"

#define POOL_BATCH 32 /* the parents' crops encoded at a time */

/* Crops of x as CLIP sees them. x [1,3,H,W] in [0,1] -> [n,D], of unit length but for
 * CLIP_MSE */
static tc_tensor *embed(tc_scope *up, const struct optimize *o, tc_tensor *x, int count,
                        const int *windows)
{
    tc_scope *s = tc_push(up);
    const struct clip *clip = o->networks.clip;

    /* Normalised before they are cut: resizing weights add up to 1, so it is the same. */
    x = tc_div(s, tc_sub(s, x, o->mean), o->deviation);
    tc_tensor *crops = crops_cut(s, &o->crops, x, count, windows); /* [n,3,S,S] */
    tc_tensor *a = clip_vision_forward(s, clip->w, &clip->config, crops);
    if (o->settings.distance != CLIP_MSE)
        a = tc_div(s, a, tc_norm(s, a, 1));
    return tc_pop(s, a);
}

/* Broadcast over all but the last dimension: [...,D], [...,D] -> [...] */
static tc_tensor *distance(tc_scope *up, enum clip_distance kind, tc_tensor *a,
                           tc_tensor *b)
{
    tc_scope *s = tc_push(up);
    int last = tc_rank(a) - 1;
    tc_tensor *d;

    if (kind == CLIP_COSINE) {
        d = tc_sum(s, tc_mul(s, a, b), last);
        return tc_pop(s, tc_add_scalar(s, tc_scale(s, d, -1), 1));
    }
    d = tc_sub(s, a, b);
    if (kind == CLIP_MSE)
        return tc_pop(s, tc_mean(s, tc_mul(s, d, d), last));
    /* 2 asin(|a-b|/2)^2 (Crowson: VQGAN+CLIP, Prompt.forward) */
    d = tc_scale(s, tc_sum(s, tc_norm(s, d, last), last), 0.5);
    d = tc_asin(s, tc_clamp(s, d, 0, 1));
    return tc_pop(s, tc_scale(s, tc_mul(s, d, d), 2));
}

static tc_tensor *row_of(tc_scope *up, const struct optimize *o, const double *values,
                         int count)
{
    tc_scope *s = tc_push(up);
    tc_tensor *x = tc_from_host(s, TC_F64, SHAPE(1, count), values);
    return tc_pop(s, tc_cast(s, x, o->dtype));
}

/* What an epoch's windows are of the parents: [n,M,D] */
static tc_tensor *parents_embeddings(tc_scope *up, const struct optimize *o,
                                     const int *windows)
{
    tc_scope *s = tc_push(up);
    int64_t ids[CROPS_MAX_GROUPS * CROPS_MAX_COUNT];
    for (int i = 0; i < o->crops.total; i++)
        ids[i] = windows[i];
    tc_tensor *rows = tc_from_host(s, TC_I64, SHAPE(o->crops.total), ids);
    tc_tensor *b = tc_embedding(s, rows, o->embeddings);
    return tc_pop(s, tc_reshape(s, b, SHAPE(o->crops.total, o->parents, -1)));
}

/* The part of L_clip that `count` crops from the one at `first` on have. x [1,3,H,W],
 * b [n,M,D], shares [1,n] -> [M] */
static tc_tensor *clip_part(tc_scope *up, const struct optimize *o, tc_tensor *x,
                            tc_tensor *b, tc_tensor *shares, const int *windows,
                            int first, int count)
{
    tc_scope *s = tc_push(up);
    enum clip_distance kind = o->settings.distance;
    int64_t total = o->crops.total;

    tc_tensor *a = embed(s, o, x, count, windows + first); /* [count,D] */
    tc_tensor *own = tc_slice(s, shares, 1, first, first + count);
    if (o->settings.pairing == PAIRING_ALIGNED) {
        a = tc_reshape(s, a, SHAPE(count, 1, -1));
        b = tc_slice(s, b, 0, first, first + count);
        tc_tensor *d = tc_matmul(s, own, distance(s, kind, a, b)); /* [1,M] */
        return tc_pop(s, tc_reshape(s, d, SHAPE(o->parents)));
    }
    a = tc_reshape(s, a, SHAPE(count, 1, 1, -1));
    b = tc_reshape(s, b, SHAPE(1, total, o->parents, -1));
    tc_tensor *d = distance(s, kind, a, b); /* [count,n,M] */
    d = tc_matmul(s, own, tc_reshape(s, d, SHAPE(count, total * o->parents)));
    d = tc_matmul(s, shares, tc_reshape(s, d, SHAPE(total, o->parents))); /* [1,M] */
    return tc_pop(s, tc_reshape(s, d, SHAPE(o->parents)));
}

/* [1,3,H,W] in [0,1] -> [M] */
static tc_tensor *perceptual_loss(tc_scope *up, const struct optimize *o, tc_tensor *x)
{
    tc_scope *s = tc_push(up);
    const struct perceptual *p = o->networks.perceptual;
    weights heads =
        o->settings.perceptual == PERCEPTUAL_LPIPS ? p->heads : (weights){NULL};
    tc_tensor *maps[VGG_TAPS];

    x = tc_add_scalar(s, tc_scale(s, x, 2), -1);
    vgg_unit_maps(s, p->vgg, &p->config, x, maps);
    return tc_pop(s, lpips_distance(s, heads, maps, o->maps));
}

/* Adds a part of a loss, and of its gradient, to what is there. The part's own graph is
 * freed before the next one is built: memory holds one network's at a time. */
static void add_part(tc_scope *s, tc_scope *part, tc_tensor *loss, tc_tensor *leaf,
                     tc_tensor *upstream, tc_tensor **sum, tc_tensor **gradient)
{
    if (gradient) {
        tc_tensor *g = tc_gradient(s, loss, upstream, leaf);
        *gradient = *gradient ? tc_add(s, *gradient, g) : g;
    }
    loss = tc_detach(s, loss);
    *sum = *sum ? tc_add(s, *sum, loss) : loss;
    tc_pop(part, NULL);
}

struct objective objective_of(tc_scope *s, const struct optimize *o, tc_tensor *x,
                              const int *windows, bool differentiate)
{
    struct objective result = {NULL, NULL, NULL};
    tc_tensor **gradient = differentiate ? &result.gradient : NULL;
    if (o->settings.perceptual_weight != 0) {
        tc_scope *part = differentiate ? tc_push_grad(s) : tc_push(s);
        tc_tensor *leaf = differentiate ? tc_leaf(part, x) : x;
        add_part(s, part, perceptual_loss(part, o, leaf), leaf, o->upstream_perceptual,
                 &result.perceptual, gradient);
    }
    if (o->settings.clip_weight != 0) {
        double shares[CROPS_MAX_GROUPS * CROPS_MAX_COUNT];
        crops_shares(&o->crops, shares);
        tc_tensor *own = row_of(s, o, shares, o->crops.total);
        tc_tensor *b = parents_embeddings(s, o, windows);
        for (int first = 0; first < o->crops.total && tc_ok(s); first += o->crop_batch) {
            int left = o->crops.total - first;
            int count = left < o->crop_batch ? left : o->crop_batch;
            tc_scope *part = differentiate ? tc_push_grad(s) : tc_push(s);
            tc_tensor *leaf = differentiate ? tc_leaf(part, x) : x;
            tc_tensor *loss = clip_part(part, o, leaf, b, own, windows, first, count);
            add_part(s, part, loss, leaf, o->upstream_clip, &result.clip, gradient);
        }
    }
    tc_tensor *none = tc_zeros(s, o->dtype, SHAPE(o->parents));
    if (!result.perceptual)
        result.perceptual = none;
    if (!result.clip)
        result.clip = none;
    return result;
}

void objective_total(const struct optimize *o, const double *values,
                     struct optimize_losses *losses)
{
    *losses = (struct optimize_losses){0};
    for (int m = 0; m < o->parents; m++) {
        losses->clip[m] = values[m];
        losses->perceptual[m] = values[o->parents + m];
        losses->total +=
            o->shares[m] * (o->settings.clip_weight * losses->clip[m] +
                            o->settings.perceptual_weight * losses->perceptual[m]);
    }
}

/* The parents, once */

/* The pool's crops of one parent: [P,D] */
static tc_tensor *embed_pool(tc_scope *up, const struct optimize *o, tc_tensor *picture)
{
    tc_scope *s = tc_push(up);
    tc_tensor *all = NULL;
    for (int first = 0; first < o->crops.pool && tc_ok(s); first += POOL_BATCH) {
        int windows[POOL_BATCH], count = 0;
        for (; count < POOL_BATCH && first + count < o->crops.pool; count++)
            windows[count] = first + count;
        tc_tensor *part = embed(s, o, picture, count, windows);
        all =
            tc_replace(s, all, all ? tc_cat(s, 2, (tc_tensor *[]){all, part}, 0) : part);
    }
    return tc_pop(s, all);
}

static void report_at(const struct progress *progress, const struct optimize *o, int m)
{
    progress_at(progress, &(struct progress_at){.stage = "optimize: parents",
                                                .done = m,
                                                .total = o->parents});
}

static tc_tensor *three(tc_scope *up, const struct optimize *o, const float *values)
{
    tc_scope *s = tc_push(up);
    tc_tensor *x = tc_from_host(s, TC_F32, SHAPE(1, 3, 1, 1), values);
    return tc_pop(s, tc_cast(s, x, o->dtype));
}

static tc_tensor *weighted_shares(tc_scope *up, const struct optimize *o, double weight)
{
    tc_scope *s = tc_push(up);
    double values[OPTIMIZE_MAX_PARENTS];
    for (int m = 0; m < o->parents; m++)
        values[m] = weight * o->shares[m];
    tc_tensor *x = row_of(s, o, values, o->parents);
    return tc_pop(s, tc_reshape(s, x, SHAPE(o->parents)));
}

bool objective_prepare(struct optimize *o, const struct progress *progress, struct err *e)
{
    const struct clip *clip = o->networks.clip;
    const struct perceptual *p = o->networks.perceptual;
    tc_scope *s = tc_push(o->scope);
    tc_tensor *embeddings[OPTIMIZE_MAX_PARENTS];
    tc_tensor *maps[OPTIMIZE_MAX_PARENTS][VGG_TAPS], *column[OPTIMIZE_MAX_PARENTS];

    o->mean = three(o->scope, o, clip->mean);
    o->deviation = three(o->scope, o, clip->deviation);
    o->upstream_clip = weighted_shares(o->scope, o, o->settings.clip_weight);
    o->upstream_perceptual = weighted_shares(o->scope, o, o->settings.perceptual_weight);
    for (int m = 0; m < o->parents && tc_ok(s); m++) {
        report_at(progress, o, m);
        tc_tensor *x = tc_add_scalar(s, tc_scale(s, o->pictures[m], 2), -1);
        if (o->settings.clip_weight != 0)
            embeddings[m] = embed_pool(s, o, o->pictures[m]);
        if (o->settings.perceptual_weight != 0)
            vgg_unit_maps(s, p->vgg, &p->config, x, maps[m]);
    }
    for (int i = 0; i < VGG_TAPS && o->settings.perceptual_weight != 0 && tc_ok(s); i++) {
        for (int m = 0; m < o->parents; m++)
            column[m] = maps[m][i];
        o->maps[i] = tc_cat(o->scope, o->parents, column, 0);
    }
    if (o->settings.clip_weight != 0 && tc_ok(s))
        o->embeddings = tc_cat(o->scope, o->parents, embeddings, 1); /* [P,M*D] */
    tc_pop(s, NULL);
    report_at(progress, o, o->parents);
    return tc_check(o->scope, e);
}
