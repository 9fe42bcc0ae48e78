/* relief.h: what the stages try when memory runs out: first to empty the cache, then what
 * costs time. Leaves what is particular to a stage (smaller batches, one part of a model
 * at a time) to that stage. */
#ifndef DIFFENS_STAGES_RELIEF_H
#define DIFFENS_STAGES_RELIEF_H

#include "diffens/progress.h"
#include "diffens/tc.h"

struct relief {
    tc_scope *root;
    const struct progress *progress;
    bool emptied; /* since relief_worked() */
    bool sliced;
};

/* When `failure` is a lack of memory: forgets it, empties the cache and returns true the
 * first time since something worked. False otherwise. */
bool relief_empty_cache(struct relief *r, const struct err *failure);

/* Attention in slices from now on; false where it is already. */
bool relief_slice(struct relief *r);

/* The two in turn: whether to try again what failed. */
bool relief_try(struct relief *r, const struct err *failure);

/* Something worked: the next lack of memory may be passing. */
void relief_worked(struct relief *r);

/* Adds what the user can do where `e` is a lack of memory. Returns false. */
bool relief_hint(struct err *e);

#endif
