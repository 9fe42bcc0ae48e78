/* lock.c: takes, judges and gives back the lock of a run directory. A lock file is
 * untrusted: one that cannot be read is a held lock. */
#include "run/lock.h"

#include "base/str.h"
#include "io/config.h"
#include "io/json_write.h"
#include "io/limits.h"
#include "io/publish.h"
#include "run/directory.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TRIES 5

/* Who holds a lock. Texts are "" where they are not known. */
struct holder {
    char host[HOST_NAME_MAX + 1];
    int64_t pid;
    char boot[40];    /* of the machine */
    char space[40];   /* of process ids: a container has its own */
    char started[24]; /* when the process began, in ticks since then: pids come again */
    char job[40];     /* of Slurm */
    int64_t restarts; /* of that job */
};

/* This process and others */

/* The first line of a file of /proc; "" where there is none. */
static void read_line(const char *path, char *out, size_t size)
{
    out[0] = 0;
    FILE *f = fopen(path, "re");
    if (!f)
        return;
    if (fgets(out, (int)size, f))
        out[strcspn(out, "\n")] = 0;
    fclose(f);
}

/* Field 22 of /proc/PID/stat (proc(5)); the second, a name, may hold anything. */
static void read_start(int64_t pid, char *out, size_t size)
{
    char path[64], line[1024];
    snprintf(path, sizeof path, "/proc/%lld/stat", (long long)pid);
    read_line(path, line, sizeof line);
    const char *at = strrchr(line, ')');
    for (int field = 2; at && field < 22; field++)
        at = strchr(at + 1, ' ');
    snprintf(out, size, "%.*s", at ? (int)strspn(at + 1, "0123456789") : 0,
             at ? at + 1 : "");
}

static void read_space(char *out, size_t size)
{
    ssize_t length = readlink("/proc/self/ns/pid", out, size - 1);
    out[length > 0 ? length : 0] = 0;
}

static void describe_self(struct holder *h)
{
    const char *job = getenv("SLURM_JOB_ID"), *restarts = getenv("SLURM_RESTART_COUNT");
    *h = (struct holder){.pid = getpid(), .restarts = restarts ? atoi(restarts) : 0};
    gethostname(h->host, sizeof h->host - 1);
    read_line("/proc/sys/kernel/random/boot_id", h->boot, sizeof h->boot);
    read_space(h->space, sizeof h->space);
    read_start(h->pid, h->started, sizeof h->started);
    snprintf(h->job, sizeof h->job, "%s", job ? job : "");
}

/* Why a lock is stale, or NULL while its holder may be alive. */
static const char *stale_because(const struct holder *h)
{
    struct holder self;
    char started[24];
    describe_self(&self);
    if (h->job[0] && strcmp(h->job, self.job) == 0 && h->restarts < self.restarts)
        return "Slurm has requeued that job";
    if (strcmp(h->host, self.host) != 0)
        return NULL;
    if (h->boot[0] && self.boot[0] && strcmp(h->boot, self.boot) != 0)
        return "the machine was started anew since";
    bool elsewhere = h->space[0] && self.space[0] && strcmp(h->space, self.space) != 0;
    if (elsewhere || h->pid < 1 || h->pid > INT_MAX)
        return NULL;
    if (kill((pid_t)h->pid, 0) != 0 && errno == ESRCH)
        return "that process is gone";
    read_start(h->pid, started, sizeof started);
    bool other = started[0] && h->started[0] && strcmp(started, h->started) != 0;
    return other ? "that process is gone" : NULL;
}

/* The file */

static void write_holder(const struct holder *h, struct str *out)
{
    struct json_writer w = {.out = out};
    json_write_open_object(&w);
    json_write_key(&w, "host");
    json_write_string(&w, h->host);
    json_write_key(&w, "pid");
    json_write_int(&w, h->pid);
    json_write_key(&w, "boot");
    json_write_string(&w, h->boot);
    json_write_key(&w, "pid_namespace");
    json_write_string(&w, h->space);
    json_write_key(&w, "started");
    json_write_string(&w, h->started);
    json_write_key(&w, "slurm_job");
    json_write_string(&w, h->job);
    json_write_key(&w, "slurm_restarts");
    json_write_int(&w, h->restarts);
    json_write_close(&w);
    str_add(out, "\n");
}

static bool take_text(const struct json *object, const char *key, char *out, size_t size,
                      struct err *e)
{
    const char *text = "";
    bool ok = config_may_string(object, key, &text, e);
    snprintf(out, size, "%s", ok ? text : "");
    return ok;
}

/* *there is false where the file has gone meanwhile. */
static bool read_holder(const char *path, struct holder *h, bool *there, struct err *e)
{
    struct json_document d = {0};
    struct stat st;
    *h = (struct holder){0};
    bool ok = json_read(&d, path, LIMIT_JSON_CONFIG, e) && config_as_object(d.root, e) &&
              take_text(d.root, "host", h->host, sizeof h->host, e) &&
              config_may_int(d.root, "pid", 0, INT64_MAX, &h->pid, e) &&
              take_text(d.root, "boot", h->boot, sizeof h->boot, e) &&
              take_text(d.root, "pid_namespace", h->space, sizeof h->space, e) &&
              take_text(d.root, "started", h->started, sizeof h->started, e) &&
              take_text(d.root, "slurm_job", h->job, sizeof h->job, e) &&
              config_may_int(d.root, "slurm_restarts", 0, INT64_MAX, &h->restarts, e);
    json_free(&d);
    *there = ok || lstat(path, &st) == 0;
    return ok;
}

/* Puts a finished lock file under its name, unless there is one. Where links are not to
 * be had, the rename could replace a lock that came in between; it is looked at again. */
static bool put_in_place(const char *temporary, const char *path, bool *taken,
                         struct err *e)
{
    struct stat st;
    *taken = link(temporary, path) == 0;
    /* Over NFS the answer to a link() that worked may get lost. */
    if (!*taken && stat(temporary, &st) == 0 && st.st_nlink == 2)
        *taken = true;
    if (*taken || errno == EEXIST)
        return true;
    if (errno != EPERM && errno != ENOTSUP && errno != ENOSYS && errno != EMLINK)
        return run_directory_fail(e, path, "lock");
    int fd;
    do
        fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return errno == EEXIST || run_directory_fail(e, path, "lock");
    close(fd);
    *taken = rename(temporary, path) == 0;
    if (*taken)
        return true;
    run_directory_fail(e, path, "lock");
    unlink(path); /* empty, it would be nobody's */
    return false;
}

static bool try_to_take(struct lock *l, bool *taken, struct err *e)
{
    struct holder self;
    struct str text = {0};
    struct stat st;
    struct publish p = {0};
    describe_self(&self);
    write_holder(&self, &text);
    bool ok =
        !text.failed || err_set(e, ERR_MEMORY, "%s: out of memory", STR_SHOW(l->path));
    ok = ok && publish_begin(&p, l->path, e) &&
         publish_write(&p, str_text(&text), text.size, e) &&
         (fsync(p.fd) == 0 || run_directory_fail(e, l->path, "flush")) &&
         put_in_place(p.temporary, l->path, taken, e);
    if (ok && *taken) {
        ok = lstat(l->path, &st) == 0 || run_directory_fail(e, l->path, "look at");
        l->device = st.st_dev;
        l->inode = st.st_ino;
    }
    publish_abandon(&p);
    str_free(&text);
    return ok;
}

static bool same_holder(const struct holder *a, const struct holder *b)
{
    return a->pid == b->pid && strcmp(a->host, b->host) == 0 &&
           strcmp(a->boot, b->boot) == 0 && strcmp(a->started, b->started) == 0;
}

/* Two that find the same stale lock must not both win: it is moved aside first, and put
 * back where it turns out to be another one by then. */
static bool remove_stale(const struct lock *l, const struct holder *stale, struct err *e)
{
    struct holder moved;
    bool there;
    struct err ignored = {0};
    char *aside = publish_temporary_path(l->path);
    if (!aside)
        return err_set(e, ERR_MEMORY, "%s: out of memory", STR_SHOW(l->path));
    bool ok = rename(l->path, aside) == 0;
    if (!ok && errno != ENOENT)
        run_directory_fail(e, l->path, "take over");
    if (ok && read_holder(aside, &moved, &there, &ignored) &&
        !same_holder(&moved, stale) && link(aside, l->path) != 0 && errno != EEXIST)
        run_directory_fail(e, l->path, "put back");
    if (ok)
        unlink(aside);
    free(aside);
    return e->code == ERR_OK;
}

static bool refuse(const struct lock *l, const struct holder *h, struct err *e)
{
    err_set(e, ERR_LOCKED,
            "%s: held by process %lld on host %s, expected no other live run there",
            STR_SHOW(l->path), (long long)h->pid, STR_SHOW(h->host));
    return err_hint(e, "if that process is gone, remove the file");
}

/* One look at the lock that is in the way: an error, or it may be tried again. */
static bool judge(const struct lock *l, const char *directory,
                  const struct progress *progress, struct err *e)
{
    struct holder h;
    bool there;
    struct err unreadable = {0};
    if (!read_holder(l->path, &h, &there, &unreadable)) {
        if (!there)
            return true;
        err_set(e, ERR_LOCKED, "%s; expected no other live run there",
                unreadable.message);
        return err_hint(e, "if no run is at work there, remove the file");
    }
    const char *why = stale_because(&h);
    if (!why)
        return refuse(l, &h, e);
    progress_note(progress, NOTE_INFO,
                  "%s: taking over the lock of process %lld on host %s: %s",
                  STR_SHOW(directory), (long long)h.pid, STR_SHOW(h.host), why);
    return remove_stale(l, &h, e);
}

bool lock_take(struct lock *l, const char *directory, const struct progress *progress,
               struct err *e)
{
    bool taken = false;
    l->path = str_path(directory, RUN_LOCK);
    bool ok = l->path || err_set(e, ERR_MEMORY, "%s: out of memory", STR_SHOW(directory));
    for (int i = 0; ok && !taken && i < TRIES; i++)
        ok = try_to_take(l, &taken, e) && (taken || judge(l, directory, progress, e));
    if (ok && !taken)
        ok = err_set(e, ERR_LOCKED, "%s: changes hands all the time", STR_SHOW(l->path));
    if (!ok) {
        free(l->path);
        *l = (struct lock){0};
    }
    return ok;
}

void lock_release(struct lock *l)
{
    struct stat st;
    if (l->path && lstat(l->path, &st) == 0 && st.st_dev == l->device &&
        st.st_ino == l->inode)
        unlink(l->path);
    free(l->path);
    *l = (struct lock){0};
}
