/* display.h: what a run shows: progress and notes on standard error and in the log,
 * results on standard output. */
#ifndef DIFFENS_CLI_DISPLAY_H
#define DIFFENS_CLI_DISPLAY_H

#include "diffens/error.h"
#include "diffens/options.h"
#include "diffens/progress.h"

#include <stdio.h>
#include <time.h>

/* Start from `{0}`; must not move while it is open. */
struct display {
    const struct options *options;
    struct progress progress; /* hand this to the stages */
    FILE *log;                /* NULL: none */
    struct timespec started, shown;
    double shown_part;             /* of the stage, when a line was shown last */
    struct timespec place_started; /* the present stage and model, */
    double place_part;             /* and how much of the stage was done then */
    const char *stage;
    char model[100];
    int results_errno; /* of the first result that could not be written */
    int log_errno;
};

/* Opens the log, where one is asked for. ERR_OUTPUT. */
bool display_open(struct display *d, const struct options *o, struct err *e);

/* Closes the log. ERR_OUTPUT where standard output or the log could not take everything;
 * the run itself goes on in that case. Accepts a zeroed object. */
bool display_close(struct display *d, struct err *e);

/* Writes to standard output; failures are reported by display_close(). */
void display_result(struct display *d, const char *text);

#endif
