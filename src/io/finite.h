/* finite.h: counts numbers that are not finite, in the bytes of weight files. Leaves
 * reading them to tensor_file.h. */
#ifndef DIFFENS_FINITE_H
#define DIFFENS_FINITE_H

#include "diffens/tensor_file.h"

struct nonfinite {
    int64_t nan, infinite;
};

/* Adds what is in `count` numbers of that type at `bytes`; integers are always finite. */
void finite_count(struct nonfinite *found, enum file_dtype dtype, const void *bytes,
                  size_t count);

/* The same for a whole tensor, read in pieces of 4 MiB; where its elements do not lie
 * side by side in rows of the first dimension, with all that lies between them in the
 * file. False with ERR_INPUT, ERR_MEMORY. */
bool finite_count_entry(struct nonfinite *found, const struct tensor_file *file,
                        const struct tensor_entry *entry, struct err *e);

#endif
