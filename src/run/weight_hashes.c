/* weight_hashes.c: one thread that works off a list of files; who waits for it goes on in
 * its place. Leaves reading them to io/file.c. */
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
    struct background background;
    bool started;
    atomic_bool stop;
    atomic_bool wanted; /* somebody waits: the thread lets go of its file */
    struct job *jobs;
    int count, done;
    struct err failure;

    /* of the first file that is not done; for one thread at a time, without the lock */
    bool busy;
    int fd; /* -1: not begun */
    uint64_t size, at;
    struct sha256 digest;
};

struct weight_hashes *weight_hashes_new(struct err *e)
{
    struct weight_hashes *h = calloc(1, sizeof *h);
    if (!h) {
        err_set(e, ERR_MEMORY, "weights: out of memory");
        return NULL;
    }
    h->fd = -1;
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->changed, NULL);
    return h;
}

static bool begin_file(struct weight_hashes *h, const char *path, struct err *e)
{
    h->fd = file_open(path, &h->size, e);
    h->at = 0;
    if (h->fd >= 0)
        sha256_begin(&h->digest);
    return h->fd >= 0;
}

/* Goes on with the present file until its end, which closes it; `pause` and the end of
 * the list leave it to who comes next. */
static bool hash_blocks(struct weight_hashes *h, const char *path, bool (*pause)(void *),
                        char hex[SHA256_HEX], struct err *e)
{
    enum { BLOCK = 1 << 20 };
    char *block = malloc(BLOCK);
    bool ok = block || err_set(e, ERR_MEMORY, "%s: out of memory", STR_SHOW(path));
    ok = ok && (h->fd >= 0 || begin_file(h, path, e));
    while (ok && h->at < h->size && !h->stop && !pause(h)) {
        size_t take = h->size - h->at < BLOCK ? (size_t)(h->size - h->at) : BLOCK;
        ok = file_read_at(h->fd, block, take, h->at, path, e);
        if (ok)
            sha256_add(&h->digest, block, take);
        h->at += take;
    }
    bool whole = ok && h->at >= h->size;
    if (whole)
        sha256_end(&h->digest, hex);
    if (whole || !ok) {
        file_close(h->fd);
        h->fd = -1;
    }
    free(block);
    return ok;
}

/* Called with the lock held and nobody busy; lets go of it while it reads the file. */
static void hash_one(struct weight_hashes *h, bool (*pause)(void *))
{
    char hex[SHA256_HEX] = "";
    struct err e = {0};
    char *path =
        h->jobs[h->done].path; /* the list may move meanwhile, the name does not */
    h->busy = true;
    pthread_mutex_unlock(&h->lock);
    bool ok = hash_blocks(h, path, pause, hex, &e);
    pthread_mutex_lock(&h->lock);
    h->busy = false;
    if (hex[0])
        memcpy(h->jobs[h->done].hex, hex, sizeof hex);
    else if (!ok && h->failure.code == ERR_OK)
        h->failure = e;
    h->done += hex[0] || !ok;
    pthread_cond_broadcast(&h->changed);
}

static bool is_wanted(void *user)
{
    return ((struct weight_hashes *)user)->wanted;
}

static bool is_stopped(void *user)
{
    (void)user;
    return stop_asked();
}

static void *work(void *user)
{
    struct weight_hashes *h = user;
    background_enter(&h->background);
    pthread_mutex_lock(&h->lock);
    while (!h->stop) {
        if (h->done < h->count && !h->wanted && !h->busy)
            hash_one(h, is_wanted);
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

/* The thread has the lowest priority: on a busy machine it would take the longer, the
 * less there is to do for who waits. So the rest is done here. */
bool weight_hashes_wait(struct weight_hashes *h, struct err *e)
{
    pthread_mutex_lock(&h->lock);
    h->wanted = true;
    background_hurry(&h->background);
    while (h->busy)
        pthread_cond_wait(&h->changed, &h->lock);
    while (h->started && h->done < h->count && !stop_asked())
        hash_one(h, is_stopped);
    h->wanted = false;
    pthread_cond_broadcast(&h->changed);
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
    background_hurry(&h->background);
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->lock);
    if (h->started)
        pthread_join(h->thread, NULL);
    file_close(h->fd);
    for (int i = 0; i < h->count; i++)
        free(h->jobs[i].path);
    free(h->jobs);
    pthread_cond_destroy(&h->changed);
    pthread_mutex_destroy(&h->lock);
    free(h);
}
