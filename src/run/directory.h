/* directory.h: the folder that a run fills. Leaves what is in it already to former.h and
 * what is recorded about it to record.h. */
#ifndef DIFFENS_RUN_DIRECTORY_H
#define DIFFENS_RUN_DIRECTORY_H

#include "diffens/error.h"

#define RUN_RECORD "run.json"
#define RUN_JOURNAL "run.journal" /* what happened since run.json was written */
#define RUN_LOCK "run.lock"
#define RUN_HASHES "run.hashes" /* what need not be read again */
#define RUN_CHECKPOINTS "checkpoints"

/* Makes the folder of a run; *path (free()) is its name. With `out` NULL it is the first
 * free diffens-runs/COMMAND-001, -002, ..., taken atomically; or, to `resume`, the last
 * of these that holds a run, if there is one. A given folder is made where it is missing.
 * ERR_OUTPUT where nothing can be written, but for a folder that holds a run to resume,
 * which may be finished. *made says whether the folder is new. */
bool run_directory_make(const char *out, const char *command, bool resume, char **path,
                        bool *made, struct err *e);

/* Refuses a folder that holds a run already (ERR_INPUT). */
bool run_directory_check_new(const char *path, struct err *e);

/* The folder that run_directory_make() would make or take, without making it. ERR_OUTPUT
 * as there, as far as can be told. */
bool run_directory_foresee(const char *out, const char *command, bool resume, char **path,
                           struct err *e);

/* Removes a folder that run_directory_make() made and that stayed empty. */
void run_directory_discard(const char *path);

/* Makes a folder inside, unless it is there. */
bool run_directory_make_folder(const char *directory, const char *name, struct err *e);

/* "PATH: cannot WHAT: " and what errno says, with ERR_OUTPUT. Returns false. */
bool run_directory_fail(struct err *e, const char *path, const char *what);

/* True for a relative path without "..", "." or empty parts: what a record may list. */
bool run_directory_inside(const char *path);

#endif
