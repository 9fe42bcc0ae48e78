/* error.h: the only error type. Leaves printing to main.c, and tensor errors to tc.h's
 * sticky error until tc_check() turns them into one of these. */
#ifndef DIFFENS_ERROR_H
#define DIFFENS_ERROR_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Exit statuses of the program; the README documents each. */
enum err_code {
    ERR_OK = 0,
    ERR_BUG = 1,       /* please report */
    ERR_USAGE = 2,     /* command line */
    ERR_INPUT = 3,     /* bad or missing input */
    ERR_OUTPUT = 4,    /* output cannot be written */
    ERR_MEMORY = 5,    /* out of memory after every fallback */
    ERR_NONFINITE = 6, /* non-finite numbers after the fp32 retry */
    ERR_DEVICE = 7,    /* no such device, or it broke */
    ERR_LOCKED = 8,    /* another live run holds the directory */
    ERR_STOPPED = 75,  /* stopped on request, state saved */
};

/* One failure: `message` says file, field, found, expected; `hint`, when not empty, what
 * to do about it. Start from `struct err e = {0}`. */
struct err {
    int code; /* enum err_code; 0 while nothing failed */
    char message[1024];
    char hint[1024];
};

/* Records a failure unless one is already recorded: the first cause is the one that is
 * reported. Returns false, so that callers can write `return err_set(e, ...)`. */
bool err_set(struct err *e, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Records a failure that happened further down, with its hint; `path`, unless NULL, is
 * put in front as by err_in_file(). Returns false. */
bool err_from(struct err *e, const struct err *cause, const char *path);

/* Gives a recorded failure its hint, in the place of one that it had. Returns false. */
bool err_hint(struct err *e, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Puts "<path>: ", escaped, in front of the message of a failure that does not name its
 * file yet. Returns false. */
bool err_in_file(struct err *e, const char *path);

#ifdef __cplusplus
}
#endif

#endif
