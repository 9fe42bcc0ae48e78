/* weight_hashes.c: one thread that works off a list of files. Leaves reading them to
 * io/file.c. */
#include "run/weight_hashes.h"

#include "base/background.h"
#include "base/stop.h"
#include "base/str.h"
#include "io/file.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

struct job {
    char *path;
    dev_t device;
    ino_t inode;
    char hex[SHA256_HEX];
};

struct weight_hashes {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    bool started;
    atomic_bool stop;
    struct job *jobs;
    int count, done;
    struct err failure;
};

struct weight_hashes *weight_hashes_new(struct err *e)
{
    struct weight_hashes *h = calloc(1, sizeof *h);
    if (!h) {
        err_set(e, ERR_MEMORY, "weights: out of memory");
        return NULL;
    }
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->changed, NULL);
    return h;
}

/* As file_sha256(), but it ends when the list does: files have gigabytes. */
static bool hash_file(struct weight_hashes *h, const char *path, char hex[SHA256_HEX],
                      struct err *e)
{
    enum { BLOCK = 1 << 20 };
    uint64_t size;
    int fd = file_open(path, &size, e);
    if (fd < 0)
        return false;
    char *block = malloc(BLOCK);
    bool ok = block || err_set(e, ERR_MEMORY, "%s: out of memory", STR_SHOW(path));
    struct sha256 digest;
    sha256_begin(&digest);
    for (uint64_t at = 0; ok && at < size && !h->stop;) {
        size_t take = size - at < BLOCK ? (size_t)(size - at) : BLOCK;
        ok = file_read_at(fd, block, take, at, path, e);
        if (ok)
            sha256_add(&digest, block, take);
        at += take;
    }
    if (ok && !h->stop)
        sha256_end(&digest, hex);
    free(block);
    file_close(fd);
    return ok;
}

/* Called with the lock held; lets go of it while it reads the file. */
static void hash_one(struct weight_hashes *h)
{
    char hex[SHA256_HEX] = "";
    struct err e = {0};
    char *path =
        h->jobs[h->done].path; /* the list may move meanwhile, the name does not */
    pthread_mutex_unlock(&h->lock);
    bool ok = hash_file(h, path, hex, &e);
    pthread_mutex_lock(&h->lock);
    if (ok)
        memcpy(h->jobs[h->done].hex, hex, sizeof hex);
    else if (h->failure.code == ERR_OK)
        h->failure = e;
    h->done++;
    pthread_cond_broadcast(&h->changed);
}

static void *work(void *user)
{
    struct weight_hashes *h = user;
    background_enter();
    pthread_mutex_lock(&h->lock);
    while (!h->stop) {
        if (h->done < h->count)
            hash_one(h);
        else
            pthread_cond_wait(&h->changed, &h->lock);
    }
    pthread_mutex_unlock(&h->lock);
    return NULL;
}

static int find(const struct weight_hashes *h, const struct stat *st)
{
    for (int i = 0; i < h->count; i++)
        if (h->jobs[i].device == st->st_dev && h->jobs[i].inode == st->st_ino)
            return i;
    return -1;
}

static int append(struct weight_hashes *h, const char *path, const struct stat *st,
                  struct err *e)
{
    char *copy = str_dup(path);
    struct job *jobs = realloc(h->jobs, ((size_t)h->count + 1) * sizeof *jobs);
    if (jobs)
        h->jobs = jobs;
    if (!copy || !jobs) {
        free(copy);
        err_set(e, ERR_MEMORY, "weights: out of memory");
        return -1;
    }
    jobs[h->count] =
        (struct job){.path = copy, .device = st->st_dev, .inode = st->st_ino};
    return h->count++;
}

int weight_hashes_add(struct weight_hashes *h, const char *path, struct err *e)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        err_set(e, ERR_INPUT, "%s: cannot read: %s", STR_SHOW(path), strerror(errno));
        return -1;
    }
    pthread_mutex_lock(&h->lock);
    int number = find(h, &st);
    if (number < 0)
        number = append(h, path, &st, e);
    if (number >= 0 && !h->started) {
        h->started = pthread_create(&h->thread, NULL, work, h) == 0;
        if (!h->started) {
            err_set(e, ERR_MEMORY, "weights: cannot start a thread");
            number = -1;
        }
    }
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->lock);
    return number;
}

bool weight_hashes_get(struct weight_hashes *h, int number, char hex[SHA256_HEX])
{
    pthread_mutex_lock(&h->lock);
    bool known = number < h->done && h->jobs[number].hex[0];
    if (known)
        memcpy(hex, h->jobs[number].hex, SHA256_HEX);
    pthread_mutex_unlock(&h->lock);
    return known;
}

bool weight_hashes_wait(struct weight_hashes *h, struct err *e)
{
    pthread_mutex_lock(&h->lock);
    while (h->started && h->done < h->count && !stop_asked()) {
        struct timespec soon;
        clock_gettime(CLOCK_REALTIME, &soon);
        soon.tv_sec++;
        pthread_cond_timedwait(&h->changed, &h->lock, &soon);
    }
    bool all = !h->started || h->done == h->count;
    struct err failure = h->failure;
    pthread_mutex_unlock(&h->lock);
    if (!all)
        return stop_check(e);
    return failure.code == ERR_OK || err_from(e, &failure, NULL);
}

void weight_hashes_free(struct weight_hashes *h)
{
    if (!h)
        return;
    pthread_mutex_lock(&h->lock);
    h->stop = true;
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->lock);
    if (h->started)
        pthread_join(h->thread, NULL);
    for (int i = 0; i < h->count; i++)
        free(h->jobs[i].path);
    free(h->jobs);
    pthread_cond_destroy(&h->changed);
    pthread_mutex_destroy(&h->lock);
    free(h);
}
