/* parse.h: from the argument vector to struct options. */
#ifndef DIFFENS_CLI_PARSE_H
#define DIFFENS_CLI_PARSE_H

#include "cli/commands.h"

struct ensemble;
struct option;
struct page;

enum parse_outcome {
    PARSE_RUN,     /* run `command` with the options */
    PARSE_HELP,    /* print `page`, or where it is NULL the help of `command`, or where
                      that is NULL, too, that of the program */
    PARSE_VERSION, /* print the version */
    PARSE_ERROR,   /* `e` is set */
};

struct parsed {
    const struct command *command;
    const struct page *page;
    bool brief;             /* the main options alone */
    struct options options; /* texts point into argv */
};

/* Reads a command line, then for what it leaves open the file of --config, then the
 * environment. Start from a zeroed `parsed`; whatever the outcome, the caller ends with
 * options_free(). The result does not depend on the locale. */
enum parse_outcome options_parse(int argc, char *const *argv, struct parsed *parsed,
                                 struct err *e);

/* What a command's options are where nobody gives any, neither a file nor the
 * environment. The caller ends with options_free(). */
bool options_set_defaults(const struct command *command, struct parsed *out,
                          struct err *e);

/* What goes together and what does not (ERR_USAGE, both options named). */
bool options_check(const struct options *o, struct err *e);

/* Whether an option that is given rules this one out. */
bool option_is_overruled(const struct options *o, const struct option *option);

/* Takes the ensemble's own defaults, and over them the preset's settings, for what nobody
 * gave; texts then may point into the ensemble. ERR_INPUT for what is no value of the
 * option. */
bool options_tune(struct options *o, const struct ensemble *s, struct err *e);

#endif
