/* file.h: reading regular files, with retries where a network file system asks for them.
 * Leaves formats to the readers and writing to publish.h. */
#ifndef DIFFENS_FILE_H
#define DIFFENS_FILE_H

#include "base/sha256.h"
#include "diffens/error.h"
#include "io/limits.h"

#include <stddef.h>
#include <stdint.h>

/* Opens a regular file for reading (close-on-exec) and says how long it is. -1 with
 * ERR_INPUT: missing, unreadable, or a directory, FIFO or device. */
int file_open(const char *path, uint64_t *size, struct err *e);

/* Gives a failure to read a file that is not there its hint: what to name instead.
 * Returns false. */
bool file_hint_missing(const char *path, const char *hint, struct err *e);

/* Accepts -1. */
void file_close(int fd);

/* Reads exactly `size` bytes from `offset`. Interrupted and short reads go on; EIO and
 * ESTALE are retried three times. False with ERR_INPUT, which names path and offset. */
bool file_read_at(int fd, void *out, size_t size, uint64_t offset, const char *path,
                  struct err *e);

/* Reads a whole file, of at most so many bytes, into memory that the caller frees. A NUL
 * that *size does not count follows the bytes. */
bool file_read_all(const char *path, enum limit limit, char **bytes, size_t *size,
                   struct err *e);

/* The same from an open descriptor that need not be a regular file (standard input),
 * until its end; `name` stands in messages. */
bool file_read_stream(int fd, const char *name, enum limit limit, char **bytes,
                      size_t *size, struct err *e);

/* What the file system says of a file: as long as it is the same, nobody has changed it.
 * Times in nanoseconds since 1970; the later one is of its name and mode, too. */
struct file_stamp {
    uint64_t size, inode;
    int64_t modified, changed;
};

/* False, with errno, where it cannot be looked at. */
bool file_stamp_take(const char *path, struct file_stamp *out);
bool file_stamp_equal(const struct file_stamp *a, const struct file_stamp *b);

/* SHA-256 of a file's bytes. ERR_STOPPED in those beyond the first 16 MiB: a picture that
 * was just made is not lost over it. */
bool file_sha256(const char *path, char hex[SHA256_HEX], struct err *e);

#endif
