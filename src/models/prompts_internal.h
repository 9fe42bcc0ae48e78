/* prompts_internal.h: what prompts.c and prompts_fields.c share. */
#ifndef DIFFENS_MODELS_PROMPTS_INTERNAL_H
#define DIFFENS_MODELS_PROMPTS_INTERNAL_H

#include "io/json.h"
#include "models/prompts.h"

/* ERR_MEMORY; returns false. */
bool prompts_no_memory(struct err *e);

/* Counts a text of case n, as long as it is to become; false with ERR_INPUT where it is
 * too long, or all are together. `what` it is stands in messages: "negative". */
bool prompts_account(struct prompts *p, int64_t n, const char *what, size_t size,
                     struct err *e);

/* A prompt or a negative: a string that is not too long. */
bool prompts_read_text(const struct json *value, const char **out, struct err *e);

/* Names 000, 001, ..., the negative of the source, seeds that count up. */
bool prompts_set_defaults(struct prompts *p, const struct prompts_source *source,
                          struct err *e);

/* Replaces them by "negative", "names" and "seeds" of the object form, where given. */
bool prompts_read_fields(struct prompts *p, const struct json *root, struct err *e);

#endif
