/* progress_pace.h: how fast a stage goes and how long the rest of it takes. Knows no
 * clock: the caller says what time it is. */
#ifndef DIFFENS_CLI_PROGRESS_PACE_H
#define DIFFENS_CLI_PROGRESS_PACE_H

#include "diffens/progress.h"

#include <stdbool.h>

/* Start from `{0}`. Times are seconds. */
struct pace {
    char stage[40], model[100];
    double part; /* of the stage that is done, 0..1 */
    double now;
    /* private: what was worked at the present place (stage and model) since its first
     * step, without the time that the program was stopped or suspended */
    double worked, from;
    int64_t updates;
    bool stepping;
    double former; /* seconds for a whole stage, at the pace of the place before */
};

/* Takes a report. True at a new place. */
bool pace_update(struct pace *p, const struct progress_at *at, double now);

/* Seconds until the stage is done; -1 while that is unknown. */
double pace_left(const struct pace *p);

/* Units (images, epochs) a second; 0 while that is unknown. */
double pace_rate(const struct pace *p, const struct progress_at *at);

#endif
