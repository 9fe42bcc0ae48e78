/* optimize_internal.h: what the files of the optimise stage share. Leaves the stage's
 * contract to optimize.h. Dimension letters: tc.h; P windows of the pool, G cases that
 * are computed together. */
#ifndef DIFFENS_OPTIMIZE_INTERNAL_H
#define DIFFENS_OPTIMIZE_INTERNAL_H

#include "diffens/nets.h"
#include "diffens/optimize.h"
#include "stages/crops.h"

/* The candidate with Adam's moments, all of the layer's shape, owned by the stage. */
struct optimize_state {
    tc_tensor *z, *m, *v;
    tc_tensor *average; /* of z over the steps; NULL where none is asked for */
    int64_t steps;      /* Adam's */
};

struct optimize {
    struct optimize_networks networks;
    struct optimize_settings settings;
    tc_scope *scope;
    enum tc_dtype dtype;
    int64_t height, width;
    int parents;
    double shares[OPTIMIZE_MAX_PARENTS];
    struct crops crops;
    /* As asked for, or less once memory ran out. */
    int crop_batch; /* of all windows of the cases computed together */
    int together;   /* cases */

    /* what does not change between epochs */
    tc_tensor *pictures[OPTIMIZE_MAX_PARENTS];    /* [1,3,H,W] in [0,1] */
    struct latents latents[OPTIMIZE_MAX_PARENTS]; /* of the parents */
    tc_tensor *embeddings;                        /* [P,M*D] of the parents' crops */
    tc_tensor *maps[VGG_TAPS];                    /* [M,C,h,w] of the parents */
    tc_tensor *low, *high;                        /* [1,D,1,1] of the codebook, or NULL */
    tc_tensor *mean, *deviation;                  /* [1,3,1,1] of CLIP's input */
    tc_tensor *upstream_clip, *upstream_perceptual; /* [1,M] weight * shares */

    /* what does */
    struct optimize_state now, kept; /* kept: to go back to when numbers break */
    tc_tensor *best;
    double best_total;
    int64_t epoch, skipped;
    int skipped_in_a_row;
    bool restored;      /* once, and the rate has been halved */
    struct err failure; /* what ended it; later epochs only repeat it */
};

/* Pictures to compare with the parents of their cases, one of each. The cases have the
 * same settings but for the random seed, and the same number of parents. */
struct comparison {
    int count; /* G: 1..OPTIMIZE_MAX_TOGETHER */
    struct optimize *const *cases;
    /* What decides a case's windows: its epoch, in which they are augmented; or a number
     * below 0, which is no epoch's, for windows as they are. */
    int64_t draws[OPTIMIZE_MAX_TOGETHER];
};

/* Their losses, owned by one scope. */
struct objective {
    tc_tensor
        *values; /* [G,2M+1]: by parent CLIP's, then the perceptual; the variation */
    tc_tensor *gradient; /* [G,3,H,W] of each case's weighted sum; NULL without one */
};

/* x [G,3,H,W] in [0,1], picture g of case g. With `differentiate`, the gradient too. */
struct objective objective_of(tc_scope *s, const struct comparison *c, tc_tensor *x,
                              bool differentiate);

/* [n,3,h,w] in [0,1] -> [n,3,h,w] with CLIP's mean and deviation taken off */
tc_tensor *objective_normalize(tc_scope *s, const struct optimize *o, tc_tensor *x);

/* Normalised crops [n,3,S,S] -> [n,D], of unit length but for CLIP_MSE */
tc_tensor *objective_embed(tc_scope *s, const struct optimize *o, tc_tensor *crops);

/* Takes the parents' embeddings and feature maps. */
bool objective_prepare(struct optimize *o, const struct progress *progress,
                       struct err *e);

/* A row of values on the host, 2M+1 of them -> losses with their weighted total. */
void objective_total(const struct optimize *o, const double *values,
                     struct optimize_losses *losses);

/* What the pictures are of: the candidate, or its average. */
tc_tensor *state_shown(const struct optimize_state *state);

/* Candidates through the codebook, with a straight-through gradient. z at the layer
 * -> `postquant` latent */
tc_tensor *candidate_quantize(tc_scope *s, const struct optimize *o, tc_tensor *z);

/* `postquant` latent [G,D,h,w] -> [G,3,H,W] in [0,1] */
tc_tensor *candidate_picture(tc_scope *s, const struct optimize *o, tc_tensor *z);

/* Where the candidate starts, at the layer; owned by `s`. */
tc_tensor *candidate_start(tc_scope *s, const struct optimize *o);

/* What an epoch finds out about a case before its step. */
struct optimize_slope {
    struct optimize_losses losses;
    bool finite; /* the losses, and all of the gradient */
};

/* Losses of `count` candidates at present on the windows of their epochs, and their
 * gradients, [G,D,h,w], owned by `s`. False after a failure. */
bool optimize_differentiate(tc_scope *s, int count, struct optimize *const *cases,
                            tc_tensor **gradient, struct optimize_slope *slopes);

/* A copy of x, owned by `s`, whose memory nothing else holds. */
tc_tensor *optimize_copy(tc_scope *s, tc_tensor *x);

#endif
