/* journal.h: what happened in a run since its run.json was written: one JSON object a
 * line, one write a line, so that a run that is killed loses at most the line at work.
 * Leaves what the lines say to record.c and former.c. */
#ifndef DIFFENS_RUN_JOURNAL_H
#define DIFFENS_RUN_JOURNAL_H

#include "diffens/error.h"
#include "io/json.h"

/* Start from `{0}`. */
struct journal {
    char *path;
    int fd; /* while `path` is there */
};

/* Begins an empty journal, replacing one that is there. ERR_OUTPUT, ERR_MEMORY. */
bool journal_begin(struct journal *j, const char *directory, struct err *e);

/* Appends `line`, which has no line break. ERR_OUTPUT. */
bool journal_add(struct journal *j, const char *line, struct err *e);

/* Waits until the disk has all lines: before something is there that only they explain.
 * ERR_OUTPUT. */
bool journal_flush(struct journal *j, struct err *e);

/* Removes it, once run.json says all that it says. */
void journal_remove(struct journal *j);

/* Leaves it where it is. Accepts a zeroed object. */
void journal_close(struct journal *j);

/* The lines of the journal in `directory` as one array, empty where there is no journal.
 * Lines that are not JSON, as the last of a run that was killed may be, are left out and
 * added to *dropped. ERR_INPUT, ERR_MEMORY. */
bool journal_read(struct json_document *lines, const char *directory, int *dropped,
                  struct err *e);

#endif
