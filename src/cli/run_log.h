/* run_log.h: the file of --log: one for the program, open until it ends, since the last
 * line says what ended it. Leaves what is written to display.c. */
#ifndef DIFFENS_CLI_RUN_LOG_H
#define DIFFENS_CLI_RUN_LOG_H

#include "diffens/error.h"
#include "diffens/options.h"

/* Opens the log, where a run is asked for one: a file, a terminal or other character
 * device, or a pipe that has a reader. ERR_USAGE where it is a file that the command
 * reads or that may be a run's, ERR_OUTPUT. */
bool run_log_open(const struct options *o, struct err *e);

/* Appends a line with the time; does nothing where no log is open. */
void run_log_line(const char *line);

/* Whether all lines up to now are written: 0, or the errno of the first that is not. */
int run_log_errno(void);

#endif
