/* faults.c: the calls that may fail. Which call is made to, the server says. */
#include "faults.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>

struct faults *faults;

static const struct {
    const char *name;
    int error;
} kinds[FAULT_KINDS] = {{"allocate", ENOMEM}, {"open", ENFILE},   {"read", EIO},
                        {"write", ENOSPC},    {"flush", EIO},     {"rename", EIO},
                        {"close", EIO},       {"folder", ENOSPC}, {"look", EIO}};

enum fault_kind fault_kind_of(const char *name)
{
    enum fault_kind kind = 0;
    while (kind < FAULT_KINDS && strcmp(kinds[kind].name, name) != 0)
        kind++;
    return kind;
}

/* Counts the call; true, with errno, where it is to fail. */
static bool fails(enum fault_kind kind)
{
    if (!faults)
        return false;
    long call = atomic_fetch_add(&faults->calls[kind], 1) + 1;
    if (faults->kind != (int)kind || call < faults->at ||
        (call > faults->at && !faults->onward))
        return false;
    errno = faults->error ? faults->error : kinds[kind].error;
    return true;
}

/* Every second call is interrupted, the others do half. */
static bool interrupted(enum fault_kind kind, size_t *size)
{
    if (!faults || !faults->hiccup)
        return false;
    if (atomic_load(&faults->calls[kind]) % 2 == 0) {
        *size -= *size / 2;
        return false;
    }
    errno = EINTR;
    return true;
}

/* WRAP(kind, result, what a failure returns, name, parameters, their names) */
#define WRAP(kind, type, failure, name, parameters, names)                               \
    type __real_##name parameters;                                                       \
    type __wrap_##name parameters;                                                       \
    type __wrap_##name parameters                                                        \
    {                                                                                    \
        return fails(kind) ? failure : __real_##name names;                              \
    }

WRAP(FAULT_ALLOCATE, void *, NULL, malloc, (size_t size), (size))
WRAP(FAULT_ALLOCATE, void *, NULL, calloc, (size_t count, size_t size), (count, size))
WRAP(FAULT_ALLOCATE, void *, NULL, realloc, (void *old, size_t size), (old, size))
WRAP(FAULT_ALLOCATE, void *, NULL, reallocarray, (void *old, size_t count, size_t size),
     (old, count, size))
WRAP(FAULT_ALLOCATE, char *, NULL, strdup, (const char *text), (text))
WRAP(FAULT_ALLOCATE, char *, NULL, strndup, (const char *text, size_t size), (text, size))
WRAP(FAULT_OPEN, FILE *, NULL, fopen64, (const char *path, const char *mode),
     (path, mode))
WRAP(FAULT_OPEN, DIR *, NULL, opendir, (const char *path), (path))
WRAP(FAULT_OPEN, int, -1, scandir64,
     (const char *path, struct dirent ***list, int (*wanted)(const struct dirent *),
      int (*order)(const struct dirent **, const struct dirent **)),
     (path, list, wanted, order))
WRAP(FAULT_WRITE, int, -1, fallocate64, (int fd, int mode, off_t start, off_t size),
     (fd, mode, start, size))
WRAP(FAULT_WRITE, int, -1, ftruncate64, (int fd, off_t size), (fd, size))
WRAP(FAULT_FLUSH, int, -1, fsync, (int fd), (fd))
WRAP(FAULT_RENAME, int, -1, rename, (const char *from, const char *to), (from, to))
WRAP(FAULT_RENAME, int, -1, link, (const char *from, const char *to), (from, to))
WRAP(FAULT_RENAME, int, -1, linkat,
     (int from_at, const char *from, int to_at, const char *to, int flags),
     (from_at, from, to_at, to, flags))
WRAP(FAULT_FOLDER, int, -1, mkdir, (const char *path, mode_t mode), (path, mode))
WRAP(FAULT_LOOK, int, -1, stat64, (const char *path, struct stat *out), (path, out))
WRAP(FAULT_LOOK, int, -1, lstat64, (const char *path, struct stat *out), (path, out))
WRAP(FAULT_LOOK, int, -1, fstat64, (int fd, struct stat *out), (fd, out))
WRAP(FAULT_LOOK, int, -1, access, (const char *path, int mode), (path, mode))
WRAP(FAULT_LOOK, int, -1, statvfs64, (const char *path, struct statvfs *out), (path, out))
WRAP(FAULT_LOOK, int, -1, fstatvfs64, (int fd, struct statvfs *out), (fd, out))

#define WRAP_TRANSFER(kind, name, parameters, names)                                     \
    ssize_t __real_##name parameters;                                                    \
    ssize_t __wrap_##name parameters;                                                    \
    ssize_t __wrap_##name parameters                                                     \
    {                                                                                    \
        return fails(kind) || interrupted(kind, &size) ? -1 : __real_##name names;       \
    }

WRAP_TRANSFER(FAULT_READ, read, (int fd, void *out, size_t size), (fd, out, size))
WRAP_TRANSFER(FAULT_READ, pread64, (int fd, void *out, size_t size, off_t at),
              (fd, out, size, at))
WRAP_TRANSFER(FAULT_WRITE, write, (int fd, const void *from, size_t size),
              (fd, from, size))
WRAP_TRANSFER(FAULT_WRITE, pwrite64, (int fd, const void *from, size_t size, off_t at),
              (fd, from, size, at))

/* Waiting before the next try takes no time. */
int __real_nanosleep(const struct timespec *time, struct timespec *left);
int __wrap_nanosleep(const struct timespec *time, struct timespec *left);
int __wrap_nanosleep(const struct timespec *time, struct timespec *left)
{
    return faults ? 0 : __real_nanosleep(time, left);
}

/* The descriptor is closed, as on Linux even where close() fails. */
int __real_close(int fd);
int __wrap_close(int fd);
int __wrap_close(int fd)
{
    bool failed = fails(FAULT_CLOSE);
    int error = errno, status = __real_close(fd);
    if (failed)
        errno = error;
    return failed ? -1 : status;
}

int __real_open64(const char *path, int flags, mode_t mode);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...)
{
    size_t none = 0;
    va_list rest;
    va_start(rest, flags);
    mode_t mode = va_arg(rest, mode_t);
    va_end(rest);
    return fails(FAULT_OPEN) || interrupted(FAULT_OPEN, &none)
               ? -1
               : __real_open64(path, flags, mode);
}
