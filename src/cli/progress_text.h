/* progress_text.h: a report as text. Leaves when and where it appears to display.c. */
#ifndef DIFFENS_CLI_PROGRESS_TEXT_H
#define DIFFENS_CLI_PROGRESS_TEXT_H

#include "base/str.h"
#include "cli/progress_pace.h"

/* Where columns end and what may be in them. */
struct bar_style {
    int columns; /* of the terminal */
    bool utf8, color;
};

/* Adds "generate: model poster, case 003, step 20/50; 3 of 12 done, ..." */
void progress_add_plain(struct str *out, const struct progress_at *at,
                        const struct pace *p);

/* Adds an object of "type" "progress" (README, "Progress for programs"). */
void progress_add_json(struct str *out, const struct progress_at *at,
                       const struct pace *p);

/* Adds one line, without a newline, that leaves the last column free. Returns the columns
 * it takes. */
int progress_add_bar(struct str *out, const struct progress_at *at, const struct pace *p,
                     const struct bar_style *style);

/* "0:41", "12:03", "3:00:09". Returns `text`. */
const char *progress_duration(double seconds, char text[32]);

#endif
