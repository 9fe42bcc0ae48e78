/* parse.h: from the argument vector to struct options. */
#ifndef DIFFENS_CLI_PARSE_H
#define DIFFENS_CLI_PARSE_H

#include "cli/commands.h"

enum parse_outcome {
    PARSE_RUN,     /* run `command` with the options */
    PARSE_HELP,    /* print the help of `command`, or of the program where it is NULL */
    PARSE_VERSION, /* print the version */
    PARSE_ERROR,   /* `e` is set */
};

struct parsed {
    const struct command *command;
    struct options options; /* texts point into argv */
};

/* Reads a command line. Start from a zeroed `parsed`; whatever the outcome, the caller
 * ends with options_free(). The result does not depend on locale or environment. */
enum parse_outcome options_parse(int argc, char *const *argv, struct parsed *parsed,
                                 struct err *e);

/* What goes together and what does not (ERR_USAGE, both options named). `given` has an
 * entry per option of the table: its value as given, or NULL. */
bool options_check(const struct options *o, const char *const *given, struct err *e);

#endif
