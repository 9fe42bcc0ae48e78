/* crops.h: which windows of a picture are compared, and how they are cut and resized for
 * CLIP. Leaves encoding and distances to optimize_losses.c. */
#ifndef DIFFENS_CROPS_H
#define DIFFENS_CROPS_H

#include "diffens/optimize.h"

/* Windows of one side; its own part of the pool. */
struct crop_windows {
    int64_t side;    /* pixels of the picture */
    int count;       /* in an epoch; fewer than asked for where no more positions are */
    int first, pool; /* its windows in the pool: first .. first + pool - 1 */
    tc_tensor *resizer; /* [side,size]: resizes rows from the right; NULL: same size */
};

/* Start from `{0}`. */
struct crops {
    int group_count;
    struct crop_windows group[CROPS_MAX_GROUPS];
    int total, pool;     /* windows in an epoch and in the pool, over all groups */
    int64_t *top, *left; /* [pool] */
    int64_t size;        /* side of a crop after resizing */
};

/* Draws the pool: each group has its share of `pool` windows by its count, at least
 * enough for an epoch, at most one per position. Resizers are owned by `s`. */
bool crops_open(struct crops *c, tc_scope *s, const struct crop_spec *spec, int pool,
                uint64_t random_seed, int64_t height, int64_t width, int64_t size,
                enum tc_dtype dtype, struct err *e);

/* Accepts a zeroed or half-built object. */
void crops_close(struct crops *c);

/* The windows of an epoch, `total` indices into the pool, group by group: distinct, and
 * decided by the random seed and the epoch alone. */
void crops_draw(const struct crops *c, uint64_t random_seed, int64_t epoch, int *windows);

/* The share of each of those in a mean over windows of a group and then over groups. */
void crops_shares(const struct crops *c, double *shares);

/* Cuts `count` windows of the pool, group by group, and resizes them (bicubic,
 * antialiased). x [1,3,H,W] -> [count,3,size,size] */
tc_tensor *crops_cut(tc_scope *s, const struct crops *c, tc_tensor *x, int count,
                     const int *windows);

/* A number below `bound` that depends on these three alone. */
uint64_t crops_random(uint64_t seed, uint64_t stream, uint64_t index, uint64_t bound);

#endif
