/* config_file.h: options from a JSON file (--config). */
#ifndef DIFFENS_CLI_CONFIG_FILE_H
#define DIFFENS_CLI_CONFIG_FILE_H

#include "diffens/options.h"

#include "diffens/error.h"
#include "io/json.h"

/* Takes from the file of --config, where there is one, what the command line leaves open
 * and does not rule out. Its members are named as the options and hold numbers, texts as
 * on the command line, lists as arrays, and true or false; null is the default. ERR_INPUT
 * for what is no option of the command, or no value of the option. */
bool config_read(struct options *o, struct err *e);

/* One member of such a file, or of the options in a record. */
bool config_set_member(struct options *o, const struct json *value, struct err *e);

#endif
