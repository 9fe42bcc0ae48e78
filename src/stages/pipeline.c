/* pipeline.c: the whole program in order. Leaves each stage to its own file and what was
 * asked for to src/cli. */
#include "diffens/stages.h"

#include "run/record.h"
#include "stages/generate.h"
#include "stages/mixtures.h"
#include "stages/optimizing.h"
#include "stages/parents.h"
#include "stages/plan.h"
#include "stages/sheet.h"

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
    if (cpu && o->device[0] == 'a')
        progress_note(run->progress, NOTE_INFO,
                      "no accelerator found: computing on the CPU");
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
    const char *path = record_file_path(p->run->record, "images.npy");
    return image_tensor_create(images, path, p->cases, p->models, p->height, p->width,
                               e) &&
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

static bool run_plan(struct plan *p, tc_scope *root, struct err *e)
{
    struct image_tensor images = {0};
    bool ok = record_begin(p->run->record, e) && make_parents(p, root, &images, e) &&
              make_results(p, root, &images, e) && sheet_write(p, e);
    ok = image_tensor_close(&images, e) && ok;
    return ok && record_complete(p->run->record, e) && check_finite(p, e);
}

bool pipeline_run(const struct run *run, struct err *e)
{
    struct plan p = {0};
    bool ok = plan_make(&p, run, e);
    tc_scope *root = ok ? open_device(run, e) : NULL;
    ok = root && run_plan(&p, root, e);
    tc_close(root);
    plan_close(&p);
    return ok;
}
