/* directory.h: the folder that a run fills. Leaves what is recorded about it to record.h.
 */
#ifndef DIFFENS_RUN_DIRECTORY_H
#define DIFFENS_RUN_DIRECTORY_H

#include "diffens/error.h"
#include "io/json.h"

#define RUN_RECORD "run.json"

/* Makes the folder of a run; *path (free()) is its name. With `out` NULL it is the first
 * free diffens-runs/COMMAND-001, -002, ..., taken atomically. A given folder is made
 * where it is missing. One that holds a run is refused (ERR_INPUT) unless `force`.
 * ERR_OUTPUT where nothing can be written. *made says whether the folder is new. */
bool run_directory_make(const char *out, const char *command, bool force, char **path,
                        bool *made, struct err *e);

/* Removes a folder that run_directory_make() made and that stayed empty. */
void run_directory_discard(const char *path);

/* The files of the run that a directory holds already, by its own record. Start from
 * `{0}`. */
struct former_run {
    struct json_document record;
    const struct json *files; /* NULL: there is no run */
};

/* Reads the record, if there is one. ERR_INPUT where it is not one. */
bool former_run_open(struct former_run *f, const char *directory, struct err *e);
bool former_run_lists(const struct former_run *f, const char *file);

/* Removes the files that the record lists, folders that become empty, and the record. */
bool former_run_remove(const struct former_run *f, const char *directory, struct err *e);

/* Accepts a zeroed object. */
void former_run_close(struct former_run *f);

/* Makes a folder inside, unless it is there. */
bool run_directory_make_folder(const char *directory, const char *name, struct err *e);

/* True for a relative path without "..", "." or empty parts: what a record may list. */
bool run_directory_inside(const char *path);

#endif
