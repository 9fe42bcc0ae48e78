/* optimizing.h: the optimised pictures of a run, from the image tensor to files. */
#ifndef DIFFENS_OPTIMIZING_H
#define DIFFENS_OPTIMIZING_H

#include "stages/plan.h"

/* Optimises case after case and publishes previews, the final and the best picture, the
 * table of losses and, for run.json, what the result is worth beside the baselines. Cases
 * that lack a parent are left out; of one whose losses break, the best picture is kept.
 */
bool optimizing_make(struct plan *p, tc_scope *root, const struct image_tensor *images,
                     struct err *e);

#endif
