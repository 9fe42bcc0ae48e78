/* optimizing.c: takes every case through the optimiser, several at a time where that is
 * asked for, and publishes what comes out.
 * Leaves the optimiser to optimize.h, losses as texts to losses.h, and going on in the
 * middle of a case to checkpoint.h. */
#include "stages/optimizing.h"

#include "base/stop.h"
#include "io/publish.h"
#include "run/record.h"
#include "stages/checkpoint.h"
#include "stages/losses.h"
#include "stages/relief.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* One case at work. */
struct job {
    struct plan *p;
    int64_t n;
    struct optimize *o;
    struct str csv;
    struct checkpoint checkpoint;
    double started;
    int next_preview; /* result */
    tc_scope *scope;
    bool ended; /* published, or given up */
};

/* The cases that are computed together. */
struct group {
    struct plan *p;
    struct relief relief;
    int count;
    struct job jobs[OPTIMIZE_MAX_TOGETHER];
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Files */

static bool publish_picture(const struct job *job, int result, enum optimize_which which,
                            struct err *e)
{
    struct record *r = job->p->run->record;
    int cell = plan_result_cell(job->p, job->n, result);
    if (record_cell_is_done(r, cell))
        return true;
    const struct image_text *texts;
    struct image picture = {0};
    bool ok = optimize_picture(job->o, which, &picture, e);
    int count = ok ? record_cell_texts(r, cell, &texts, e) : 0;
    ok = count > 0 &&
         image_write_png(&picture, record_cell_path(r, cell), texts, count, e) &&
         record_cell_done(r, cell, NULL, now() - job->started, e);
    image_free(&picture);
    if (ok && result < RESULT_PREVIEW)
        progress_made(job->p->run->progress, record_cell_path(r, cell));
    return ok;
}

/* A case that was cut off at its very end is done again, to the same table. */
static bool publish_losses(const struct job *job, struct err *e)
{
    char name[256];
    plan_losses_file(job->p, job->n, name, sizeof name);
    if (record_file_is_done(job->p->run->record, name))
        return true;
    if (job->csv.failed)
        return err_set(e, ERR_MEMORY, "no host memory for %s", name);
    return publish_bytes(record_file_path(job->p->run->record, name), str_text(&job->csv),
                         job->csv.size, e);
}

/* For good: its hash is kept. */
static bool finish_losses(const struct job *job, struct err *e)
{
    char name[256];
    plan_losses_file(job->p, job->n, name, sizeof name);
    return publish_losses(job, e) && record_file_done(job->p->run->record, name, e);
}

/* Epochs */

static bool is_preview(const struct job *job)
{
    return job->next_preview < job->p->results &&
           optimize_epochs_done(job->o) == plan_preview_epoch(job->p, job->next_preview);
}

static bool publish_preview(struct job *job, struct err *e)
{
    if (!publish_picture(job, job->next_preview, OPTIMIZE_LATEST, e) ||
        !publish_losses(job, e))
        return false;
    job->next_preview++;
    return true;
}

/* The cases at work, of which `job` is the first. */
static void report_epoch(const struct job *job, int cases, const struct optimize_row *row)
{
    const struct plan *p = job->p;
    char detail[48];
    snprintf(detail, sizeof detail, "loss %.4g", row->losses.total);
    progress_at(p->run->progress,
                &(struct progress_at){.stage = "optimize",
                                      .cell = p->case_names[job->n],
                                      .cells = cases,
                                      .step = row->epoch + 1,
                                      .steps = p->settings.epochs,
                                      .done = job->n,
                                      .total = p->cases,
                                      .unit = "epochs",
                                      .units = (double)p->settings.epochs,
                                      .detail = detail});
}

/* Cases */

static bool read_parents(const struct plan *p, int64_t n,
                         const struct image_tensor *images, struct image *parents,
                         struct err *e)
{
    for (int m = 0; m < p->models; m++)
        if (!image_tensor_read(images, n, m, &parents[m], e))
            return false;
    return true;
}

static bool open_optimizer(struct job *job, tc_scope *s, const struct image *parents,
                           struct err *e)
{
    const struct plan *p = job->p;
    const struct optimize_networks networks = {&p->vqgan, &p->clip, &p->perceptual};
    struct optimize_settings settings = p->settings;
    settings.random_seed = plan_case_seed(p, job->n);
    optimize_close(job->o);
    job->o = optimize_open(s, &networks, &settings, p->models, parents, p->vq_height,
                           p->vq_width, p->run->progress, e);
    str_clear(&job->csv);
    losses_add_header(&job->csv, p);
    return job->o != NULL;
}

/* From the last checkpoint, if there is one; previews before it are there already. */
static void go_on(struct job *job)
{
    const struct plan *p = job->p;
    int64_t done = optimize_epochs_done(job->o);
    while (job->next_preview < p->results &&
           plan_preview_epoch(p, job->next_preview) < done)
        job->next_preview++;
    if (done > 0)
        progress_note(p->run->progress, NOTE_INFO, "case %s: going on from epoch %lld",
                      p->case_names[job->n], (long long)done);
}

static bool open_job(struct job *job, tc_scope *s, const struct image_tensor *images,
                     struct err *e)
{
    const struct plan *p = job->p;
    struct image parents[OPTIONS_MAX_MODELS] = {{0}};
    bool fits = true;
    bool ok = checkpoint_open(&job->checkpoint, p, job->n, e) &&
              read_parents(p, job->n, images, parents, e) &&
              open_optimizer(job, s, parents, e) &&
              checkpoint_restore(&job->checkpoint, job->o, &job->csv, &fits, e) &&
              (fits || open_optimizer(job, s, parents, e));
    for (int m = 0; m < p->models; m++)
        image_free(&parents[m]);
    if (ok)
        go_on(job);
    return ok;
}

/* Epochs compare candidates on windows of their own, and none sees what the last step
 * made: on those of the report the latest may turn out to be the best. */
static bool judge(const struct job *job, struct err *e)
{
    struct plan *p = job->p;
    struct outcome *outcome = calloc(1, sizeof *outcome);
    if (!outcome)
        return err_set(e, ERR_MEMORY, "no host memory for a report");
    outcome->epochs = optimize_epochs_done(job->o);
    outcome->skipped = optimize_skipped(job->o);
    if (!optimize_report(job->o, &outcome->report, e)) {
        free(outcome);
        return false;
    }
    struct optimize_report *r = &outcome->report;
    if (r->latest.total < r->best.total) {
        optimize_keep_latest(job->o);
        r->best = r->latest;
    }
    free(p->outcomes[job->n]); /* of an attempt that ran out of memory */
    p->outcomes[job->n] = outcome;
    return tc_check(job->scope, e);
}

static bool tell_outcome(const struct job *job, struct err *e)
{
    struct plan *p = job->p;
    const struct outcome *outcome = p->outcomes[job->n];
    if (!record_add_outcome(p->run->record, job->n, losses_write_outcome,
                            &(struct losses_case){p, job->n}, e))
        return false;
    struct str line = {0};
    losses_add_verdict(&line, p, job->n);
    progress_note(p->run->progress, NOTE_INFO, "%s", str_text(&line));
    str_free(&line);
    if (outcome->skipped > 0)
        progress_note(p->run->progress, NOTE_WARNING,
                      "case %s: %lld of %lld steps were left out: not finite",
                      STR_SHOW(p->case_names[job->n]), (long long)outcome->skipped,
                      (long long)outcome->epochs);
    return true;
}

/* What is not there yet will not be. */
static void give_up(const struct plan *p, int64_t n, const char *why)
{
    struct record *r = p->run->record;
    for (int result = 0; result < p->results; result++) {
        int cell = plan_result_cell(p, n, result);
        if (!record_cell_is_done(r, cell))
            record_cell_failed(r, cell, why);
    }
}

/* Losses broke, at half the rate too: the best so far is kept. */
static bool keep_best(const struct job *job, struct err *e)
{
    struct err failure = {0};
    bool ok = publish_picture(job, RESULT_BEST, OPTIMIZE_BEST, &failure) &&
              finish_losses(job, &failure);
    give_up(job->p, job->n, "nonfinite");
    if (ok || failure.code == ERR_NONFINITE)
        return true;
    *e = failure;
    return false;
}

static bool finish(struct job *job, struct err *e)
{
    return judge(job, e) && publish_picture(job, RESULT_FINAL, OPTIMIZE_LATEST, e) &&
           publish_picture(job, RESULT_BEST, OPTIMIZE_BEST, e) && finish_losses(job, e) &&
           tell_outcome(job, e);
}

/* Tries again in other ways what needs memory: a picture, or all that ends a case. */
static bool in_memory(struct group *g, struct job *job,
                      bool (*make)(struct job *job, struct err *e), struct err *e)
{
    struct err failure = {0};
    while (!make(job, &failure)) {
        if (!relief_try(&g->relief, &failure)) {
            *e = failure;
            return relief_hint(e);
        }
        failure = (struct err){0};
    }
    relief_worked(&g->relief);
    return true;
}

/* Ends a case: published, or where its numbers broke with the best so far. Not when the
 * run is asked to stop meanwhile. */
static bool end(struct group *g, struct job *job, const struct err *why, struct err *e)
{
    const struct plan *p = job->p;
    struct err failure = why ? *why : (struct err){0};
    bool ok = !why && in_memory(g, job, finish, &failure);
    if (!ok && failure.code == ERR_NONFINITE) {
        progress_note(p->run->progress, NOTE_WARNING, "case %s: %s",
                      STR_SHOW(p->case_names[job->n]), failure.message);
        tc_recover(job->scope);
        ok = job->o ? keep_best(job, &failure) : (give_up(p, job->n, "nonfinite"), true);
    }
    if (ok)
        checkpoint_remove(&job->checkpoint);
    else
        *e = failure;
    job->ended = failure.code != ERR_STOPPED;
    return ok;
}

static void close_job(struct job *job)
{
    checkpoint_close(&job->checkpoint);
    optimize_close(job->o);
    str_free(&job->csv);
    tc_pop(job->scope, NULL);
}

static bool begin(struct group *g, struct job *job, int64_t n,
                  const struct image_tensor *images, struct err *e)
{
    for (;;) {
        struct err failure = {0};
        *job = (struct job){
            .p = g->p, .n = n, .started = now(), .next_preview = RESULT_PREVIEW};
        job->scope = tc_push(g->relief.root);
        tc_context(job->scope, "case %s", g->p->case_names[n]);
        if (open_job(job, job->scope, images, &failure)) {
            relief_worked(&g->relief);
            return true;
        }
        if (!relief_try(&g->relief, &failure))
            return end(g, job, &failure, e) || relief_hint(e);
        close_job(job);
    }
}

/* What an epoch did to a case. */
static bool record_epoch(struct group *g, struct job *job, const struct optimize_row *row,
                         struct err *e)
{
    const struct err *failure = optimize_failure(job->o);
    if (failure)
        return end(g, job, failure, e);
    if (row->restored)
        progress_note(job->p->run->progress, NOTE_WARNING,
                      "case %s, epoch %lld: losses stay non-finite: going on from an "
                      "earlier candidate at half the rate",
                      STR_SHOW(job->p->case_names[job->n]), (long long)row->epoch);
    losses_add_row(&job->csv, job->p, row);
    return checkpoint_save_if_due(&job->checkpoint, job->o, &job->csv, e);
}

/* Of the cases that have not ended: publishes what is due, and takes those that go on. */
static bool take_moving(struct group *g, struct job **moving, struct optimize **cases,
                        int *count, struct err *e)
{
    bool ok = true;
    *count = 0;
    for (int i = 0; ok && i < g->count; i++) {
        struct job *job = &g->jobs[i];
        if (job->ended)
            continue;
        if (optimize_epochs_done(job->o) >= g->p->settings.epochs) {
            ok = end(g, job, NULL, e);
            continue;
        }
        struct err failure = {0};
        if (is_preview(job) && !in_memory(g, job, publish_preview, &failure)) {
            ok = end(g, job, &failure, e);
            continue;
        }
        cases[*count] = job->o;
        moving[(*count)++] = job;
    }
    return ok;
}

/* Of a run that was asked to stop: that a case could not be saved is what went wrong. */
static bool save_all(struct group *g, struct err *e)
{
    for (int i = 0; i < g->count; i++) {
        struct job *job = &g->jobs[i];
        struct err failure = {0};
        if (!job->ended &&
            !checkpoint_save_if_due(&job->checkpoint, job->o, &job->csv, &failure) &&
            failure.code != ERR_STOPPED)
            return err_from(e, &failure, NULL);
    }
    return false;
}

/* An epoch counts for every case before the run stops. */
static bool record_epochs(struct group *g, struct job *const *moving, int count,
                          const struct optimize_row *rows, struct err *e)
{
    struct err stopped = {0};
    for (int i = 0; i < count; i++) {
        struct err failure = {0};
        if (record_epoch(g, moving[i], &rows[i], &failure))
            continue;
        if (failure.code != ERR_STOPPED)
            return err_from(e, &failure, NULL);
        stopped = failure;
    }
    return stopped.code == ERR_OK || err_from(e, &stopped, NULL);
}

static bool run_epochs(struct group *g, struct err *e)
{
    struct job *moving[OPTIMIZE_MAX_TOGETHER];
    struct optimize *cases[OPTIMIZE_MAX_TOGETHER];
    struct optimize_row rows[OPTIMIZE_MAX_TOGETHER];
    int count;
    bool ok = take_moving(g, moving, cases, &count, e);
    while (ok && count > 0) {
        ok = optimize_epochs(count, cases, rows, e);
        if (ok)
            report_epoch(moving[0], count, &rows[0]);
        ok = ok && record_epochs(g, moving, count, rows, e) &&
             take_moving(g, moving, cases, &count, e);
    }
    return ok || (e->code == ERR_STOPPED && save_all(g, e));
}

static bool make_group(struct group *g, const int64_t *numbers, int count,
                       const struct image_tensor *images, struct err *e)
{
    bool ok = true;
    g->count = 0;
    while (ok && g->count < count && (ok = stop_check(e))) {
        ok = begin(g, &g->jobs[g->count], numbers[g->count], images, e);
        g->count++;
    }
    ok = ok && run_epochs(g, e);
    while (g->count > 0)
        close_job(&g->jobs[--g->count]);
    return ok;
}

static void unload_networks(struct plan *p)
{
    perceptual_unload(&p->perceptual);
    clip_unload(&p->clip);
    vqgan_unload(&p->vqgan);
}

static bool load_networks(struct plan *p, struct relief *relief, struct err *e)
{
    struct err failure = {0};
    while (!vqgan_load(&p->vqgan, relief->root, TC_F32, &failure) ||
           !clip_load(&p->clip, relief->root, TC_F32, &failure) ||
           !perceptual_load(&p->perceptual, relief->root, TC_F32, &failure)) {
        unload_networks(p);
        if (!relief_empty_cache(relief, &failure)) {
            *e = failure;
            return relief_hint(e);
        }
        failure = (struct err){0};
    }
    return true;
}

static int group_size(const struct options *o)
{
    return o->batch == 0                      ? 1
           : o->batch < OPTIMIZE_MAX_TOGETHER ? o->batch
                                              : OPTIMIZE_MAX_TOGETHER;
}

/* The next cases to make together, from *n on. */
static int choose_cases(const struct plan *p, int64_t *n, int64_t *numbers)
{
    int count = 0;
    for (; *n < p->cases && count < group_size(p->run->options); ++*n) {
        plan_announce(p, *n);
        if (plan_case_is_done(p, *n)) {
            checkpoint_discard(p, *n);
            continue;
        }
        if (plan_has_parents(p, *n))
            numbers[count++] = *n;
        else
            give_up(p, *n, "no parent");
    }
    return count;
}

static bool make_all(struct group *g, const struct image_tensor *images, struct err *e)
{
    struct plan *p = g->p;
    int64_t numbers[OPTIMIZE_MAX_TOGETHER], n = 0;
    bool ok = plan_results_are_done(p) || load_networks(p, &g->relief, e);
    while (ok && n < p->cases) {
        int count = choose_cases(p, &n, numbers);
        ok = stop_check(e) && (count == 0 || make_group(g, numbers, count, images, e));
    }
    return ok;
}

bool optimizing_make(struct plan *p, tc_scope *root, const struct image_tensor *images,
                     struct err *e)
{
    struct group *g = calloc(1, sizeof *g);
    if (!g)
        return err_set(e, ERR_MEMORY, "no host memory for a group of cases");
    g->p = p;
    g->relief = (struct relief){.root = root, .progress = p->run->progress};
    bool ok = make_all(g, images, e);
    free(g);
    unload_networks(p);
    tc_empty_cache(root);
    return ok;
}
