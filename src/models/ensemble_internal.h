/* ensemble_internal.h: what the files of the ensemble share. */
#ifndef DIFFENS_MODELS_ENSEMBLE_INTERNAL_H
#define DIFFENS_MODELS_ENSEMBLE_INTERNAL_H

#include "io/json.h"
#include "models/ensemble.h"

/* ERR_MEMORY; returns false. */
bool ensemble_no_memory(struct err *e);

/* Reads one ensemble.json. On failure `s` is closed. */
bool ensemble_read(struct ensemble *s, const char *file, struct err *e);

/* The "generate" and "optimize" fields of an ensemble.json. ERR_INPUT, ERR_MEMORY. */
bool ensemble_read_defaults(struct ensemble *s, const struct json *root, struct err *e);

bool ensemble_path_exists(const char *path);

#endif
