/* plan_show.h: what a run would do (--dry-run). */
#ifndef DIFFENS_PLAN_SHOW_H
#define DIFFENS_PLAN_SHOW_H

#include "base/str.h"
#include "diffens/stages.h"

/* Plans the run as pipeline_run() would, opens no device (unless
 * --measure asks for it), writes nothing, and adds the
 * plan as text, or with --json as an object and a newline. Fails as pipeline_run() would
 * before its first model is loaded. */
bool plan_show(const struct run *run, struct str *out, struct err *e);

#endif
