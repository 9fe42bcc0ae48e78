/* blend.c: `diffens blend`. Leaves the work to the pipeline. */
#include "base/str.h"
#include "cli/commands.h"
#include "cli/run_command.h"

/* One weight for each parent. */
static bool check_weights(const struct ensemble *s, const struct options *o,
                          struct err *e)
{
    int found = o->weights.set[0].count;
    if (found == s->count)
        return true;
    struct str names = {0};
    for (int i = 0; i < s->count; i++)
        str_addf(&names, "%s%s", i ? ", " : "", s->diffusers[i].name);
    err_set(e, ERR_USAGE, "--weights: found %d numbers, expected %d: one for each of %s",
            found, s->count, str_text(&names));
    str_free(&names);
    return false;
}

/* A gamma mixes two parents: a pair that is given, or that of the ensemble. Weights mix
 * all of them. */
static bool select_models(struct ensemble *s, const struct options *o, struct err *e)
{
    bool ok = true;
    if (o->pair.count > 0)
        ok = ensemble_select(s, o->pair.name, o->pair.count, e);
    else if (o->models.count > 0)
        ok = ensemble_select(s, o->models.name, o->models.count, e);
    else if (o->weights.count == 0)
        ok = ensemble_select_pair(s, e);
    if (!ok)
        return false;
    if (o->weights.count > 0)
        return check_weights(s, o, e);
    if (s->count == 2)
        return true;
    err_set(e, ERR_USAGE, "--models: found %d, expected 2: a gamma mixes two parents",
            s->count);
    return err_hint(e, "weights for any number of parents are given with --weights");
}

bool command_blend(const struct options *o, struct err *e)
{
    return run_command(o, "blend", select_models, e);
}
