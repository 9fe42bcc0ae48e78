/* optimizing.c: takes every case through the optimiser and publishes what comes out.
 * Leaves the optimiser to optimize.h, losses as texts to losses.h, and going on in the
 * middle of a case to checkpoint.h. */
#include "stages/optimizing.h"

#include "base/stop.h"
#include "io/publish.h"
#include "run/record.h"
#include "stages/checkpoint.h"
#include "stages/losses.h"

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

static bool publish_losses(const struct job *job, struct err *e)
{
    char name[256];
    plan_losses_file(job->p, job->n, name, sizeof name);
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
    return publish_picture(job, job->next_preview++, OPTIMIZE_LATEST, e) &&
           publish_losses(job, e);
}

static void report_epoch(const struct job *job, const struct optimize_row *row)
{
    const struct plan *p = job->p;
    const struct progress *progress = p->run->progress;
    char detail[48];
    snprintf(detail, sizeof detail, "loss %.4g", row->losses.total);
    if (row->restored)
        progress_note(progress, NOTE_WARNING,
                      "case %s, epoch %lld: losses stay non-finite: going on from an "
                      "earlier candidate at half the rate",
                      STR_SHOW(p->case_names[job->n]), (long long)row->epoch);
    progress_at(progress, &(struct progress_at){.stage = "optimize",
                                                .cell = p->case_names[job->n],
                                                .step = row->epoch + 1,
                                                .steps = p->settings.epochs,
                                                .done = job->n,
                                                .total = p->cases,
                                                .unit = "epochs",
                                                .units = (double)p->settings.epochs,
                                                .detail = detail});
}

static bool run_epochs(struct job *job, struct err *e)
{
    bool ok = true;
    while (ok && optimize_epochs_done(job->o) < job->p->settings.epochs) {
        struct optimize_row row;
        ok = (!is_preview(job) || publish_preview(job, e)) &&
             optimize_epoch(job->o, &row, e);
        if (!ok)
            break;
        losses_add_row(&job->csv, job->p, &row);
        report_epoch(job, &row);
        ok = checkpoint_save_if_due(&job->checkpoint, job->o, &job->csv, e);
    }
    return ok;
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
    p->outcomes[job->n] = outcome;
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

static bool finish(const struct job *job, struct err *e)
{
    return publish_picture(job, RESULT_FINAL, OPTIMIZE_LATEST, e) &&
           publish_picture(job, RESULT_BEST, OPTIMIZE_BEST, e) && finish_losses(job, e) &&
           judge(job, e);
}

static bool make_case(struct plan *p, tc_scope *root, int64_t n,
                      const struct image_tensor *images, struct err *e)
{
    struct job job = {.p = p, .n = n, .started = now(), .next_preview = RESULT_PREVIEW};
    struct err failure = {0};
    tc_scope *s = tc_push(root);
    tc_context(s, "case %s", p->case_names[n]);
    bool ok = open_job(&job, s, images, &failure) && run_epochs(&job, &failure) &&
              finish(&job, &failure);
    if (!ok && failure.code == ERR_NONFINITE) {
        progress_note(p->run->progress, NOTE_WARNING, "%s", failure.message);
        tc_recover(s);
        ok = job.o ? keep_best(&job, &failure) : (give_up(p, n, "nonfinite"), true);
    }
    if (!ok)
        *e = failure;
    if (ok)
        checkpoint_remove(&job.checkpoint);
    checkpoint_close(&job.checkpoint);
    optimize_close(job.o);
    str_free(&job.csv);
    tc_pop(s, NULL);
    return ok;
}

static bool load_networks(struct plan *p, tc_scope *root, struct err *e)
{
    return vqgan_load(&p->vqgan, root, TC_F32, e) &&
           clip_load(&p->clip, root, TC_F32, e) &&
           perceptual_load(&p->perceptual, root, TC_F32, e);
}

bool optimizing_make(struct plan *p, tc_scope *root, const struct image_tensor *images,
                     struct err *e)
{
    bool done = plan_results_are_done(p);
    bool ok = done || load_networks(p, root, e);
    for (int64_t n = 0; ok && n < p->cases; n++) {
        plan_announce(p, n);
        if (plan_case_is_done(p, n))
            continue;
        ok = stop_check(e);
        if (!ok)
            break;
        if (plan_has_parents(p, n))
            ok = make_case(p, root, n, images, e);
        else
            give_up(p, n, "no parent");
    }
    perceptual_unload(&p->perceptual);
    clip_unload(&p->clip);
    vqgan_unload(&p->vqgan);
    tc_empty_cache(root);
    return ok;
}
