/* going_on.h: how to go on with a run that was stopped. */
#ifndef DIFFENS_CLI_GOING_ON_H
#define DIFFENS_CLI_GOING_ON_H

#include "diffens/error.h"
#include "diffens/options.h"

/* Adds the shell command that goes on with the run in `directory` as a hint. `begun`:
 * what is in the directory is this run's; else --force is still needed where another is
 * there.
 */
void going_on_hint(struct err *e, const struct options *o, const char *directory,
                   bool begun);

#endif
