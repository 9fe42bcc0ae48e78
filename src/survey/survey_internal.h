/* survey_internal.h: what the files of the survey share. */
#ifndef DIFFENS_SURVEY_INTERNAL_H
#define DIFFENS_SURVEY_INTERNAL_H

#include "models/network.h"
#include "survey/survey.h"

/* Adds a line to the problems; one that begins with a blank belongs to the problem before
 * it. */
void survey_problem(struct survey *s, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A new, empty model; NULL with ERR_MEMORY. */
struct survey_model *survey_add_model(struct survey *s, const char *role,
                                      const char *name, const char *path, struct err *e);

/* Each opens what model->path names, fills the model in and notes what is wrong. False
 * with ERR_MEMORY alone. */
bool survey_diffuser(struct survey *s, struct survey_model *model, struct err *e);
bool survey_vqgan(struct survey *s, struct survey_model *model, struct err *e);
bool survey_clip(struct survey *s, struct survey_model *model, struct err *e);
bool survey_perceptual(struct survey *s, struct survey_model *model, struct err *e);

/* A weight file of whatever kind; model->detail says which. */
bool survey_file(struct survey *s, struct survey_model *model, struct err *e);

/* Compares the files of `folder` with its SHA256SUMS, where it has one. */
bool survey_sums(struct survey *s, const char *folder, struct err *e);

#endif
