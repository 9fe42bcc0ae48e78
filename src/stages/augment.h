/* augment.h: random changes of crops, so that CLIP cannot be pleased by details that only
 * one exact crop has. The strengths are those that VQGAN-CLIP's users know. Leaves which
 * crops there are to crops.h. */
#ifndef DIFFENS_AUGMENT_H
#define DIFFENS_AUGMENT_H

#include "diffens/options.h"
#include "diffens/tc.h"

/* x [n,3,S,S] in [0,1] -> [n,3,S,S], not clamped; gradients flow back to x. `kinds` are
 * bits of enum augment_bit. What happens to a crop depends on the random seed, the epoch
 * (0 and more) and its number among the crops of the epoch, which is `first` for x[0]. */
tc_tensor *augment_crops(tc_scope *s, unsigned kinds, uint64_t random_seed, int64_t epoch,
                         int first, tc_tensor *x);

#endif
