/* former.h: the run that a directory holds already, by its own files: run.json with the
 * lines of the journal on top, for whoever goes on with a run, joins runs or looks at
 * them. Both files are untrusted. Leaves whether it is the same run as another to
 * resume.c. */
#ifndef DIFFENS_RUN_FORMER_H
#define DIFFENS_RUN_FORMER_H

#include "diffens/error.h"
#include "io/json.h"

/* Of run.json and run.journal: a higher one is of a diffens that this one cannot go on
 * for. */
#define RECORD_FORMAT 1

/* A picture; texts belong to the run. */
struct former_cell {
    const struct json *planned; /* its object in run.json */
    const char *file;           /* inside the directory */
    const char *state;          /* "planned", "done", or why it is not there */
    const char *sha256;         /* of the file; "" where it is not done */
    const char *pixels_sha256;  /* of its part of images.npy; "" where it has none */
    double seconds;
};

/* Any file that the run made or may have made, pictures included. */
struct former_file {
    const char *file;
    const char *sha256; /* "" where it is not known, or a cell's */
};

/* Start from `{0}`. */
struct former_run {
    struct json_document record, journal;
    const char *state; /* "running", "stopped", "failed", "complete"; NULL: no run */
    int64_t case_count;
    const char **case_names;   /* [case_count] */
    struct former_cell *cells; /* in the order of run.json */
    int cell_count;
    struct former_file *files; /* sorted by name */
    int file_count;
    const struct json *
        *outcomes; /* [case_count]: what a stage says of the case, or NULL */
    int dropped;   /* lines of the journal that are torn or make no sense */
};

/* Whether this diffens knows what such a record says, an object. ERR_INPUT with both
 * numbers where a newer one has made it. */
bool former_run_check_format(const struct json *record, struct err *e);

/* Reads them, if they are there. ERR_INPUT where run.json is not a record. */
bool former_run_open(struct former_run *f, const char *directory, struct err *e);

/* The file of that name, or NULL. */
const struct former_file *former_run_file(const struct former_run *f, const char *file);

/* The hash of a weight file, from run.json or the journal; "" where it is not known.
 * `network` and `file` count within run.json's lists. */
const char *former_run_weights(const struct former_run *f, int network, int file);

/* Removes the files that the record lists, what the run kept for itself, folders that
 * become empty, and the record last. */
bool former_run_remove(const struct former_run *f, const char *directory, struct err *e);

/* Accepts a zeroed object. */
void former_run_close(struct former_run *f);

#endif
