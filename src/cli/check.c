/* check.c: which options exclude each other, and which need another. Leaves single values
 * to value.c, and what depends on the ensemble (how many parents) to the command. */
#include "cli/option_table.h"
#include "cli/parse.h"

#include "base/str.h"

#include <stdlib.h>
#include <string.h>

/* Why the two cannot be together; NULL where they can. */
static const char *exclusion(const struct option *a, const struct option *b)
{
    static const char *const pairs[][3] = {
        {"prompts", "prompt", "each says what to draw"},
        {"gamma", "weights", "each says how to mix"},
        {"pair", "models", "each says which models to load"},
        {"resume", "force", "one goes on with a run, the other starts over"},
        {"verbose", "quiet", "they contradict each other"},
        {"quiet", "progress", "--quiet shows none"},
        {"dry-run", "print-config", "each says what to print instead of a run"},
        {"json", "command", "each says what to print"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (strcmp(a->name, pairs[i][0]) == 0 && strcmp(b->name, pairs[i][1]) == 0)
            return pairs[i][2];
    return strcmp(a->name, "images") == 0 && b->first_stage
               ? "pictures that exist are not drawn"
               : NULL;
}

bool option_is_overruled(const struct options *o, const struct option *option)
{
    for (int i = 0; i < option_count; i++)
        if (o->given[i] &&
            (exclusion(&option_table[i], option) || exclusion(option, &option_table[i])))
            return true;
    return false;
}

static bool check_exclusive(const struct options *o, struct err *e)
{
    for (int i = 0; i < option_count; i++) {
        for (int j = 0; o->given[i] && j < option_count; j++) {
            const struct option *a = &option_table[i], *b = &option_table[j];
            const char *why = o->given[j] ? exclusion(a, b) : NULL;
            if (why)
                return err_set(e, ERR_USAGE,
                               "found --%s and --%s, expected one of them: %s", a->name,
                               b->name, why);
        }
    }
    return true;
}

static bool check_plan(const struct options *o, struct err *e)
{
    return !o->measure || o->dry_run ||
           err_set(e, ERR_USAGE,
                   "found --measure without --dry-run, to whose plan it adds");
}

static bool check_mix(const struct options *o, struct err *e)
{
    if (o->normalize && o->weights.count == 0)
        return err_set(e, ERR_USAGE,
                       "found --normalize without --weights, which it changes");
    if (o->requantize && !(o->layers & LAYER_POSTQUANT))
        return err_set(
            e, ERR_USAGE,
            "found --requantize without layer postquant, expected --layer with "
            "postquant in it: the others are quantized in any case");
    if (o->command == COMMAND_OPTIMIZE && o->weights.count > 1)
        return err_set(e, ERR_USAGE,
                       "--weights: given %d times, expected once: one result a case",
                       o->weights.count);
    for (int i = 1; i < o->weights.count; i++)
        if (o->weights.set[i].count != o->weights.set[0].count)
            return err_set(e, ERR_USAGE,
                           "--weights: found sets of %d and of %d numbers, expected one "
                           "for each parent in every set",
                           o->weights.set[0].count, o->weights.set[i].count);
    return true;
}

/* "--seed 42" is what other tools call --random-seed. */
static bool check_seed(const struct options *o, struct err *e)
{
    const char *seed = o->optimize.seed;
    if (!seed || seed[strspn(seed, "0123456789")])
        return true;
    err_set(e, ERR_USAGE,
            "--seed: found \"%s\", expected noise, gaussian, input or an image",
            STR_SHOW(seed));
    return err_hint(e,
                    "a number is given with --random-seed %s; an image of that name is "
                    "./%s",
                    STR_SHOW(seed), STR_SHOW(seed));
}

bool options_check(const struct options *o, struct err *e)
{
    return check_exclusive(o, e) && check_plan(o, e) && check_mix(o, e) &&
           check_seed(o, e);
}

void options_free(struct options *o)
{
    for (int i = 0; i < o->models.count; i++)
        free(o->models.name[i]);
    for (int i = 0; i < o->pair.count; i++)
        free(o->pair.name[i]);
    for (int i = 0; i < o->limits.count; i++)
        free(o->limits.name[i]);
    for (int i = 0; i < o->argument_count; i++)
        free(o->arguments[i]);
    for (int i = 0; i < o->text_count; i++)
        free(o->texts[i]);
    free(o->arguments);
    free(o->operands);
    free(o->texts);
    *o = (struct options){0};
}
