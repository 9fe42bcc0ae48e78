/* help.h: --help, -h and --version. */
#ifndef DIFFENS_CLI_HELP_H
#define DIFFENS_CLI_HELP_H

#include "base/str.h"
#include "cli/commands.h"

#define HELP_ABOUT                                                                       \
    "diffens draws one prompt with several text-to-image models and mixes what they "    \
    "draw in the latent space of a VQGAN."
#define HELP_STREAMS                                                                     \
    "Results (paths of pictures) go to standard output, all else to standard error."

struct option;

/* Adds the help of a command, or of the program where it is NULL, at most 80 columns;
 * `brief`: a command's main options alone. */
void help_add(struct str *out, const struct command *command, bool brief);

/* Adds what an option means, its range and default. */
void help_add_meaning(struct str *out, const struct option *o);

/* The length of the first clause of an option's help, which can stand alone. */
size_t help_first_clause(const struct option *o);

/* Adds "diffens 0.1.0 (libtorch 2.13.0)". */
void version_add(struct str *out);

/* Writes text to standard output. ERR_OUTPUT when it cannot be written. */
bool help_print(const struct str *text, struct err *e);

#endif
