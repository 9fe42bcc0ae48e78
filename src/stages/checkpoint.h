/* checkpoint.h: the state of a case that is being optimised, saved now and then and when
 * the run is asked to stop. Leaves what is in it to optimize.h. */
#ifndef DIFFENS_CHECKPOINT_H
#define DIFFENS_CHECKPOINT_H

#include "base/sha256.h"
#include "base/str.h"
#include "stages/plan.h"

/* Start from `{0}`. */
struct checkpoint {
    const struct plan *p;
    int64_t index_case;
    char *path;
    char identity[SHA256_HEX];
    double saved;         /* seconds of CLOCK_MONOTONIC */
    int64_t saved_epochs; /* done then; 0: the start, which needs no saving */
};

/* Where the state of a case goes, and what it depends on. ERR_MEMORY. */
bool checkpoint_open(struct checkpoint *c, const struct plan *p, int64_t index_case,
                     struct err *e);

/* Takes a saved state over, with the table of losses that goes with it. Changes nothing
 * where there is none. *fits is false where a preview before it is missing: then the case
 * has to begin anew. ERR_INPUT where there is one, and neither it nor the one before it
 * is whole. */
bool checkpoint_restore(struct checkpoint *c, struct optimize *o, struct str *losses,
                        bool *fits, struct err *e);

/* After an epoch: saves when the time has come; when the run is asked to stop, saves what
 * has not been saved and fails with ERR_STOPPED. */
bool checkpoint_save_if_due(struct checkpoint *c, struct optimize *o,
                            const struct str *losses, struct err *e);

/* Removes the state of a case that is done. */
void checkpoint_remove(const struct checkpoint *c);

/* The same of a case that was done before this run began: it may have been killed before
 * it could do so itself. */
void checkpoint_discard(const struct plan *p, int64_t index_case);

/* Accepts a zeroed object. */
void checkpoint_close(struct checkpoint *c);

#endif
