/* summary.h: the report of a run. */
#ifndef DIFFENS_SUMMARY_H
#define DIFFENS_SUMMARY_H

#include "stages/plan.h"

/* Publishes report.html and its further pages. */
bool summary_write(const struct plan *p, struct err *e);

#endif
