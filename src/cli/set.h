/* set.h: giving an option its value, wherever that comes from. */
#ifndef DIFFENS_CLI_SET_H
#define DIFFENS_CLI_SET_H

#include "cli/value.h"

#include "diffens/error.h"

/* Reads `value` into the option's field, notes where it came from, and adds the option to
 * the command line that the record shows. A text must live as long as the options. */
enum value_result option_set(struct options *o, const struct option *option,
                             const char *value, enum option_source source);

/* Adds a word to the command line that the record shows; takes it over, NULL included.
 * False when memory is out. */
bool option_add_argument(struct options *o, char *argument);

/* After a refused value: a hint at the choice that was probably meant. Returns false. */
bool option_hint_value(const struct option *option, const char *value, struct err *e);

/* After a refused name: a hint at the option that was probably meant, or at the command
 * that has it. Returns false. */
bool option_hint_name(const char *name, enum command_bit command, struct err *e);

#endif
