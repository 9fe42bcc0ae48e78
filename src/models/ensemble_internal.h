/* ensemble_internal.h: what ensemble.c and ensemble_find.c share. */
#ifndef DIFFENS_MODELS_ENSEMBLE_INTERNAL_H
#define DIFFENS_MODELS_ENSEMBLE_INTERNAL_H

#include "models/ensemble.h"

/* ERR_MEMORY; returns false. */
bool ensemble_no_memory(struct err *e);

/* Reads one ensemble.json. On failure `s` is closed. */
bool ensemble_read(struct ensemble *s, const char *file, struct err *e);

bool ensemble_path_exists(const char *path);

#endif
