/* mixtures.h: the mixtures of a run, from the image tensor to pictures. */
#ifndef DIFFENS_MIXTURES_H
#define DIFFENS_MIXTURES_H

#include "stages/plan.h"

/* Encodes the parents of every case once, mixes, decodes and publishes: every layer,
 * every mixture. Cases that lack a parent are left out. */
bool mixtures_make(struct plan *p, tc_scope *root, const struct image_tensor *images,
                   struct err *e);

#endif
