/* hash_index.h: SHA-256 of files with what the file system said of them then: run.hashes,
 * which spares a run that goes on reading what nobody has touched, as git's index does.
 * A file that looks otherwise (its size, inode, time of change or of modification; all
 * files of a copied directory do) is read, so that the index decides nothing but how long
 * it takes; without one, or with a damaged one, everything is read. Leaves what a hash
 * should be to resume.c. */
#ifndef DIFFENS_RUN_HASH_INDEX_H
#define DIFFENS_RUN_HASH_INDEX_H

#include "base/sha256.h"
#include "io/file.h"

#include <stddef.h>

/* Start from `{0}`. */
struct hash_index {
    struct hash_entry *entries;
    size_t found; /* the first so many: as run.hashes has them, by name */
    size_t count; /* with what was noted since then, in the order of time */
    size_t room;
};

/* Reads the index of a run directory, where there is one that makes sense. */
void hash_index_open(struct hash_index *x, const char *directory);

/* Whether `hex` was noted under `name` when what it is of looked as it does now; a false
 * entry is like none. */
bool hash_index_knows(struct hash_index *x, const char *name,
                      const struct file_stamp *stamp, const char *hex);

/* Whether the SHA-256 of the file at `path` is `expected`, as far as the index knows. */
bool hash_index_knows_file(struct hash_index *x, const char *name, const char *path,
                           const char *expected);

/* Reads the file, and notes its SHA-256 under `name`. ERR_INPUT, ERR_MEMORY, ERR_STOPPED.
 */
bool hash_index_file(struct hash_index *x, const char *name, const char *path,
                     char hex[SHA256_HEX], struct err *e);

/* Notes what is no file's SHA-256. */
void hash_index_note(struct hash_index *x, const char *name,
                     const struct file_stamp *stamp, const char *hex);

/* Publishes what is known, unless run.hashes says all of it. It is there to spare time:
 * where it cannot be written, it is not. */
void hash_index_save(const struct hash_index *x, const char *directory);

/* Accepts a zeroed index. */
void hash_index_close(struct hash_index *x);

#endif
