/* publish.h: files that are complete under their final name, or not there. Leaves what is
 * in them to the callers.
 *
 * A file is written beside its final name as `.<name>.tmp.<host>.<pid>.<random>`,
 * flushed, closed and renamed, and the directory is flushed. Temporaries never outlive a
 * failure. */
#ifndef DIFFENS_PUBLISH_H
#define DIFFENS_PUBLISH_H

#include "diffens/error.h"

#include <stddef.h>
#include <stdint.h>

/* One file on its way. Start from `{0}`. */
struct publish {
    char *path, *temporary;
    int fd;   /* -1 when closed; valid after publish_begin() */
    int slot; /* in the registry of live temporaries */
    uint64_t written;
};

/* Creates the temporary. False with ERR_OUTPUT, or ERR_MEMORY; then `p` needs no end. */
bool publish_begin(struct publish *p, const char *path, struct err *e);

/* Appends bytes. After a failure the caller still calls publish_abandon(). */
bool publish_write(struct publish *p, const void *bytes, size_t size, struct err *e);

/* Makes the file durable and visible under its final name, replacing one that exists.
 * Ends `p`; on failure the temporary is gone and what existed is unchanged, but that a
 * directory which cannot be flushed holds the new file already, whole. */
bool publish_commit(struct publish *p, struct err *e);

/* The same, but *fd stays open for reading and writing, for files that are filled in
 * later. The caller closes it. */
bool publish_commit_open(struct publish *p, int *fd, struct err *e);

/* Removes the temporary. Accepts a zeroed or ended object. */
void publish_abandon(struct publish *p);

/* All of it at once. */
bool publish_bytes(const char *path, const void *bytes, size_t size, struct err *e);

/* A name beside `path` that nothing has yet, as above: what is left under it by a process
 * that was killed, publish_remove_stale() removes. The caller frees it; NULL when memory
 * is out. */
char *publish_temporary_path(const char *path);

/* Removes every temporary of this process: for exit and signal handlers
 * (async-signal-safe). */
void publish_unlink_live(void);

/* Removes temporaries in `directory` that processes of this host left which are no longer
 * there; *removed (may be NULL) says how many. */
bool publish_remove_stale(const char *directory, int *removed, struct err *e);

#endif
