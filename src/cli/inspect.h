/* inspect.h: what the parts of `diffens inspect` share. */
#ifndef DIFFENS_CLI_INSPECT_H
#define DIFFENS_CLI_INSPECT_H

#include "base/str.h"
#include "io/json.h"

/* The command line of a run without what does not change its pictures: where they go and
 * what is printed meanwhile. `arguments` are those of the record; `ensemble`, the name
 * that was found, is added where none was given; `stream`, or NULL, is what its standard
 * input had. False with ERR_INPUT for an option that the command does not have;
 * ERR_MEMORY. */
bool command_line_of_run(struct str *out, char *const *arguments, int count,
                         const char *ensemble, const char *stream, struct err *e);

/* The same for the record of a run (run.json), and for that of one picture: the command
 * that makes this picture alone, with the same bytes; with --images the cases beside it
 * too. Untrusted; ERR_INPUT. */
bool inspect_run_command(struct str *out, const struct json *record, struct err *e);
bool inspect_picture_command(struct str *out, const struct json *record, struct err *e);

/* The record as aligned text, everything in it escaped. */
bool inspect_run_text(struct str *out, const struct json *record, struct err *e);
void inspect_picture_text(struct str *out, const struct json *record);

#endif
