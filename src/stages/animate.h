/* animate.h: the animations of a run: a sweep over its mixtures, layer by layer, or the
 * way of an optimisation. */
#ifndef DIFFENS_ANIMATE_H
#define DIFFENS_ANIMATE_H

#include "stages/plan.h"

/* Checks that they can be made and adds them to the files of the record; nothing where
 * none are asked for. ERR_USAGE where a case has fewer than two pictures to show
 * or nothing was mixed, ERR_INPUT where there is no ffmpeg. */
bool animate_plan(const struct plan *p, struct err *e);

/* Publishes those that are not there yet and whose pictures are all there. What ffmpeg
 * fails at is put into `failure`: the run goes on without it, and fails in the end. */
bool animate_make(const struct plan *p, struct err *failure, struct err *e);

#endif
