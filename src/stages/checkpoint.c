/* checkpoint.c: when the state of an optimisation is saved, and where. */
#include "stages/checkpoint.h"

#include "base/stop.h"
#include "run/directory.h"
#include "run/record.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The run, the case and its parents' pixels. */
static bool identify(struct checkpoint *c, struct err *e)
{
    const struct record *r = c->p->run->record;
    char run[SHA256_HEX];
    struct sha256 hash;
    if (!record_identity(r, run, e))
        return false;
    sha256_begin(&hash);
    sha256_add(&hash, run, sizeof run);
    sha256_add(&hash, &c->index_case, sizeof c->index_case);
    for (int m = 0; m < c->p->models; m++)
        sha256_add(&hash, record_cell_pixels(r, plan_parent_cell(c->p, c->index_case, m)),
                   SHA256_HEX);
    sha256_end(&hash, c->identity);
    return true;
}

static char *path_of(const struct plan *p, int64_t index_case)
{
    struct str path = {0};
    str_addf(&path, "%s/" RUN_CHECKPOINTS "/%s.safetensors", p->run->record->directory,
             p->case_names[index_case]);
    return str_take(&path);
}

bool checkpoint_open(struct checkpoint *c, const struct plan *p, int64_t index_case,
                     struct err *e)
{
    *c = (struct checkpoint){
        .p = p, .index_case = index_case, .saved = now(), .path = path_of(p, index_case)};
    if (!c->path)
        return err_set(e, ERR_MEMORY, "no host memory for a path");
    return identify(c, e);
}

/* An epoch's preview cannot be had from a state after it. */
static bool previews_are_there(const struct checkpoint *c, int64_t epochs)
{
    const struct plan *p = c->p;
    for (int i = RESULT_PREVIEW; i < p->results; i++)
        if (plan_preview_epoch(p, i) < epochs &&
            !record_cell_is_done(p->run->record, plan_result_cell(p, c->index_case, i)))
            return false;
    return true;
}

bool checkpoint_restore(struct checkpoint *c, struct optimize *o, struct str *losses,
                        bool *fits, struct err *e)
{
    bool found;
    *fits = true;
    if (!record_is_resumed(c->p->run->record))
        return true;
    if (optimize_restore(o, c->path, c->identity, losses, &found, c->p->run->progress,
                         e)) {
        *fits = previews_are_there(c, optimize_epochs_done(o));
        c->saved_epochs = *fits ? optimize_epochs_done(o) : 0;
        return true;
    }
    return e->code == ERR_INPUT &&
           err_hint(e, "remove it and %s.previous to begin the case anew", c->path);
}

static bool save(struct checkpoint *c, struct optimize *o, const struct str *losses,
                 struct err *e)
{
    int64_t epochs = optimize_epochs_done(o);
    if (epochs == c->saved_epochs)
        return true;
    bool ok =
        run_directory_make_folder(c->p->run->record->directory, RUN_CHECKPOINTS, e) &&
        optimize_save(o, c->path, c->identity, losses, e);
    c->saved = now();
    if (ok)
        c->saved_epochs = epochs;
    return ok;
}

bool checkpoint_save_if_due(struct checkpoint *c, struct optimize *o,
                            const struct str *losses, struct err *e)
{
    bool finished = optimize_epochs_done(o) >= c->p->settings.epochs;
    bool due = now() - c->saved >= c->p->run->options->optimize.checkpoint_every;
    if (!stop_asked())
        return finished || !due || save(c, o, losses, e);
    return save(c, o, losses, e) && stop_check(e);
}

void checkpoint_remove(const struct checkpoint *c)
{
    struct str previous = {0};
    if (!c->path)
        return;
    str_addf(&previous, "%s.previous", c->path);
    unlink(c->path);
    if (!previous.failed)
        unlink(str_text(&previous));
    str_free(&previous);
    char *slash = strrchr(c->path, '/');
    *slash = '\0';
    rmdir(c->path); /* stays while another case's state is in it */
    *slash = '/';
}

void checkpoint_discard(const struct plan *p, int64_t index_case)
{
    struct checkpoint c = {.path = path_of(p, index_case)};
    checkpoint_remove(&c);
    checkpoint_close(&c);
}

void checkpoint_close(struct checkpoint *c)
{
    free(c->path);
    *c = (struct checkpoint){0};
}
