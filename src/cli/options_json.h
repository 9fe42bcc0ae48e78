/* options_json.h: resolved options as JSON, for records and --print-config. */
#ifndef DIFFENS_CLI_OPTIONS_JSON_H
#define DIFFENS_CLI_OPTIONS_JSON_H

#include "diffens/options.h"
#include "io/json_write.h"

/* Writes an object with every option of the command, by its name; null where it is not
 * set. Absolute paths are cut down to their last part. */
void options_write(struct json_writer *w, const struct options *o);

/* The same as config_read() reads it: paths as given, and null for options that those
 * given rule out. */
void options_write_config(struct json_writer *w, const struct options *o);

/* Whether a run may go on with another value of that option: it does not change the
 * pictures, or what it names is recorded by itself. */
bool options_may_change(const char *name);

/* The same without what does not change a picture: where files go, what is printed. */
void options_write_settings(struct json_writer *w, const struct options *o);

#endif
