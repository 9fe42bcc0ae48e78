/* commands.h: the table of commands. Leaves their options to option_table.h. */
#ifndef DIFFENS_CLI_COMMANDS_H
#define DIFFENS_CLI_COMMANDS_H

#include "diffens/options.h"

#include "diffens/error.h"

#include <stddef.h>

struct command {
    const char *name;
    enum command_bit bit;
    const char *summary; /* one line of --help */
    const char *about;   /* what `diffens COMMAND --help` begins with */
    const char *examples[4];
    const char *operands; /* as usage names them: "PATH"; NULL: options only */
    int operands_least, operands_most;
    bool (*run)(const struct options *o, struct err *e);
};

extern const struct command command_table[];
extern const int command_count;

/* NULL when there is none of that name. */
const struct command *command_find(const char *name);
const struct command *command_of(enum command_bit bit);

/* one file each in src/cli */
bool command_generate(const struct options *o, struct err *e);
bool command_blend(const struct options *o, struct err *e);
bool command_optimize(const struct options *o, struct err *e);
bool command_inspect(const struct options *o, struct err *e);
bool command_merge(const struct options *o, struct err *e);
bool command_models(const struct options *o, struct err *e);
bool command_doctor(const struct options *o, struct err *e);

#endif
