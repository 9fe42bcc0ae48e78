/* sheet.h: the labelled contact sheet of a run. */
#ifndef DIFFENS_SHEET_H
#define DIFFENS_SHEET_H

#include "stages/plan.h"

/* Publishes figure.png and its further pages. generate: rows are cases, columns models.
 * blend: rows are the layers of each case, columns the mixtures, with the parents at the
 * ends. optimize: rows are cases, columns parents, some previews and the
 * result, with the losses below. */
bool sheet_write(const struct plan *p, struct err *e);

#endif
