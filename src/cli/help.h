/* help.h: --help and --version. */
#ifndef DIFFENS_CLI_HELP_H
#define DIFFENS_CLI_HELP_H

#include "base/str.h"
#include "cli/commands.h"

/* Adds the help of a command, or of the program where it is NULL, at most 80 columns. */
void help_add(struct str *out, const struct command *command);

/* Adds "diffens 0.1.0 (libtorch 2.13.0)". */
void version_add(struct str *out);

/* Writes text to standard output. ERR_OUTPUT when it cannot be written. */
bool help_print(const struct str *text, struct err *e);

#endif
