/* run_command.h: what every command that makes pictures does before and after the
 * pipeline.
 */
#ifndef DIFFENS_CLI_RUN_COMMAND_H
#define DIFFENS_CLI_RUN_COMMAND_H

#include "diffens/options.h"
#include "models/ensemble.h"

#include "diffens/error.h"

struct display;
struct record;

/* Which diffusers of an open ensemble take part. */
typedef bool select_fn(struct ensemble *s, const struct options *o, struct err *e);

/* Opens the ensemble, reads the prompts, makes the run directory, runs the pipeline and
 * prints the result. */
bool run_command(const struct options *o, const char *name, select_fn *select,
                 struct err *e);

/* Prints what --json asks for of a run: record_write_result(). */
void run_command_show_json(const struct record *record, struct display *display);

#endif
