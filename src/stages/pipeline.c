/* pipeline.c: the whole program in order. Leaves each stage to its own file and what was
 * asked for to src/cli. */
#include "diffens/stages.h"

#include "base/stop.h"
#include "diffens/tc_machine.h"
#include "run/record.h"
#include "stages/animate.h"
#include "stages/generate.h"
#include "stages/mixtures.h"
#include "stages/optimizing.h"
#include "stages/parents.h"
#include "stages/plan.h"
#include "stages/sheet.h"
#include "stages/summary.h"

static tc_scope *open_device(const struct run *run, struct err *e)
{
    static const char *const dtypes[] = {"auto", "fp32", "fp16", "bf16"};
    const struct options *o = run->options;
    struct tc_settings settings = {
        .device = o->device, .threads = o->threads, .deterministic = o->deterministic};
    tc_scope *root = tc_open(&settings, e);
    if (!root)
        return NULL;
    bool cpu = tc_is_cpu(root);
    const char *warning = tc_warning();
    if (cpu && o->device[0] == 'a')
        progress_note(run->progress, NOTE_INFO,
                      "no accelerator found: computing on the CPU%s%s",
                      warning[0] ? ": " : "", warning);
    const char *dtype = o->dtype != DTYPE_AUTO ? dtypes[o->dtype] : cpu ? "fp32" : "fp16";
    if (record_set_machine(run->record, tc_device(root), dtype, tc_threads(), e))
        return root;
    tc_close(root);
    return NULL;
}

/* prompts, or pictures that exist -> image tensor */
static bool make_parents(const struct plan *p, tc_scope *root,
                         struct image_tensor *images, struct err *e)
{
    return parents_open(p, images, e) &&
           (p->diffusers ? generate_parents(p, root, images, e)
                         : parents_import(p, images, e));
}

/* image tensor -> pictures */
static bool make_results(struct plan *p, tc_scope *root,
                         const struct image_tensor *images, struct err *e)
{
    switch (p->run->options->command) {
    case COMMAND_GENERATE:
        return true;
    case COMMAND_BLEND:
        return mixtures_make(p, root, images, e);
    case COMMAND_OPTIMIZE:
        return optimizing_make(p, root, images, e);
    default:
        break;
    }
    return err_set(e, ERR_BUG, "pipeline: no such command");
}

/* Pictures that were left out make the run fail, after all others are there. */
static bool check_finite(const struct plan *p, struct err *e)
{
    int missing = 0, first = -1;
    int cells = plan_cell_count(p);
    for (int cell = cells - 1; cell >= 0; cell--) {
        if (!record_cell_is_done(p->run->record, cell)) {
            missing++;
            first = cell;
        }
    }
    return missing == 0 ||
           err_set(e, ERR_NONFINITE,
                   "%s: %d of %d pictures are not made of finite numbers, this one first",
                   record_cell_path(p->run->record, first), missing, cells);
}

/* What --images names and images.npy are looked at again, and the directory tidied. */
static bool look_again(struct plan *p, struct err *e)
{
    struct image_tensor images = {0};
    bool ok =
        parents_open(p, &images, e) && (p->diffusers || parents_import(p, &images, e));
    ok = parents_close(p, &images, e) && ok;
    return ok && record_tidy(p->run->record, e);
}

/* All of it is there. */
static bool confirm(struct plan *p, struct err *e)
{
    if (!p->run->unwritable && !look_again(p, e))
        return false;
    for (int m = 0; m < p->models; m++)
        plan_announce_parents(p, m);
    for (int64_t n = 0; n < p->cases; n++)
        plan_announce(p, n);
    progress_note(p->run->progress, NOTE_INFO, "%s is complete: nothing to do",
                  p->run->record->directory);
    return true;
}

static bool make_all(struct plan *p, tc_scope *root, struct err *e)
{
    struct image_tensor images = {0};
    struct err failure = {0};
    bool ok = stop_check(e) && record_begin(p->run->record, e) &&
              make_parents(p, root, &images, e) && make_results(p, root, &images, e) &&
              stop_check(e) && sheet_write(p, e) && animate_make(p, &failure, e) &&
              summary_write(p, e);
    ok = parents_close(p, &images, e) && ok;
    ok = ok && record_complete(p->run->record, e) && check_finite(p, e);
    if (ok)
        *e = failure;
    return ok && failure.code == ERR_OK;
}

/* The message says how far it came. */
static bool stop(const struct plan *p, struct err *e)
{
    struct err failure = {0};
    if (!record_stop(p->run->record, &failure)) {
        *e = failure;
        return false;
    }
    *e = (struct err){0};
    return err_set(e, ERR_STOPPED, "%s: %d of %d pictures are done in %s", stop_reason(),
                   plan_cells_done(p), plan_cell_count(p), p->run->record->directory);
}

static bool run_plan(struct plan *p, struct err *e)
{
    const struct run *run = p->run;
    bool complete = false;
    if (run->options->resume && !record_resume(run->record, &complete, run->progress, e))
        return false;
    if (complete)
        return confirm(p, e);
    if (run->unwritable) {
        *e = *run->unwritable;
        return false;
    }
    plan_keep_networks(p);
    if (!plan_check_disk(p, e))
        return false;
    tc_scope *root = open_device(run, e);
    bool ok = root && record_check_machine(run->record, run->progress, e) &&
              make_all(p, root, e);
    tc_close(root);
    if (!ok && e->code == ERR_STOPPED)
        return stop(p, e);
    return ok;
}

bool pipeline_run(const struct run *run, struct err *e)
{
    struct plan p = {0};
    bool ok = plan_make(&p, run, e) && run_plan(&p, e);
    plan_close(&p);
    return ok;
}
