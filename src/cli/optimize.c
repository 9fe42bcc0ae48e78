/* optimize.c: `diffens optimize`. Leaves the work to the pipeline. */
#include "cli/commands.h"
#include "cli/run_command.h"

/* Any number of parents: all of the ensemble, unless some are chosen. */
static bool select_models(struct ensemble *s, const struct options *o, struct err *e)
{
    const struct option_names *chosen = o->pair.count > 0 ? &o->pair : &o->models;
    return chosen->count == 0 || ensemble_select(s, chosen->name, chosen->count, e);
}

bool command_optimize(const struct options *o, struct err *e)
{
    return run_command(o, "optimize", select_models, e);
}
