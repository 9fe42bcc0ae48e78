/* optimize.c: the loop's body: losses of the candidate, their gradient, Adam's step, and
 * what happens when numbers break or memory runs out. Leaves the losses to
 * optimize_losses.c, the start to optimize_candidate.c and the state file to
 * optimize_state.c. */
#include "stages/optimize_internal.h"

#include "models/clip.h"
#include "models/perceptual.h"
#include "models/vqgan.h"

#include <math.h>
#include <stdlib.h>

#define SKIPS_IN_A_ROW 3 /* more than these, and it goes back to an earlier state */
#define KEEP_EVERY 20    /* epochs between the states that it can go back to */

struct optimize_settings optimize_defaults(void)
{
    return (struct optimize_settings){
        .seed = SEED_NOISE,
        .random_seed = 42,
        .epochs = 800,
        .rate = 0.35,
        .decay = 0.9,
        .decay_every = 100,
        .clip_weight = 1,
        .perceptual_weight = 0.1,
        .layer = PREQUANT,
        .crops = {3, {{1, 1}, {8, 0.25}, {16, 0.125}}},
        .pairing = PAIRING_ALIGNED,
        .distance = CLIP_SPHERICAL,
        .perceptual = PERCEPTUAL_LPIPS,
        .pool = 512,
    };
}

tc_tensor *optimize_copy(tc_scope *up, tc_tensor *x)
{
    tc_scope *s = tc_push(up);
    return tc_pop(s, tc_detach(s, tc_leaf(s, x)));
}

/* Opening */

static bool check_settings(const struct optimize *o, struct err *e)
{
    const struct optimize_settings *t = &o->settings;
    int64_t factor = vqgan_factor(&o->networks.vqgan->config);
    if (o->parents < 1 || o->parents > OPTIMIZE_MAX_PARENTS)
        return err_set(e, ERR_USAGE, "optimize: found %d parents, expected 1..%d",
                       o->parents, OPTIMIZE_MAX_PARENTS);
    if (t->share_count != 0 && t->share_count != o->parents)
        return err_set(e, ERR_USAGE,
                       "weights: found %d, expected one for each of %d parents",
                       t->share_count, o->parents);
    if (t->perceptual == PERCEPTUAL_LPIPS && t->perceptual_weight != 0 &&
        !o->networks.perceptual->heads.node)
        return err_set(e, ERR_USAGE,
                       "perceptual: found lpips, expected l2: the ensemble's perceptual "
                       "network has no heads");
    if (o->height < 16 || o->width < 16 || o->height % factor || o->width % factor)
        return err_set(e, ERR_USAGE,
                       "vq-size: found %lldx%lld, expected multiples of %lld from 16 on",
                       (long long)o->height, (long long)o->width, (long long)factor);
    if (t->epochs < 1 || t->decay_every < 1 || t->pool < 1 || t->pool > 65536 ||
        t->crop_batch < 0 || !(t->rate > 0) || t->crops.group_count < 1 ||
        (t->clip_weight == 0 && t->perceptual_weight == 0))
        return err_set(e, ERR_USAGE, "optimize: a setting is out of its range");
    return true;
}

static void set_shares(struct optimize *o)
{
    for (int m = 0; m < o->parents; m++)
        o->shares[m] = o->settings.share_count ? o->settings.shares[m] : 1.0 / o->parents;
}

static void read_parents(struct optimize *o, const struct image *parents)
{
    for (int m = 0; m < o->parents && tc_ok(o->scope); m++) {
        tc_scope *s = tc_push(o->scope);
        tc_tensor *x = stage_picture(s, &parents[m], o->height, o->width);
        x = tc_scale(s, tc_add_scalar(s, tc_cast(s, x, o->dtype), 1), 0.5);
        o->pictures[m] = tc_pop(s, x);
        o->latents[m] =
            stage_encode(o->scope, o->networks.vqgan, &parents[m], o->height, o->width);
    }
}

/* The codebook's range, channel by channel. */
static void take_range(struct optimize *o)
{
    const struct vqgan *v = o->networks.vqgan;
    if (o->settings.layer == PRECONV) /* other channels: the codebook says nothing */
        return;
    tc_scope *s = tc_push(o->scope);
    int64_t width = v->config.embed_dim;
    tc_tensor *codebook = w_tensor(s, w_at(v->w, "quantize.embedding.weight"),
                                   SHAPE(v->config.n_embed, width));
    struct tc_shape shape = SHAPE(1, width, 1, 1);
    o->low = tc_reshape(o->scope, tc_amin(s, codebook, 0), shape);
    o->high = tc_reshape(o->scope, tc_amax(s, codebook, 0), shape);
    tc_pop(s, NULL);
}

static struct optimize_state state_start(const struct optimize *o, tc_tensor *z)
{
    tc_scope *s = o->scope;
    struct tc_shape shape = SHAPE(1, tc_size(z, 1), tc_size(z, 2), tc_size(z, 3));
    return (struct optimize_state){z, tc_zeros(s, o->dtype, shape),
                                   tc_zeros(s, o->dtype, shape), 0};
}

static void state_copy(const struct optimize *o, struct optimize_state *to,
                       const struct optimize_state *from)
{
    tc_scope *s = o->scope;
    to->z = tc_replace(s, to->z, optimize_copy(s, from->z));
    to->m = tc_replace(s, to->m, optimize_copy(s, from->m));
    to->v = tc_replace(s, to->v, optimize_copy(s, from->v));
    to->steps = from->steps;
}

static bool begin(struct optimize *o, const struct image *parents,
                  const struct progress *progress, struct err *e)
{
    const struct optimize_settings *t = &o->settings;
    if (!check_settings(o, e))
        return false;
    set_shares(o);
    read_parents(o, parents);
    take_range(o);
    if (!crops_open(&o->crops, o->scope, &t->crops, t->pool, t->random_seed, o->height,
                    o->width, o->networks.clip->config.image_size, o->dtype, e) ||
        !objective_prepare(o, progress, e))
        return false;
    o->crop_batch =
        t->crop_batch && t->crop_batch < o->crops.total ? t->crop_batch : o->crops.total;
    o->now = state_start(o, candidate_start(o->scope, o));
    state_copy(o, &o->kept, &o->now);
    o->best = optimize_copy(o->scope, o->now.z);
    o->best_total = INFINITY;
    return tc_check(o->scope, e);
}

struct optimize *optimize_open(tc_scope *up, const struct optimize_networks *networks,
                               const struct optimize_settings *settings, int parent_count,
                               const struct image *parents, int64_t height, int64_t width,
                               const struct progress *progress, struct err *e)
{
    struct optimize *o = calloc(1, sizeof *o);
    if (!o) {
        err_set(e, ERR_MEMORY, "no host memory for the optimiser");
        return NULL;
    }
    o->networks = *networks;
    o->settings = *settings;
    o->parents = parent_count;
    o->height = height;
    o->width = width;
    o->dtype = networks->vqgan->dtype;
    o->scope = tc_push(up);
    tc_context(o->scope, "optimize");
    if (!begin(o, parents, progress, e)) {
        optimize_close(o);
        return NULL;
    }
    o->settings.seed_image = NULL;
    return o;
}

void optimize_close(struct optimize *o)
{
    if (!o)
        return;
    crops_close(&o->crops);
    tc_pop(o->scope, NULL);
    free(o);
}

int64_t optimize_epochs_done(const struct optimize *o)
{
    return o->epoch;
}

int64_t optimize_skipped(const struct optimize *o)
{
    return o->skipped;
}

/* One epoch */

/* All that the host has to know comes over in one copy. */
bool optimize_differentiate(const struct optimize *o, tc_scope *s, tc_tensor **gradient,
                            struct optimize_losses *losses, bool *finite)
{
    int windows[CROPS_MAX_GROUPS * CROPS_MAX_COUNT];
    double values[2 * OPTIMIZE_MAX_PARENTS + 2];
    int count = 2 * o->parents + 2;

    tc_scope *graph = tc_push_grad(s);
    tc_tensor *z = tc_leaf(graph, o->now.z);
    tc_tensor *x = candidate_picture(graph, o, candidate_quantize(graph, o, z));
    crops_draw(&o->crops, o->settings.random_seed, o->epoch, windows);
    struct objective part = objective_of(s, o, tc_detach(s, x), windows, true);
    *gradient = tc_gradient(s, x, part.gradient, z);
    tc_pop(graph, NULL);

    tc_tensor *flat = tc_reshape(s, *gradient, SHAPE(1, -1));
    tc_tensor *seen[] = {part.clip, part.perceptual, tc_amin(s, flat, 1),
                         tc_amax(s, flat, 1)};
    if (!tc_to_host(s, tc_cat(s, 4, seen, 0), TC_F64, values,
                    (size_t)count * sizeof *values))
        return false;
    objective_total(o, values, losses);
    *finite = isfinite(losses->total) && isfinite(values[count - 2]) &&
              isfinite(values[count - 1]);
    return true;
}

/* The same, with ever smaller batches of crops while memory runs out. */
static bool differentiate_in_memory(struct optimize *o, tc_scope *s, tc_tensor **gradient,
                                    struct optimize_losses *losses, bool *finite,
                                    struct err *e)
{
    while (!optimize_differentiate(o, s, gradient, losses, finite)) {
        struct err failure = {0};
        tc_check(s, &failure);
        if (failure.code != ERR_MEMORY || o->crop_batch == 1)
            return tc_check(s, e);
        tc_recover(s);
        tc_empty_cache(s);
        o->crop_batch = (o->crop_batch + 1) / 2;
    }
    return true;
}

static double rate_at(const struct optimize *o)
{
    const struct optimize_settings *t = &o->settings;
    double rate =
        t->rate * pow(t->decay, floor((double)o->epoch / (double)t->decay_every));
    return o->restored ? rate / 2 : rate;
}

static void step(struct optimize *o, double rate, tc_tensor *gradient)
{
    tc_scope *s = o->scope;
    struct tc_adam adam = {rate, 0.9, 0.999, 1e-8, ++o->now.steps};
    tc_adam_step(s, &adam, o->now.z, gradient, o->now.m, o->now.v);
    if (o->low)
        o->now.z =
            tc_replace(s, o->now.z, tc_clamp_between(s, o->now.z, o->low, o->high));
    o->skipped_in_a_row = 0;
}

/* No step. Too many of these: an earlier state at half the rate, once. */
static bool skip(struct optimize *o, struct optimize_row *row, struct err *e)
{
    row->skipped = true;
    o->skipped++;
    if (++o->skipped_in_a_row <= SKIPS_IN_A_ROW)
        return true;
    if (o->restored) {
        err_set(
            &o->failure, ERR_NONFINITE,
            "optimize: epoch %lld: the losses or their gradient are not finite, at half "
            "the rate too",
            (long long)o->epoch);
        *e = o->failure;
        return false;
    }
    o->restored = row->restored = true;
    o->skipped_in_a_row = 0;
    state_copy(o, &o->now, &o->kept);
    return true;
}

bool optimize_epoch(struct optimize *o, struct optimize_row *row, struct err *e)
{
    if (o->failure.code != ERR_OK) {
        *e = o->failure;
        return false;
    }
    tc_tensor *gradient = NULL;
    bool finite = false;
    *row = (struct optimize_row){.epoch = o->epoch, .rate = rate_at(o)};
    tc_scope *s = tc_push(o->scope);
    tc_context(s, "epoch %lld", (long long)o->epoch);
    bool ok = differentiate_in_memory(o, s, &gradient, &row->losses, &finite, e);
    if (ok && finite) {
        row->best = row->losses.total < o->best_total;
        if (row->best) {
            o->best_total = row->losses.total;
            o->best = tc_replace(o->scope, o->best, optimize_copy(o->scope, o->now.z));
        }
        if (o->epoch % KEEP_EVERY == 0)
            state_copy(o, &o->kept, &o->now);
        step(o, row->rate, gradient);
    } else if (ok) {
        ok = skip(o, row, e);
    }
    tc_pop(s, NULL);
    o->epoch += ok;
    return ok && tc_check(o->scope, e);
}

bool optimize_picture(struct optimize *o, enum optimize_which which,
                      struct image *picture, struct err *e)
{
    tc_scope *s = tc_push(o->scope);
    tc_tensor *z = which == OPTIMIZE_BEST ? o->best : o->now.z;
    bool ok = stage_decode(s, o->networks.vqgan, candidate_quantize(s, o, z), picture, e);
    tc_pop(s, NULL);
    return ok;
}
