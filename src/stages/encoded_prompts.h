/* encoded_prompts.h: the prompts of a run as one diffuser's text encoder takes them,
 * encoded before its UNet is loaded so that the encoder's memory is free again by then.
 * Leaves the encoding of one to src/diffusion/sampler.h. */
#ifndef DIFFENS_ENCODED_PROMPTS_H
#define DIFFENS_ENCODED_PROMPTS_H

#include "diffusion/sampler.h"
#include "stages/plan.h"

struct encoded_prompt {
    tc_tensor *prompt, *negative; /* [1,T,D]; NULL for a case that is left out */
};

/* Start from `{0}`. */
struct encoded_prompts {
    tc_scope *scope;           /* owns the tensors; NULL: nothing is encoded */
    struct encoded_prompt *of; /* [N] */
};

/* Encodes the prompts of diffuser `m` and takes its text encoder off the device; cases n
 * with settled[n], [N], are left out. So many prompts that they outweigh the encoder are
 * left to be encoded with their batches: `scope` is NULL then. ERR_STOPPED between two
 * prompts. On failure nothing is kept. */
bool encoded_prompts_make(struct encoded_prompts *t, const struct plan *p, int m,
                          const unsigned char *settled, struct diffuser_weights *w,
                          struct err *e);

/* Fills in the texts of a cell from what was encoded, or encodes them into `s`. */
bool encoded_prompts_of(const struct encoded_prompts *t, tc_scope *s,
                        const struct plan *p, int64_t n, int m,
                        struct diffuser_weights *w, struct sampler_cell *cell,
                        struct err *e);

/* Accepts a zeroed object. */
void encoded_prompts_free(struct encoded_prompts *t);

#endif
