/* optimize_parents.c: what the losses compare with, taken of the parents once: embeddings
 * of all windows of the pool, and feature maps. Leaves comparing to optimize_losses.c. */
#include "stages/optimize_internal.h"

#include "base/stop.h"
#include "models/clip.h"
#include "models/perceptual.h"

#define POOL_BATCH 32 /* crops encoded at a time */

/* The pool's crops of one parent: [P,D]; fewer when the run is asked to stop. */
static tc_tensor *embed_pool(tc_scope *up, const struct optimize *o, tc_tensor *picture)
{
    tc_scope *s = tc_push(up);
    tc_tensor *all = NULL;
    tc_tensor *x = objective_normalize(s, o, picture);
    for (int first = 0; first < o->crops.pool && !stop_asked() && tc_ok(s);
         first += POOL_BATCH) {
        int windows[POOL_BATCH], count = 0;
        for (; count < POOL_BATCH && first + count < o->crops.pool; count++)
            windows[count] = first + count;
        tc_tensor *part =
            objective_embed(s, o, crops_cut(s, &o->crops, x, count, windows));
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

/* [1,3,1,1] */
static tc_tensor *three(tc_scope *up, const struct optimize *o, const float *values)
{
    tc_scope *s = tc_push(up);
    tc_tensor *x = tc_from_host(s, TC_F32, SHAPE(1, 3, 1, 1), values);
    return tc_pop(s, tc_cast(s, x, o->dtype));
}

/* [1,M] */
static tc_tensor *weighted_shares(tc_scope *up, const struct optimize *o, double weight)
{
    tc_scope *s = tc_push(up);
    double values[OPTIMIZE_MAX_PARENTS];
    for (int m = 0; m < o->parents; m++)
        values[m] = weight * o->shares[m];
    tc_tensor *x = tc_from_host(s, TC_F64, SHAPE(1, o->parents), values);
    return tc_pop(s, tc_cast(s, x, o->dtype));
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
    for (int m = 0; m < o->parents && !stop_asked() && tc_ok(s); m++) {
        report_at(progress, o, m);
        tc_tensor *x = tc_add_scalar(s, tc_scale(s, o->pictures[m], 2), -1);
        if (o->settings.clip_weight != 0)
            embeddings[m] = embed_pool(s, o, o->pictures[m]);
        if (o->settings.perceptual_weight != 0)
            vgg_unit_maps(s, p->vgg, &p->config, x, maps[m]);
    }
    if (!stop_check(e)) {
        tc_pop(s, NULL);
        return false;
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
