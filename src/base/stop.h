/* stop.h: whether the program was asked to stop, by a signal or by the clock. Leaves
 * saving to whoever asks in its loop, and files to the function that is handed over. */
#ifndef DIFFENS_STOP_H
#define DIFFENS_STOP_H

#include "diffens/error.h"

/* Installs the handlers; once, before work begins.
 * - SIGTERM, SIGUSR1, SIGHUP, SIGXCPU, SIGINT: from now on stop_asked() is true. One that
 *   was ignored, as under nohup, stays ignored. A second SIGINT ends the program at once.
 * - SIGPIPE, SIGXFSZ: ignored, so that the write fails instead.
 * - SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL: a line that asks for a report, then the
 *   default.
 * `clean` is called before an end at once; it must be async-signal-safe. */
void stop_install(void (*clean)(void));

/* Asks to stop this many seconds after stop_install(); 0: never. */
void stop_set_time_limit(double seconds);

/* As a signal would, where there is none: for tests. */
void stop_request(int signal);

/* Cheap enough for every step of a loop. */
bool stop_asked(void);

/* False with ERR_STOPPED, whose message is the reason, once stop_asked(). */
bool stop_check(struct err *e);

/* False like stop_check(), but not before this has found for two seconds that it is asked:
 * for work that is lost when it is broken off, and may end by itself in that time. */
bool stop_check_overdue(struct err *e);

/* Another time than two seconds: for tests. */
void stop_set_patience(double seconds);

/* "SIGTERM", "--time-limit"; NULL while nobody has asked. */
const char *stop_reason(void);

/* After SIGINT, ends the program as that signal does by default; else returns. */
void stop_interrupt(void);

#endif
