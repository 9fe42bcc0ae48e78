/* read_ahead.c: asks the system for piece after piece of the files. Leaves the cache to
 * the system. */
#include "io/read_ahead.h"

#include "base/background.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define PIECE ((uint64_t)8 << 20) /* a disk's queue takes so much without waiting */

struct read_ahead {
    pthread_t thread;
    struct background background;
    atomic_bool stop;
    int64_t left; /* bytes */
    const struct tensor_part **parts;
    int count, part;
    uint64_t offset; /* in the present part */
};

/* False at the end. */
static bool advise_next(struct read_ahead *r)
{
    if (r->part == r->count || r->left <= 0)
        return false;
    const struct tensor_part *part = r->parts[r->part];
    posix_fadvise(part->fd, (off_t)r->offset, (off_t)PIECE, POSIX_FADV_WILLNEED);
    r->left -= (int64_t)PIECE;
    r->offset += PIECE;
    if (r->offset >= part->size) {
        r->part++;
        r->offset = 0;
    }
    return true;
}

static void *work(void *user)
{
    struct read_ahead *r = user;
    background_enter(&r->background);
    while (!r->stop && advise_next(r))
        ;
    return NULL;
}

static struct read_ahead *read_ahead_new(const struct tensor_file *const *files,
                                         int count)
{
    size_t parts = 0;
    for (int i = 0; i < count; i++)
        parts += (size_t)files[i]->part_count;
    struct read_ahead *r = parts > 0 ? calloc(1, sizeof *r) : NULL;
    if (!r)
        return NULL;
    r->parts = calloc(parts, sizeof *r->parts);
    for (int i = 0; r->parts && i < count; i++)
        for (int k = 0; k < files[i]->part_count; k++)
            r->parts[r->count++] = &files[i]->parts[k];
    return r;
}

static void read_ahead_free(struct read_ahead *r)
{
    free(r->parts);
    free(r);
}

struct read_ahead *read_ahead_begin(const struct tensor_file *const *files, int count,
                                    int64_t limit)
{
    struct read_ahead *r = read_ahead_new(files, count);
    if (!r)
        return NULL;
    r->left = limit;
    if (advise_next(r) && pthread_create(&r->thread, NULL, work, r) == 0)
        return r;
    read_ahead_free(r);
    return NULL;
}

void read_ahead_end(struct read_ahead *r)
{
    if (!r)
        return;
    r->stop = true;
    background_hurry(&r->background);
    pthread_join(r->thread, NULL);
    read_ahead_free(r);
}
