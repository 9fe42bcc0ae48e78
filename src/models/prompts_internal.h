/* prompts_internal.h: what prompts.c and prompts_fields.c share. */
#ifndef DIFFENS_MODELS_PROMPTS_INTERNAL_H
#define DIFFENS_MODELS_PROMPTS_INTERNAL_H

#include "io/json.h"
#include "models/prompts.h"

/* ERR_MEMORY; returns false. */
bool prompts_no_memory(struct err *e);

/* Names 000, 001, ..., the negative of the source, seeds that count up. */
bool prompts_set_defaults(struct prompts *p, const struct prompts_source *source,
                          struct err *e);

/* Replaces them by "negative", "names" and "seeds" of the object form, where given. */
bool prompts_read_fields(struct prompts *p, const struct json *root, struct err *e);

#endif
