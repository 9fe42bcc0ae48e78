/* parents.h: the parents of a run on disk, whether drawn or brought. */
#ifndef DIFFENS_PARENTS_H
#define DIFFENS_PARENTS_H

#include "stages/plan.h"

/* Publishes a parent: its cell of the image tensor, its PNG, its record. */
bool parents_publish(const struct plan *p, int64_t index_case, int index_model,
                     const struct image *picture, double seconds,
                     struct image_tensor *images, struct err *e);

/* SHA-256 of a picture's part of the image tensor. */
void parents_hash(const struct image *picture, char hex[SHA256_HEX]);

/* Copies the pictures of --images into the run. Those that it has already must be the
 * same (ERR_INPUT). */
bool parents_import(const struct plan *p, struct image_tensor *images, struct err *e);

/* Opens the image tensor of the run, or makes it. What a run that is gone on with has
 * made is there afterwards: a part that was lost is put back from its picture. */
bool parents_open(const struct plan *p, struct image_tensor *images, struct err *e);

/* Flushes and closes it, and notes how it looks, so that it is not read again as long as
 * it looks so. Accepts a zeroed object. */
bool parents_close(const struct plan *p, struct image_tensor *images, struct err *e);

#endif
