/* value.h: reading one option's value. */
#ifndef DIFFENS_CLI_VALUE_H
#define DIFFENS_CLI_VALUE_H

#include "cli/option_table.h"

/* What became of a value. */
enum value_result { VALUE_OK, VALUE_WRONG, VALUE_NO_MEMORY };

/* Reads `text` into the option's field of `o`. VALUE_WRONG: not what option_expected()
 * says. Does not depend on the locale. A list of names is replaced, a set of weights is
 * added. */
enum value_result value_read(const struct option *option, const char *text,
                             struct options *o);

/* A decimal number, as 12, 0.5, .5 or 1e-3, without sign but "-"; all of text[0..length).
 * False when it is anything else, or not finite. */
bool value_number(const char *text, size_t length, double *out);

/* Decimal digits only; false also when the number is above 2^64-1. */
bool value_digits(const char *text, size_t length, uint64_t *out);

#endif
