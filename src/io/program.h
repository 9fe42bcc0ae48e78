/* program.h: another program, fed with bytes through its standard input. No shell is
 * involved. Leaves what it makes of them to the callers. */
#ifndef DIFFENS_PROGRAM_H
#define DIFFENS_PROGRAM_H

#include "diffens/error.h"

#include <stddef.h>
#include <sys/types.h>

/* A program at work. Start from `{0}`. */
struct program {
    const char *name;
    pid_t pid;    /* 0: none */
    int input;    /* its standard input; -1 when closed */
    int messages; /* what it says, a file in memory */
};

/* Whether $PATH leads to a program of that name. */
bool program_is_there(const char *name);

/* Starts the program `arguments[0]` of $PATH, in a process group of its own, so that a
 * Ctrl-C at the terminal is this program's alone to heed. `arguments` ends with NULL and
 * outlives it. ERR_OUTPUT. */
bool program_start(struct program *p, char *const *arguments, struct err *e);

/* False when it listens no longer: program_end() says why. */
bool program_write(const struct program *p, const void *bytes, size_t size);

/* Ends its input and waits for it. ERR_OUTPUT with the first line that it said, about
 * `path`, unless it ends with 0. */
bool program_end(struct program *p, const char *path, struct err *e);

/* Kills it. Accepts a zeroed or ended object. */
void program_abandon(struct program *p);

#endif
