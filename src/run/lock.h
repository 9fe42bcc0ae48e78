/* lock.h: one live run per directory, on network file systems too: a file made by link(),
 * which says who holds it. No flock(): it does not reach other hosts everywhere. */
#ifndef DIFFENS_RUN_LOCK_H
#define DIFFENS_RUN_LOCK_H

#include "diffens/error.h"
#include "diffens/progress.h"

#include <sys/types.h>

/* Start from `{0}`. */
struct lock {
    char *path;
    dev_t device;
    ino_t inode;
};

/* Takes the lock of `directory`. ERR_LOCKED names the holder; ERR_OUTPUT, ERR_MEMORY. A
 * stale lock is taken over with a note: its process is gone, the machine was started
 * anew, or the holder was an earlier start of this very Slurm job, which Slurm has
 * requeued. The holder on another host counts as alive otherwise. */
bool lock_take(struct lock *l, const char *directory, const struct progress *progress,
               struct err *e);

/* Gives it back. Accepts a zeroed object. */
void lock_release(struct lock *l);

#endif
