/* summary.c: says what the cases of the report consist of. Leaves the page to
 * run/report.h. */
#include "stages/summary.h"

#include "models/prompts.h"
#include "run/record.h"
#include "run/report.h"
#include "stages/losses.h"

#define NAME_SIZE 256

/* What describe() hands out stays until the next call. */
struct summary {
    const struct plan *p;
    char losses[NAME_SIZE], animations[LAYER_COUNT][NAME_SIZE];
};

static int cell_at(const void *user, int64_t n, int i)
{
    const struct plan *p = ((const struct summary *)user)->p;
    return i < p->models ? plan_parent_cell(p, n, i)
                         : plan_result_cell(p, n, i - p->models);
}

static void describe(void *user, int64_t n, struct report_case *out)
{
    struct summary *summary = user;
    const struct plan *p = summary->p;
    const struct prompts *prompts = p->run->prompts;
    *out = (struct report_case){.name = p->case_names[n],
                                .prompt = prompts ? prompts->given[n] : NULL};
    for (int row = 0; row < plan_animations(p); row++) {
        const char *file =
            plan_animation_file(p, n, row, summary->animations[row], NAME_SIZE);
        if (record_file_is_done(p->run->record, file))
            out->animations[row] = file;
    }
    if (p->run->options->command != COMMAND_OPTIMIZE)
        return;
    out->losses = plan_losses_file(p, n, summary->losses, NAME_SIZE);
}

static bool levels_of(void *user, int64_t n, struct loss_levels *out, struct err *e)
{
    return losses_levels(((const struct summary *)user)->p, n, out, e);
}

bool summary_write(const struct plan *p, struct err *e)
{
    struct summary summary = {.p = p};
    const struct report report = {.cases = p->cases,
                                  .parents = p->models,
                                  .results = p->results,
                                  .cell = cell_at,
                                  .describe = describe,
                                  .levels = levels_of,
                                  .user = &summary};
    if (!report_write(p->run->record, &report, e))
        return false;
    progress_note(p->run->progress, NOTE_INFO, "report: %s/report.html",
                  p->run->record->directory);
    return true;
}
