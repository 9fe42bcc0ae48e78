/* plan_done.c: what of a plan is made already, and whether there is room for the rest.
 * Leaves what is planned to plan_record.c. */
#include "stages/plan.h"

#include "base/str.h"
#include "run/record.h"

#include <sys/statvfs.h>
#include <unistd.h>

/* Of a picture, beside its pixels: its record, and what a file system rounds up to. */
#define FILE_OVERHEAD 8192

static bool parent_is_done(const struct plan *p, int64_t n, int m)
{
    return record_cell_is_done(p->run->record, plan_parent_cell(p, n, m));
}

bool plan_has_parents(const struct plan *p, int64_t n)
{
    for (int m = 0; m < p->models; m++)
        if (!parent_is_done(p, n, m))
            return false;
    return true;
}

bool plan_model_is_done(const struct plan *p, int m)
{
    for (int64_t n = 0; n < p->cases; n++)
        if (!parent_is_done(p, n, m))
            return false;
    return true;
}

bool plan_case_is_done(const struct plan *p, int64_t n)
{
    const struct record *r = p->run->record;
    char losses[256];
    for (int result = 0; result < p->results; result++)
        if (!record_cell_is_done(r, plan_result_cell(p, n, result)))
            return false;
    return p->run->options->command != COMMAND_OPTIMIZE ||
           (record_has_outcome(r, n) &&
            record_file_is_done(r, plan_losses_file(p, n, losses, sizeof losses)));
}

bool plan_results_are_done(const struct plan *p)
{
    for (int64_t n = 0; n < p->cases; n++)
        if (!plan_case_is_done(p, n))
            return false;
    return true;
}

int plan_cells_done(const struct plan *p)
{
    int done = 0;
    for (int cell = 0; cell < plan_cell_count(p); cell++)
        done += record_cell_is_done(p->run->record, cell);
    return done;
}

void plan_announce(const struct plan *p, int64_t n)
{
    const struct record *r = p->run->record;
    bool optimize = p->run->options->command == COMMAND_OPTIMIZE;
    int shown = optimize ? RESULT_PREVIEW : p->results; /* previews are on the way */
    for (int result = 0; result < shown; result++) {
        int cell = plan_result_cell(p, n, result);
        if (record_cell_is_done(r, cell))
            progress_made(p->run->progress, record_cell_path(r, cell));
    }
}

void plan_announce_parents(const struct plan *p, int m)
{
    const struct record *r = p->run->record;
    for (int64_t n = 0; p->results == 0 && n < p->cases; n++)
        if (parent_is_done(p, n, m))
            progress_made(p->run->progress,
                          record_cell_path(r, plan_parent_cell(p, n, m)));
}

/* In the order in which plan_record() lists them: diffusers, then those that all parents
 * go through. */
void plan_keep_networks(const struct plan *p)
{
    int diffusers = p->diffusers ? p->models : 0;
    enum command_bit command = p->run->options->command;
    int shared = command == COMMAND_BLEND ? 1 : command == COMMAND_OPTIMIZE ? 3 : 0;
    bool all = plan_results_are_done(p);
    for (int m = 0; m < diffusers; m++)
        if (plan_model_is_done(p, m))
            record_keep_network(p->run->record, m);
    for (int i = 0; all && i < shared; i++)
        record_keep_network(p->run->record, diffusers + i);
}

/* As if PNG saved nothing. */
uint64_t plan_bytes_to_write(const struct plan *p)
{
    const struct record *r = p->run->record;
    uint64_t parent = (uint64_t)(p->height * p->width * 3);
    uint64_t result = (uint64_t)(p->vq_height * p->vq_width * 3);
    uint64_t parents = (uint64_t)p->cases * (uint64_t)p->models, bytes = 0;
    if (access(record_file_path(r, "images.npy"), F_OK) != 0)
        bytes += parents * parent;
    for (int cell = 0; cell < plan_cell_count(p); cell++)
        if (!record_cell_is_done(r, cell))
            bytes += FILE_OVERHEAD + ((uint64_t)cell < parents ? parent : result);
    return bytes;
}

bool plan_check_disk(const struct plan *p, struct err *e)
{
    struct statvfs disk;
    const char *directory = p->run->record->directory;
    if (statvfs(directory, &disk) != 0)
        return true; /* a file system that cannot tell is found out by writing */
    uint64_t free_bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
    uint64_t bytes = plan_bytes_to_write(p);
    if (bytes <= free_bytes)
        return true;
    return err_set(e, ERR_OUTPUT,
                   "%s: found %llu bytes free, expected %llu for %lld cases of "
                   "%d models",
                   STR_SHOW(directory), (unsigned long long)free_bytes,
                   (unsigned long long)bytes, (long long)p->cases, p->models);
}
