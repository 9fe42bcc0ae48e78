/* file.c: reading regular files. Leaves formats to the readers and writing to publish.c.
 */
#include "io/file.h"

#include "base/stop.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { STOP_LOOK_MS = 200 };

static const char *kind_of(mode_t mode)
{
    if (S_ISDIR(mode))
        return "a directory";
    if (S_ISFIFO(mode))
        return "a FIFO";
    return "a device";
}

int file_open(const char *path, uint64_t *size, struct err *e)
{
    /* Without O_NONBLOCK, opening a FIFO would wait for a writer. */
    int fd;
    do
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    while (fd < 0 && errno == EINTR);
    if (fd < 0) {
        if (errno == ENOENT || errno == ENOTDIR)
            err_set(e, ERR_INPUT, "%s: found no such file (%s), expected one",
                    STR_SHOW(path), strerror(errno));
        else
            err_set(e, ERR_INPUT, "%s: open: %s", STR_SHOW(path), strerror(errno));
        return -1;
    }
    struct stat info;
    if (fstat(fd, &info) != 0) {
        err_set(e, ERR_INPUT, "%s: stat: %s", STR_SHOW(path), strerror(errno));
    } else if (!S_ISREG(info.st_mode)) {
        err_set(e, ERR_INPUT, "%s: found %s, expected a regular file", STR_SHOW(path),
                kind_of(info.st_mode));
    } else {
        *size = (uint64_t)info.st_size;
        return fd;
    }
    close(fd);
    return -1;
}

bool file_hint_missing(const char *path, const char *hint, struct err *e)
{
    return e->code == ERR_INPUT && access(path, F_OK) != 0 && err_hint(e, "%s", hint);
}

void file_close(int fd)
{
    if (fd >= 0)
        close(fd);
}

/* Waits before the n-th retry: 10, 50, 250 ms. */
static bool retry(int error, int *tries)
{
    if ((error != EIO && error != ESTALE) || *tries >= 3)
        return false;
    long milliseconds = 10;
    for (int i = 0; i < *tries; i++)
        milliseconds *= 5;
    nanosleep(&(struct timespec){0, milliseconds * 1000000}, NULL);
    (*tries)++;
    return true;
}

bool file_read_at(int fd, void *out, size_t size, uint64_t offset, const char *path,
                  struct err *e)
{
    char *bytes = out;
    size_t done = 0;
    int tries = 0;
    while (done < size) {
        ssize_t got = pread(fd, bytes + done, size - done, (off_t)(offset + done));
        if (got > 0) {
            done += (size_t)got;
            tries = 0;
        } else if (got == 0) {
            return err_set(e, ERR_INPUT,
                           "%s: found end of file at byte %" PRIu64
                           ", expected %zu bytes "
                           "from byte %" PRIu64,
                           STR_SHOW(path), offset + done, size, offset);
        } else if (errno != EINTR && !retry(errno, &tries)) {
            return err_set(e, ERR_INPUT, "%s: read at byte %" PRIu64 ": %s",
                           STR_SHOW(path), offset + done, strerror(errno));
        }
    }
    return true;
}

static bool too_long(const char *path, enum limit limit, struct err *e)
{
    err_set(e, ERR_INPUT, "%s: found more than %" PRIu64 " bytes, expected at most that",
            STR_SHOW(path), limit_of(limit));
    return limit_hint(limit, e);
}

bool file_read_all(const char *path, enum limit limit, char **bytes, size_t *size,
                   struct err *e)
{
    *bytes = NULL;
    uint64_t file_size;
    int fd = file_open(path, &file_size, e);
    if (fd < 0)
        return false;
    bool ok = false;
    if (file_size > limit_of(limit)) {
        too_long(path, limit, e);
        goto done;
    }
    *size = (size_t)file_size;
    *bytes = malloc(*size + 1);
    if (!*bytes) {
        err_set(e, ERR_MEMORY, "%s: out of memory for %zu bytes", STR_SHOW(path), *size);
        goto done;
    }
    (*bytes)[*size] = 0;
    ok = file_read_at(fd, *bytes, *size, 0, path, e);
    if (!ok) {
        free(*bytes);
        *bytes = NULL;
    }
done:
    close(fd);
    return ok;
}

bool file_read_stream(int fd, const char *name, enum limit limit, char **bytes,
                      size_t *size, struct err *e)
{
    struct str text = {0};
    char block[65536];
    ssize_t got = 1;
    int tries = 0;
    *bytes = NULL;
    while (got != 0 && text.size <= limit_of(limit) && !text.failed) {
        /* A read that waits would not end when the program is asked to stop. */
        if (!stop_check(e))
            goto done;
        if (poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, STOP_LOOK_MS) < 1)
            continue;
        got = read(fd, block, sizeof block);
        if (got > 0)
            str_add_bytes(&text, block, (size_t)got);
        else if (got < 0 && errno != EINTR && !retry(errno, &tries))
            break;
    }
    *size = text.size;
    if (got < 0)
        err_set(e, ERR_INPUT, "%s: read at byte %zu: %s", STR_SHOW(name), text.size,
                strerror(errno));
    else if (text.size > limit_of(limit))
        too_long(name, limit, e);
    else if (!(*bytes = str_take(&text)))
        err_set(e, ERR_MEMORY, "%s: out of memory after %zu bytes", STR_SHOW(name),
                *size);
done:
    str_free(&text);
    return *bytes != NULL;
}

/* In unsigned numbers: a file system may say any second. */
static int64_t nanoseconds(const struct timespec *t)
{
    return (int64_t)((uint64_t)t->tv_sec * 1000000000u + (uint64_t)t->tv_nsec);
}

bool file_stamp_take(const char *path, struct file_stamp *out)
{
    struct stat st;
    *out = (struct file_stamp){0};
    if (stat(path, &st) != 0)
        return false;
    *out = (struct file_stamp){.size = (uint64_t)st.st_size,
                               .inode = (uint64_t)st.st_ino,
                               .modified = nanoseconds(&st.st_mtim),
                               .changed = nanoseconds(&st.st_ctim)};
    return true;
}

bool file_stamp_equal(const struct file_stamp *a, const struct file_stamp *b)
{
    return a->size == b->size && a->inode == b->inode && a->modified == b->modified &&
           a->changed == b->changed;
}

bool file_sha256(const char *path, char hex[SHA256_HEX], struct err *e)
{
    enum { BLOCK = 1 << 20, UNSTOPPED = 16 << 20 };
    uint64_t size;
    int fd = file_open(path, &size, e);
    if (fd < 0)
        return false;
    bool ok = true;
    char *block = malloc(BLOCK);
    if (!block)
        ok = err_set(e, ERR_MEMORY, "%s: out of memory for %d bytes", STR_SHOW(path),
                     BLOCK);
    struct sha256 digest;
    sha256_begin(&digest);
    for (uint64_t at = 0; ok && at < size;) {
        size_t take = size - at < BLOCK ? (size_t)(size - at) : BLOCK;
        ok = (at < UNSTOPPED || stop_check(e)) &&
             file_read_at(fd, block, take, at, path, e);
        if (ok)
            sha256_add(&digest, block, take);
        at += take;
    }
    if (ok)
        sha256_end(&digest, hex);
    free(block);
    close(fd);
    return ok;
}
