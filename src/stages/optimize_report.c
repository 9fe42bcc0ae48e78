/* optimize_report.c: the losses of the result beside those of pictures that need no
 * optimising, on one set of windows. Leaves the loop to optimize.c. */
#include "stages/optimize_internal.h"

#include "base/stop.h"
#include "models/vqgan.h"

#include <math.h>

#define ROUNDS 4 /* times the windows of an epoch */

/* x [1,3,H,W] in [0,1] */
static bool evaluate(struct optimize *o, tc_tensor *x, struct optimize_losses *losses,
                     struct err *e)
{
    double sums[2 * OPTIMIZE_MAX_PARENTS + 1] = {0};
    double values[2 * OPTIMIZE_MAX_PARENTS + 1];
    size_t count = 2 * (size_t)o->parents + 1;
    bool ok = stop_check(e);
    for (int round = 0; ok && round < ROUNDS; round++) {
        struct comparison c = {.count = 1, .cases = &o, .draws = {-1 - round}};
        tc_scope *s = tc_push(o->scope);
        struct objective part = objective_of(s, &c, x, false);
        ok = tc_to_host(s, part.values, TC_F64, values, count * sizeof *values) ||
             tc_check(s, e);
        for (size_t i = 0; ok && i < count; i++)
            sums[i] += values[i] / ROUNDS;
        tc_pop(s, NULL);
    }
    objective_total(o, sums, losses);
    return ok;
}

static bool evaluate_latent(struct optimize *o, tc_tensor *postquant,
                            struct optimize_losses *losses, struct err *e)
{
    tc_scope *s = tc_push(o->scope);
    bool ok = evaluate(o, candidate_picture(s, o, postquant), losses, e);
    tc_pop(s, NULL);
    return ok;
}

static bool evaluate_candidate(struct optimize *o, tc_tensor *z,
                               struct optimize_losses *losses, struct err *e)
{
    tc_scope *s = tc_push(o->scope);
    bool ok = evaluate_latent(o, candidate_quantize(s, o, z), losses, e);
    tc_pop(s, NULL);
    return ok;
}

static bool evaluate_mixes(struct optimize *o, struct optimize_report *r, struct err *e)
{
    tc_scope *s = tc_push(o->scope);
    tc_tensor *average = tc_combine(s, o->parents, o->shares, o->pictures);
    tc_tensor *blend = stage_blend(s, o->networks.vqgan, o->settings.layer, o->parents,
                                   o->shares, o->latents, false);
    bool ok = evaluate(o, tc_clamp(s, average, 0, 1), &r->average, e) &&
              evaluate_latent(o, blend, &r->blend, e);
    tc_pop(s, NULL);
    return ok;
}

static void find_lowest(struct optimize_report *r)
{
    r->best_baseline = "average";
    r->lowest_baseline = r->average.total;
    if (r->blend.total < r->lowest_baseline) {
        r->best_baseline = "blend";
        r->lowest_baseline = r->blend.total;
    }
    for (int m = 0; m < r->parents; m++) {
        if (r->reconstruction[m].total < r->lowest_baseline) {
            r->best_baseline = "reconstruction";
            r->best_parent = m;
            r->lowest_baseline = r->reconstruction[m].total;
        }
    }
}

bool optimize_report(struct optimize *o, struct optimize_report *r, struct err *e)
{
    *r = (struct optimize_report){.parents = o->parents};
    bool ok = evaluate_candidate(o, state_shown(&o->now), &r->latest, e) &&
              evaluate_candidate(o, o->best, &r->best, e) && evaluate_mixes(o, r, e);
    for (int m = 0; ok && m < o->parents; m++)
        ok = evaluate_latent(o, o->latents[m].at[POSTQUANT], &r->reconstruction[m], e);
    find_lowest(r);
    return ok;
}
