/* optimize.c: the loop's body: losses of the candidate, their gradient, Adam's step, and
 * what happens when numbers break or memory runs out. Leaves the losses to
 * optimize_losses.c, the start to optimize_candidate.c and the state file to
 * optimize_state.c. */
#include "stages/optimize_internal.h"

#include "base/stop.h"
#include "models/clip.h"
#include "models/perceptual.h"
#include "models/vqgan.h"

#include <limits.h>
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

tc_tensor *state_shown(const struct optimize_state *state)
{
    return state->average ? state->average : state->z;
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
        t->crop_batch < 0 || !(t->rate > 0) || t->tv_weight < 0 || t->average < 0 ||
        t->average >= 1 || t->crops.group_count < 1 ||
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
    for (int m = 0; m < o->parents && !stop_asked() && tc_ok(o->scope); m++) {
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
    return (struct optimize_state){
        .z = z,
        .m = tc_zeros(s, o->dtype, shape),
        .v = tc_zeros(s, o->dtype, shape),
        .average = o->settings.average > 0 ? optimize_copy(s, z) : NULL};
}

static void state_copy(const struct optimize *o, struct optimize_state *to,
                       const struct optimize_state *from)
{
    tc_scope *s = o->scope;
    to->z = tc_replace(s, to->z, optimize_copy(s, from->z));
    to->m = tc_replace(s, to->m, optimize_copy(s, from->m));
    to->v = tc_replace(s, to->v, optimize_copy(s, from->v));
    if (from->average)
        to->average = tc_replace(s, to->average, optimize_copy(s, from->average));
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
    if (!stop_check(e))
        return false;
    take_range(o);
    if (!crops_open(&o->crops, o->scope, &t->crops, t->pool, t->random_seed, o->height,
                    o->width, o->networks.clip->config.image_size, o->dtype, e) ||
        !objective_prepare(o, progress, e))
        return false;
    o->crop_batch = t->crop_batch ? t->crop_batch : INT_MAX;
    o->together = OPTIMIZE_MAX_TOGETHER;
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

/* The candidates behind each other, to be differentiated. */
static tc_tensor *leaf_of(tc_scope *s, int count, struct optimize *const *cases)
{
    tc_tensor *z[OPTIMIZE_MAX_TOGETHER];
    for (int g = 0; g < count; g++)
        z[g] = cases[g]->now.z;
    return tc_leaf(s, tc_cat(s, count, z, 0));
}

/* All that the host has to know comes over in one copy. */
static bool read_slopes(tc_scope *s, int count, struct optimize *const *cases,
                        tc_tensor *values, tc_tensor *gradient,
                        struct optimize_slope *slopes)
{
    double numbers[OPTIMIZE_MAX_TOGETHER * (2 * OPTIMIZE_MAX_PARENTS + 3)];
    int width = 2 * cases[0]->parents + 3;
    size_t bytes = (size_t)count * (size_t)width * sizeof *numbers;
    struct tc_shape column = SHAPE(count, 1);
    tc_tensor *flat = tc_reshape(s, gradient, SHAPE(count, -1));
    tc_tensor *seen[] = {values, tc_reshape(s, tc_amin(s, flat, 1), column),
                         tc_reshape(s, tc_amax(s, flat, 1), column)};
    if (!tc_to_host(s, tc_cat(s, 3, seen, 1), TC_F64, numbers, bytes))
        return false;
    for (int g = 0; g < count; g++) {
        const double *row = numbers + g * width;
        objective_total(cases[g], row, &slopes[g].losses);
        slopes[g].finite = isfinite(slopes[g].losses.total) && isfinite(row[width - 2]) &&
                           isfinite(row[width - 1]);
    }
    return true;
}

bool optimize_differentiate(tc_scope *s, int count, struct optimize *const *cases,
                            tc_tensor **gradient, struct optimize_slope *slopes)
{
    struct comparison c = {.count = count, .cases = cases};
    for (int g = 0; g < count; g++)
        c.draws[g] = cases[g]->epoch;
    tc_scope *graph = tc_push_grad(s);
    tc_tensor *z = leaf_of(graph, count, cases);
    tc_tensor *x =
        candidate_picture(graph, cases[0], candidate_quantize(graph, cases[0], z));
    struct objective part = objective_of(s, &c, tc_detach(s, x), true);
    *gradient = tc_gradient(s, x, part.gradient, z);
    tc_pop(graph, NULL);
    return read_slopes(s, count, cases, part.values, *gradient, slopes);
}

void optimize_keep_latest(struct optimize *o)
{
    tc_tensor *latest = optimize_copy(o->scope, state_shown(&o->now));
    o->best = tc_replace(o->scope, o->best, latest);
}

static double rate_at(const struct optimize *o)
{
    const struct optimize_settings *t = &o->settings;
    double rate =
        t->rate * pow(t->decay, floor((double)o->epoch / (double)t->decay_every));
    return o->restored ? rate / 2 : rate;
}

/* The mean over the steps done, each counting `average` of the next: after the first it
 * is the candidate itself, and where that started is forgotten. */
static tc_tensor *next_average(const struct optimize *o, tc_scope *up)
{
    tc_scope *s = tc_push(up);
    double kept = o->settings.average;
    double share = (1 - kept) / (1 - pow(kept, (double)o->now.steps));
    tc_tensor *difference = tc_sub(s, o->now.z, o->now.average);
    return tc_pop(s, tc_add(s, o->now.average, tc_scale(s, difference, share)));
}

static void step(struct optimize *o, double rate, tc_tensor *gradient)
{
    tc_scope *s = o->scope;
    struct tc_adam adam = {rate, 0.9, 0.999, 1e-8, ++o->now.steps};
    tc_adam_step(s, &adam, o->now.z, gradient, o->now.m, o->now.v);
    if (o->low)
        o->now.z =
            tc_replace(s, o->now.z, tc_clamp_between(s, o->now.z, o->low, o->high));
    if (o->now.average)
        o->now.average = tc_replace(s, o->now.average, next_average(o, s));
    o->skipped_in_a_row = 0;
}

/* No step. Too many of these: an earlier state at half the rate, once. */
static void skip(struct optimize *o, struct optimize_row *row)
{
    row->skipped = true;
    o->skipped++;
    if (++o->skipped_in_a_row <= SKIPS_IN_A_ROW)
        return;
    if (o->restored) {
        err_set(
            &o->failure, ERR_NONFINITE,
            "optimize: epoch %lld: the losses or their gradient are not finite, at half "
            "the rate too",
            (long long)o->epoch);
        return;
    }
    o->restored = row->restored = true;
    o->skipped_in_a_row = 0;
    state_copy(o, &o->now, &o->kept);
}

/* What follows from its slope for one case. */
static void move(struct optimize *o, const struct optimize_slope *slope,
                 tc_tensor *gradient, struct optimize_row *row)
{
    *row = (struct optimize_row){
        .epoch = o->epoch, .rate = rate_at(o), .losses = slope->losses};
    if (slope->finite) {
        row->best = row->losses.total < o->best_total;
        if (row->best) {
            optimize_keep_latest(o);
            o->best_total = row->losses.total;
        }
        if (o->epoch % KEEP_EVERY == 0)
            state_copy(o, &o->kept, &o->now);
        step(o, row->rate, gradient);
    } else {
        skip(o, row);
    }
    o->epoch += o->failure.code == ERR_OK;
}

/* At once. *moved says, of a failure, whether it came when cases were moving already:
 * then their state is lost. `go_on` may break it off before. */
static bool epochs_at_once(int count, struct optimize *const *cases,
                           bool (*go_on)(struct err *e), struct optimize_row *rows,
                           bool *moved, struct err *e)
{
    struct optimize_slope slopes[OPTIMIZE_MAX_TOGETHER];
    tc_tensor *gradient = NULL;
    tc_scope *s = tc_push(cases[0]->scope);
    tc_context(s, "epoch %lld", (long long)cases[0]->epoch);
    tc_interruptible(s, go_on);
    bool ok =
        optimize_differentiate(s, count, cases, &gradient, slopes) || tc_check(s, e);
    tc_interruptible(s, NULL);
    *moved = ok;
    for (int g = 0; ok && g < count; g++)
        move(cases[g], &slopes[g], tc_slice(s, gradient, 0, g, g + 1), &rows[g]);
    tc_pop(s, NULL);
    return ok && tc_check(cases[0]->scope, e);
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

/* Less at a time: fewer cases, then fewer crops. False where it is least already. */
static bool relieve(struct optimize *o, int count)
{
    tc_recover(o->scope);
    tc_empty_cache(o->scope);
    if (count > 1) {
        o->together = (count + 1) / 2;
        return true;
    }
    int crops = least(o->crop_batch, o->crops.total);
    o->crop_batch = (crops + 1) / 2;
    return crops > 1;
}

bool optimize_epochs(int count, struct optimize *const *cases, struct optimize_row *rows,
                     struct err *e)
{
    struct optimize *moving[OPTIMIZE_MAX_TOGETHER];
    struct optimize_row moved[OPTIMIZE_MAX_TOGETHER];
    int number[OPTIMIZE_MAX_TOGETHER], left = 0;
    bool lost;
    for (int g = 0; g < count; g++) {
        if (optimize_failure(cases[g]))
            continue;
        moving[left] = cases[g];
        number[left++] = g;
    }
    for (int first = 0; first < left;) {
        struct err failure = {0};
        struct optimize *o = moving[first];
        int some = least(o->together, left - first);
        /* Once some have moved, the epoch is that of all. */
        if (epochs_at_once(some, moving + first, first == 0 ? stop_check_overdue : NULL,
                           moved + first, &lost, &failure)) {
            first += some;
        } else if (lost || failure.code != ERR_MEMORY || !relieve(o, some)) {
            if (failure.code == ERR_STOPPED)
                tc_recover(o->scope);
            *e = failure;
            return false;
        }
    }
    for (int i = 0; i < left; i++)
        rows[number[i]] = moved[i];
    return true;
}

const struct err *optimize_failure(const struct optimize *o)
{
    return o->failure.code == ERR_OK ? NULL : &o->failure;
}

bool optimize_epoch(struct optimize *o, struct optimize_row *row, struct err *e)
{
    if (!optimize_failure(o) && !optimize_epochs(1, &o, row, e))
        return false;
    if (!optimize_failure(o))
        return true;
    *e = o->failure;
    return false;
}

bool optimize_picture(struct optimize *o, enum optimize_which which,
                      struct image *picture, struct err *e)
{
    tc_scope *s = tc_push(o->scope);
    tc_tensor *z = which == OPTIMIZE_BEST ? o->best : state_shown(&o->now);
    bool ok = stage_decode(s, o->networks.vqgan, candidate_quantize(s, o, z), picture, e);
    tc_pop(s, NULL);
    return ok;
}
