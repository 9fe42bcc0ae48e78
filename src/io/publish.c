/* publish.c: files that are complete under their final name, or not there. Leaves what is
 * in them to the callers. */
#include "io/publish.h"

#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* Live temporaries, where a signal handler can reach them: a slot is filled before it is
 * marked live. */
enum { SLOTS = 16 };
enum slot_state { SLOT_FREE, SLOT_TAKEN, SLOT_LIVE };
static struct {
    atomic_int state;
    char path[PATH_MAX];
} live[SLOTS];

static int register_live(const char *path)
{
    for (int i = 0; i < SLOTS && strlen(path) < PATH_MAX; i++) {
        int expected = SLOT_FREE;
        if (!atomic_compare_exchange_strong(&live[i].state, &expected, SLOT_TAKEN))
            continue;
        strcpy(live[i].path, path);
        atomic_store(&live[i].state, SLOT_LIVE);
        return i;
    }
    return -1;
}

static void unregister(int slot)
{
    if (slot >= 0)
        atomic_store(&live[slot].state, SLOT_FREE);
}

void publish_unlink_live(void)
{
    int error = errno;
    for (int i = 0; i < SLOTS; i++)
        if (atomic_load(&live[i].state) == SLOT_LIVE)
            unlink(live[i].path);
    errno = error;
}

static bool fail(const struct publish *p, const char *doing, int error, struct err *e)
{
    char space[96] = "";
    struct statvfs disk;
    if ((error == ENOSPC || error == EDQUOT) && p->fd >= 0 && fstatvfs(p->fd, &disk) == 0)
        snprintf(space, sizeof space,
                 ": %" PRIu64 " bytes written, %" PRIu64 " bytes free", p->written,
                 (uint64_t)disk.f_bavail * disk.f_frsize);
    return err_set(e, ERR_OUTPUT, "%s: %s: %s%s", STR_SHOW(p->path), doing,
                   strerror(error), space);
}

/* The host's name as a part of a file name: dots would end the part. */
static void host_part(char out[33])
{
    char name[HOST_NAME_MAX + 1] = "";
    gethostname(name, sizeof name - 1);
    int size = 0;
    for (const char *c = name; *c && size < 32; c++) {
        bool plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
                     (*c >= '0' && *c <= '9') || *c == '-';
        out[size++] = plain ? *c : '_';
    }
    if (size == 0)
        out[size++] = '_';
    out[size] = 0;
}

/* A long name is cut so that the whole stays within NAME_MAX. */
char *publish_temporary_path(const char *path)
{
    char host[33];
    host_part(host);
    uint64_t random = 0;
    if (getrandom(&random, sizeof random, 0) != sizeof random)
        random = (uint64_t)(uintptr_t)path;
    const char *name = str_file_name(path);
    struct str out = {0};
    str_add_bytes(&out, path, (size_t)(name - path));
    str_addf(&out, ".%.160s.tmp.%s.%ld.%016" PRIx64, name, host, (long)getpid(), random);
    return str_take(&out);
}

bool publish_begin(struct publish *p, const char *path, struct err *e)
{
    *p = (struct publish){.path = str_dup(path), .fd = -1, .slot = -1};
    p->temporary = p->path ? publish_temporary_path(path) : NULL;
    if (!p->temporary) {
        publish_abandon(p);
        return err_set(e, ERR_MEMORY, "%s: out of memory", STR_SHOW(path));
    }
    /* Registered first: a signal between creating and registering would leave it behind.
     */
    p->slot = register_live(p->temporary);
    if (p->slot < 0) {
        err_set(e, ERR_OUTPUT,
                "%s: found more than %d files being written or a path "
                "of more than %d bytes",
                STR_SHOW(path), SLOTS, PATH_MAX - 1);
        publish_abandon(p);
        return false;
    }
    do
        p->fd =
            open(p->temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
    while (p->fd < 0 && errno == EINTR);
    if (p->fd >= 0)
        return true;
    fail(p, "create", errno, e);
    publish_abandon(p);
    return false;
}

bool publish_write(struct publish *p, const void *bytes, size_t size, struct err *e)
{
    const char *from = bytes;
    for (size_t done = 0; done < size;) {
        /* Linux writes at most 2^31 bytes at once. */
        size_t take = size - done < (1u << 30) ? size - done : 1u << 30;
        ssize_t put = write(p->fd, from + done, take);
        if (put > 0) {
            done += (size_t)put;
            p->written += (uint64_t)put;
        } else if (put == 0 || (errno != EINTR && errno != EAGAIN)) {
            return fail(p, "write", put == 0 ? ENOSPC : errno, e);
        }
    }
    return true;
}

/* Some file systems cannot flush directories; that the rename is not durable there does
 * not make the file wrong. */
static bool flush_directory(const struct publish *p, struct err *e)
{
    size_t size = (size_t)(str_file_name(p->path) - p->path);
    struct str directory = {0};
    if (size == 0)
        str_add(&directory, ".");
    str_add_bytes(&directory, p->path, size);
    if (directory.failed)
        return err_set(e, ERR_MEMORY, "%s: out of memory", STR_SHOW(p->path));
    int fd;
    do
        fd = open(str_text(&directory), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    while (fd < 0 && errno == EINTR);
    str_free(&directory);
    if (fd < 0)
        return errno == EACCES || fail(p, "open its directory", errno, e);
    bool ok = fsync(fd) == 0 || errno == EINVAL || errno == ENOTSUP ||
              fail(p, "flush its directory", errno, e);
    close(fd);
    return ok;
}

/* The descriptor goes to *keep, or is closed before the name changes: some network file
 * systems say only then that there was no room. */
static bool put_in_place(struct publish *p, int *keep, struct err *e)
{
    if (fsync(p->fd) != 0)
        return fail(p, "flush", errno, e);
    int fd = p->fd;
    if (!keep) {
        p->fd = -1;
        if (close(fd) != 0)
            return fail(p, "close", errno, e);
    }
    if (rename(p->temporary, p->path) != 0)
        return fail(p, "rename", errno, e);
    unregister(p->slot);
    p->slot = -1;
    if (!flush_directory(p, e))
        return false;
    if (keep) {
        *keep = fd;
        p->fd = -1;
    }
    return true;
}

bool publish_commit_open(struct publish *p, int *fd, struct err *e)
{
    bool ok = put_in_place(p, fd, e);
    publish_abandon(p);
    return ok;
}

bool publish_commit(struct publish *p, struct err *e)
{
    bool ok = put_in_place(p, NULL, e);
    publish_abandon(p);
    return ok;
}

void publish_abandon(struct publish *p)
{
    if (!p->path)
        return;
    if (p->fd >= 0)
        close(p->fd);
    if (p->slot >= 0) {
        unlink(p->temporary);
        unregister(p->slot);
    }
    free(p->path);
    free(p->temporary);
    *p = (struct publish){.fd = -1, .slot = -1};
}

bool publish_bytes(const char *path, const void *bytes, size_t size, struct err *e)
{
    struct publish p = {0};
    if (!publish_begin(&p, path, e))
        return false;
    bool ok = publish_write(&p, bytes, size, e) && publish_commit(&p, e);
    publish_abandon(&p);
    return ok;
}

static bool is_live_here(const char *name)
{
    for (int i = 0; i < SLOTS; i++)
        if (atomic_load(&live[i].state) == SLOT_LIVE &&
            strcmp(str_file_name(live[i].path), name) == 0)
            return true;
    return false;
}

/* True for a name that publish_begin() makes, with the pid of its owner, on this host. */
static bool temporary_owner(const char *name, long *pid)
{
    char host[33], mark[48];
    host_part(host);
    snprintf(mark, sizeof mark, ".tmp.%s.", host);
    const char *found = name[0] == '.' ? strstr(name + 1, mark) : NULL;
    for (const char *later = found; later; later = strstr(later + 1, mark))
        found = later;
    if (!found)
        return false;
    const char *number = found + strlen(mark);
    char *end;
    errno = 0;
    *pid = strtol(number, &end, 10);
    return errno == 0 && number[0] >= '1' && number[0] <= '9' && *pid <= INT_MAX &&
           *end == '.' && strlen(end + 1) == 16 &&
           strspn(end + 1, "0123456789abcdef") == 16;
}

static bool is_stale(const char *name)
{
    long pid;
    if (!temporary_owner(name, &pid))
        return false;
    /* Our own pid, but not in the registry: an earlier process had the same one, as in
     * containers, where they begin at 1. */
    if (pid == (long)getpid())
        return !is_live_here(name);
    return kill((pid_t)pid, 0) != 0 && errno == ESRCH;
}

bool publish_remove_stale(const char *directory, int *removed, struct err *e)
{
    int count = 0;
    DIR *d = opendir(directory);
    if (!d)
        return err_set(e, ERR_OUTPUT, "%s: open directory: %s", STR_SHOW(directory),
                       strerror(errno));
    struct dirent *entry;
    while ((entry = readdir(d)))
        if (is_stale(entry->d_name) && unlinkat(dirfd(d), entry->d_name, 0) == 0)
            count++;
    closedir(d);
    if (removed)
        *removed = count;
    return true;
}
