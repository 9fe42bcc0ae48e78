/* terminal.h: one line on standard error that is drawn again and again, and taken away
 * before anything else is written. Leaves what is in it to the caller. */
#ifndef DIFFENS_CLI_TERMINAL_H
#define DIFFENS_CLI_TERMINAL_H

#include "base/str.h"

/* Start from `{0}`, which draws nothing. */
struct terminal {
    bool usable; /* standard error is a terminal on which a line can be drawn again */
    bool utf8;   /* the locale's characters */
    bool color;  /* usable, and not ruled out by NO_COLOR (https://no-color.org) */
    int drawn;   /* private: columns of the line that stands there, */
    int width;   /* and of the terminal when it was drawn */
};

void terminal_open(struct terminal *t);

/* Columns at this moment. */
int terminal_columns(void);

/* Draws `line`, which takes `columns`, in place of the one before. */
void terminal_draw(struct terminal *t, const struct str *line, int columns);

/* Takes the line away. */
void terminal_clear(struct terminal *t);

#endif
