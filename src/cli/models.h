/* models.h: what `diffens models` and `diffens doctor` print alike. */
#ifndef DIFFENS_CLI_MODELS_H
#define DIFFENS_CLI_MODELS_H

#include "io/json_write.h"
#include "survey/survey.h"

/* One ensemble or model as a JSON object. */
void models_write_json(const struct survey *s, struct json_writer *w);

#endif
