/* optimize_losses.c: how far pictures are from the parents of their cases: CLIP distances
 * of crops and perceptual distance, each by parent, the variation of a picture, and their
 * gradient. Leaves the parents' side to optimize_parents.c, decoding the candidates and
 * the steps to optimize.c. */
#include "stages/optimize_internal.h"

#include "models/clip.h"
#include "models/perceptual.h"
#include "stages/augment.h"

#define MAX_WINDOWS (CROPS_MAX_GROUPS * CROPS_MAX_COUNT)

tc_tensor *objective_normalize(tc_scope *up, const struct optimize *o, tc_tensor *x)
{
    tc_scope *s = tc_push(up);
    return tc_pop(s, tc_div(s, tc_sub(s, x, o->mean), o->deviation));
}

/* Tensors behind each other; one alone is not copied. */
static tc_tensor *join(tc_scope *s, int count, tc_tensor *const *x)
{
    return count == 1 ? x[0] : tc_cat(s, count, x, 0);
}

/* `count` windows of a draw from the one at `first` on, as CLIP sees them. x [1,3,H,W] in
 * [0,1] -> [count,3,S,S] */
static tc_tensor *crops_of(tc_scope *up, const struct optimize *o, tc_tensor *x,
                           int64_t draw, int first, int count)
{
    int windows[MAX_WINDOWS];
    tc_scope *s = tc_push(up);
    crops_draw(&o->crops, o->settings.random_seed, draw, windows);
    if (o->settings.augment && draw >= 0) {
        x = crops_cut(s, &o->crops, x, count, windows + first);
        x = augment_crops(s, o->settings.augment, o->settings.random_seed, draw, first,
                          x);
        return tc_pop(s, objective_normalize(s, o, x));
    }
    /* Normalised before they are cut: resizing weights add up to 1, so it is the same. */
    x = objective_normalize(s, o, x);
    return tc_pop(s, crops_cut(s, &o->crops, x, count, windows + first));
}

tc_tensor *objective_embed(tc_scope *up, const struct optimize *o, tc_tensor *crops)
{
    tc_scope *s = tc_push(up);
    const struct clip *clip = o->networks.clip;
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

/* What the windows of a draw are of the parents: [n,M,D] */
static tc_tensor *parents_embeddings(tc_scope *up, const struct optimize *o, int64_t draw)
{
    tc_scope *s = tc_push(up);
    int windows[MAX_WINDOWS];
    int64_t ids[MAX_WINDOWS];
    crops_draw(&o->crops, o->settings.random_seed, draw, windows);
    for (int i = 0; i < o->crops.total; i++)
        ids[i] = windows[i];
    tc_tensor *rows = tc_from_host(s, TC_I64, SHAPE(o->crops.total), ids);
    tc_tensor *b = tc_embedding(s, rows, o->embeddings);
    return tc_pop(s, tc_reshape(s, b, SHAPE(o->crops.total, o->parents, -1)));
}

/* The share of each window in a case's loss: [1,n] */
static tc_tensor *window_shares(tc_scope *up, const struct optimize *o)
{
    tc_scope *s = tc_push(up);
    double shares[MAX_WINDOWS];
    crops_shares(&o->crops, shares);
    tc_tensor *x = tc_from_host(s, TC_F64, SHAPE(1, o->crops.total), shares);
    return tc_pop(s, tc_cast(s, x, o->dtype));
}

/* The part of L_clip that the windows have whose embeddings a [count,D] are, of a case's
 * the one at `first` and on -> [1,M] */
static tc_tensor *clip_loss(tc_scope *up, const struct optimize *o, tc_tensor *a,
                            int64_t draw, int first, int count)
{
    tc_scope *s = tc_push(up);
    enum clip_distance kind = o->settings.distance;
    int64_t total = o->crops.total;

    tc_tensor *b = parents_embeddings(s, o, draw); /* [n,M,D] */
    tc_tensor *shares = window_shares(s, o);
    tc_tensor *own = tc_slice(s, shares, 1, first, first + count);
    if (o->settings.pairing == PAIRING_ALIGNED) {
        a = tc_reshape(s, a, SHAPE(count, 1, -1));
        b = tc_slice(s, b, 0, first, first + count);
        return tc_pop(s, tc_matmul(s, own, distance(s, kind, a, b)));
    }
    a = tc_reshape(s, a, SHAPE(count, 1, 1, -1));
    b = tc_reshape(s, b, SHAPE(1, total, o->parents, -1));
    tc_tensor *d = distance(s, kind, a, b); /* [count,n,M] */
    d = tc_matmul(s, own, tc_reshape(s, d, SHAPE(count, total * o->parents)));
    return tc_pop(s, tc_matmul(s, shares, tc_reshape(s, d, SHAPE(total, o->parents))));
}

/* Windows that are encoded in one go, counted through all cases, and the cases they are
 * of. */
struct chunk {
    int first, count;
    int from, cases;
};

static struct chunk chunk_at(const struct comparison *c, int first)
{
    const struct optimize *o = c->cases[0];
    int left = c->count * o->crops.total - first;
    struct chunk k = {.first = first,
                      .count = left < o->crop_batch ? left : o->crop_batch,
                      .from = first / o->crops.total};
    k.cases = (first + k.count - 1) / o->crops.total - k.from + 1;
    return k;
}

/* The windows of a chunk that are of one case, counted from that case's first. */
static void windows_of(const struct comparison *c, const struct chunk *k, int index_case,
                       int *first, int *end)
{
    int each = c->cases[0]->crops.total, offset = index_case * each;
    *first = k->first > offset ? k->first - offset : 0;
    *end = k->first + k->count - offset;
    *end = *end < each ? *end : each;
}

/* The part of L_clip that a chunk has. x [G,3,H,W] -> [cases,M] */
static tc_tensor *clip_part(tc_scope *up, const struct comparison *c, tc_tensor *x,
                            const struct chunk *k)
{
    tc_scope *s = tc_push(up);
    tc_tensor *parts[OPTIMIZE_MAX_TOGETHER];
    int first, end, at = 0;
    for (int i = 0; i < k->cases; i++) {
        int g = k->from + i;
        windows_of(c, k, g, &first, &end);
        parts[i] = crops_of(s, c->cases[g], tc_slice(s, x, 0, g, g + 1), c->draws[g],
                            first, end - first);
    }
    tc_tensor *a = objective_embed(s, c->cases[0], join(s, k->cases, parts));
    for (int i = 0; i < k->cases; i++) {
        int g = k->from + i;
        windows_of(c, k, g, &first, &end);
        tc_tensor *own = tc_slice(s, a, 0, at, at + end - first);
        parts[i] = clip_loss(s, c->cases[g], own, c->draws[g], first, end - first);
        at += end - first;
    }
    return tc_pop(s, join(s, k->cases, parts));
}

/* [G,3,H,W] in [0,1] -> [G,M] */
static tc_tensor *perceptual_loss(tc_scope *up, const struct comparison *c, tc_tensor *x)
{
    tc_scope *s = tc_push(up);
    const struct optimize *o = c->cases[0];
    const struct perceptual *p = o->networks.perceptual;
    weights heads =
        o->settings.perceptual == PERCEPTUAL_LPIPS ? p->heads : (weights){NULL};
    tc_tensor *maps[VGG_TAPS], *own[VGG_TAPS], *losses[OPTIMIZE_MAX_TOGETHER];

    x = tc_add_scalar(s, tc_scale(s, x, 2), -1);
    vgg_unit_maps(s, p->vgg, &p->config, x, maps);
    for (int g = 0; g < c->count; g++) {
        for (int i = 0; i < VGG_TAPS; i++)
            own[i] = tc_slice(s, maps[i], 0, g, g + 1);
        tc_tensor *loss = lpips_distance(s, heads, own, c->cases[g]->maps);
        losses[g] = tc_reshape(s, loss, SHAPE(1, o->parents));
    }
    return tc_pop(s, join(s, c->count, losses));
}

/* Sum of squared differences of neighbours along one side. [G,3,H,W] -> [G] */
static tc_tensor *roughness(tc_scope *up, tc_tensor *x, int dim)
{
    tc_scope *s = tc_push(up);
    int64_t size = tc_size(x, dim);
    tc_tensor *d =
        tc_sub(s, tc_slice(s, x, dim, 1, size), tc_slice(s, x, dim, 0, size - 1));
    d = tc_reshape(s, tc_mul(s, d, d), SHAPE(tc_size(x, 0), -1));
    return tc_pop(s, tc_sum(s, d, 1));
}

/* Total variation as Crowson's CLIP-guided diffusion has it (tv_loss, after Mahendran and
 * Vedaldi 2014). [G,3,H,W] -> [G,1] */
static tc_tensor *variation(tc_scope *up, tc_tensor *x)
{
    tc_scope *s = tc_push(up);
    double count = 3.0 * (double)tc_size(x, 2) * (double)tc_size(x, 3);
    tc_tensor *sum = tc_add(s, roughness(s, x, 2), roughness(s, x, 3));
    sum = tc_scale(s, sum, 1 / count);
    return tc_pop(s, tc_reshape(s, sum, SHAPE(tc_size(x, 0), 1)));
}

/* What has been added up so far. */
struct sums {
    tc_scope *scope;
    bool differentiate;
    tc_tensor *x;                           /* [G,3,H,W], detached */
    tc_tensor *clip[OPTIMIZE_MAX_TOGETHER]; /* [1,M] each */
    tc_tensor *perceptual, *variation;      /* [G,M], [G,1] */
    tc_tensor *gradient;                    /* [G,3,H,W] */
};

/* Opens the graph of a part of the losses; *x is what it is to be computed of. Only one
 * is open at a time: memory holds one network's. */
static tc_scope *open_part(const struct sums *t, tc_tensor **x)
{
    tc_scope *part = t->differentiate ? tc_push_grad(t->scope) : tc_push(t->scope);
    *x = t->differentiate ? tc_leaf(part, t->x) : t->x;
    return part;
}

/* Adds the part's gradient to the others', and closes it; returns its losses. */
static tc_tensor *close_part(struct sums *t, tc_scope *part, tc_tensor *loss,
                             tc_tensor *upstream, tc_tensor *x)
{
    tc_scope *s = t->scope;
    if (t->differentiate) {
        tc_tensor *g = tc_gradient(s, loss, upstream, x);
        t->gradient = t->gradient ? tc_add(s, t->gradient, g) : g;
    }
    loss = tc_detach(s, loss);
    tc_pop(part, NULL);
    return loss;
}

static void add_perceptual(struct sums *t, const struct comparison *c)
{
    tc_tensor *x, *upstream[OPTIMIZE_MAX_TOGETHER];
    for (int g = 0; g < c->count; g++)
        upstream[g] = c->cases[g]->upstream_perceptual;
    tc_scope *part = open_part(t, &x);
    tc_tensor *loss = perceptual_loss(part, c, x);
    t->perceptual = close_part(t, part, loss, join(t->scope, c->count, upstream), x);
}

static void add_variation(struct sums *t, const struct comparison *c)
{
    tc_tensor *x;
    tc_scope *part = open_part(t, &x);
    tc_tensor *loss = variation(part, x);
    double weight = c->cases[0]->settings.tv_weight;
    tc_tensor *upstream =
        tc_add_scalar(t->scope, tc_scale(t->scope, t->variation, 0), weight);
    t->variation = close_part(t, part, loss, upstream, x);
}

static void add_clip(struct sums *t, const struct comparison *c, const struct chunk *k)
{
    tc_scope *s = t->scope;
    tc_tensor *x, *upstream[OPTIMIZE_MAX_TOGETHER];
    for (int i = 0; i < k->cases; i++)
        upstream[i] = c->cases[k->from + i]->upstream_clip;
    tc_scope *part = open_part(t, &x);
    tc_tensor *loss = clip_part(part, c, x, k);
    loss = close_part(t, part, loss, join(s, k->cases, upstream), x);
    for (int i = 0; i < k->cases; i++) {
        tc_tensor **sum = &t->clip[k->from + i];
        tc_tensor *row = tc_slice(s, loss, 0, i, i + 1);
        *sum = *sum ? tc_add(s, *sum, row) : row;
    }
}

struct objective objective_of(tc_scope *s, const struct comparison *c, tc_tensor *x,
                              bool differentiate)
{
    const struct optimize *o = c->cases[0];
    struct sums t = {.scope = s, .x = x, .differentiate = differentiate};
    tc_tensor *none = tc_zeros(s, o->dtype, SHAPE(c->count, o->parents));
    tc_tensor *clip = none;
    t.perceptual = none;
    t.variation = tc_zeros(s, o->dtype, SHAPE(c->count, 1));
    if (o->settings.perceptual_weight != 0)
        add_perceptual(&t, c);
    if (o->settings.tv_weight != 0)
        add_variation(&t, c);
    if (o->settings.clip_weight != 0) {
        struct chunk k;
        for (int at = 0; at < c->count * o->crops.total && tc_ok(s); at += k.count) {
            k = chunk_at(c, at);
            add_clip(&t, c, &k);
        }
        clip = join(s, c->count, t.clip);
    }
    tc_tensor *columns[] = {clip, t.perceptual, t.variation};
    return (struct objective){tc_cat(s, 3, columns, 1), t.gradient};
}

void objective_total(const struct optimize *o, const double *values,
                     struct optimize_losses *losses)
{
    *losses = (struct optimize_losses){.variation = values[2 * o->parents]};
    for (int m = 0; m < o->parents; m++) {
        losses->clip[m] = values[m];
        losses->perceptual[m] = values[o->parents + m];
        losses->total +=
            o->shares[m] * (o->settings.clip_weight * losses->clip[m] +
                            o->settings.perceptual_weight * losses->perceptual[m]);
    }
    losses->total += o->settings.tv_weight * losses->variation;
}
