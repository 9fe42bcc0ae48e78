/* display.h: what a run shows: progress and notes on standard error and in the log,
 * results on standard output. */
#ifndef DIFFENS_CLI_DISPLAY_H
#define DIFFENS_CLI_DISPLAY_H

#include "cli/progress_pace.h"
#include "cli/terminal.h"
#include "diffens/error.h"
#include "diffens/options.h"
#include "diffens/progress.h"

#include <time.h>

/* Start from `{0}`; must not move while it is open. */
struct display {
    const struct options *options;
    struct progress progress; /* hand this to the stages */
    enum progress_mode mode;  /* what --progress comes to: never PROGRESS_AUTO */
    struct terminal terminal;
    struct timespec started;
    struct pace pace;
    double shown,
        shown_part;    /* when a line was written last, and the stage's part then */
    double drawn;      /* when the bar was */
    int results_errno; /* of the first result that could not be written */
};

/* Opens the log, where one is asked for. ERR_USAGE, ERR_OUTPUT. */
bool display_open(struct display *d, const struct options *o, struct err *e);

/* Takes the bar away. ERR_OUTPUT where standard output or the log could not take
 * everything; the run itself goes on in that case. Accepts a zeroed object. */
bool display_close(struct display *d, struct err *e);

/* Writes to standard output; failures are reported by display_close(). */
void display_result(struct display *d, const char *text);

/* Writes the error that ends the program to standard error, as --progress wants it, and
 * to the log, if it was opened. */
void display_error(const struct options *o, const struct err *e);

#endif
