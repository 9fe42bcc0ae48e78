/* optimize_internal.h: what the files of the optimise stage share. Leaves the stage's
 * contract to optimize.h. Dimension letters: tc.h; P windows of the pool. */
#ifndef DIFFENS_OPTIMIZE_INTERNAL_H
#define DIFFENS_OPTIMIZE_INTERNAL_H

#include "diffens/nets.h"
#include "diffens/optimize.h"
#include "stages/crops.h"

/* The candidate with Adam's moments, all of the layer's shape, owned by the stage. */
struct optimize_state {
    tc_tensor *z, *m, *v;
    int64_t steps; /* Adam's */
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
    int crop_batch; /* as asked for, or less once memory ran out */

    /* what does not change between epochs */
    tc_tensor *pictures[OPTIMIZE_MAX_PARENTS];    /* [1,3,H,W] in [0,1] */
    struct latents latents[OPTIMIZE_MAX_PARENTS]; /* of the parents */
    tc_tensor *embeddings;                        /* [P,M*D] of the parents' crops */
    tc_tensor *maps[VGG_TAPS];                    /* [M,C,h,w] of the parents */
    tc_tensor *low, *high;                        /* [1,D,1,1] of the codebook, or NULL */
    tc_tensor *mean, *deviation;                  /* [1,3,1,1] of CLIP's input */
    tc_tensor *upstream_clip, *upstream_perceptual; /* [M] weight * shares */

    /* what does */
    struct optimize_state now, kept; /* kept: to go back to when numbers break */
    tc_tensor *best;
    double best_total;
    int64_t epoch, skipped;
    int skipped_in_a_row;
    bool restored;      /* once, and the rate has been halved */
    struct err failure; /* what ended it; later epochs only repeat it */
};

/* The losses of one picture: by parent, and their gradient. */
struct objective {
    tc_tensor *clip, *perceptual; /* [M] */
    tc_tensor *gradient;          /* [1,3,H,W] of the weighted sum; NULL without one */
};

/* x [1,3,H,W] in [0,1]; `windows` as crops_draw() gives them. With `differentiate`, the
 * gradient too. Everything is owned by `s`. */
struct objective objective_of(tc_scope *s, const struct optimize *o, tc_tensor *x,
                              const int *windows, bool differentiate);

/* Takes the parents' embeddings and feature maps. */
bool objective_prepare(struct optimize *o, const struct progress *progress,
                       struct err *e);

/* [M] + [M] on the host -> losses with their weighted total. */
void objective_total(const struct optimize *o, const double *values,
                     struct optimize_losses *losses);

/* The candidate through the codebook, with a straight-through gradient. z at the layer
 * -> `postquant` latent */
tc_tensor *candidate_quantize(tc_scope *s, const struct optimize *o, tc_tensor *z);

/* `postquant` latent -> [1,3,H,W] in [0,1] */
tc_tensor *candidate_picture(tc_scope *s, const struct optimize *o, tc_tensor *z);

/* Where the candidate starts, at the layer; owned by `s`. */
tc_tensor *candidate_start(tc_scope *s, const struct optimize *o);

/* Losses of the candidate at present on the windows of its epoch, and their gradient,
 * owned by `s`. *finite: whether all of it is. False after a failure. */
bool optimize_differentiate(const struct optimize *o, tc_scope *s, tc_tensor **gradient,
                            struct optimize_losses *losses, bool *finite);

/* A copy of x, owned by `s`, whose memory nothing else holds. */
tc_tensor *optimize_copy(tc_scope *s, tc_tensor *x);

#endif
