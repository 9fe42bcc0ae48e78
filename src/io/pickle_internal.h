/* pickle_internal.h: what pickle.c and pickle_values.c share: making values within the
 * budget of one pickle. */
#ifndef DIFFENS_PICKLE_INTERNAL_H
#define DIFFENS_PICKLE_INTERNAL_H

#include "io/pickle.h"

/* Zeroed memory that lives as long as the pickle. NULL with ERR_INPUT over the budget. */
void *pickle_allocate(struct pickle *p, size_t size, struct err *e);

/* A value without content. NULL as above; so do the others. */
struct pickle_value *pickle_new(struct pickle *p, enum pickle_kind kind, struct err *e);

/* A copy of the bytes, with a NUL behind them. */
const char *pickle_copy(struct pickle *p, const void *bytes, size_t size, struct err *e);

/* Adds an item at the end; the array doubles when `count` is a power of two. */
bool pickle_append(struct pickle *p, struct pickle_value *value,
                   struct pickle_value *item, struct err *e);

#endif
