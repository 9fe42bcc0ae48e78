/* generate.c: `diffens generate`. Leaves the work to the pipeline. */
#include "cli/commands.h"
#include "cli/run_command.h"

static bool select_models(struct ensemble *s, const struct options *o, struct err *e)
{
    return o->models.count == 0 || ensemble_select(s, o->models.name, o->models.count, e);
}

bool command_generate(const struct options *o, struct err *e)
{
    return run_command(o, "generate", select_models, e);
}
