/* tune.c: defaults that an ensemble has of its own, and presets. Leaves reading the first
 * from their file to src/models, which knows no options. */
#include "cli/parse.h"

#include "base/str.h"
#include "cli/option_table.h"
#include "cli/value.h"
#include "models/ensemble.h"

#include <stdio.h>
#include <string.h>

/* "lr_decay" of ensemble.json is --lr-decay. */
static const struct option *find(const char *field, unsigned command)
{
    char name[64];
    snprintf(name, sizeof name, "%s", field);
    for (char *c = name; *c; c++)
        *c = *c == '_' ? '-' : *c;
    return option_find(name, strlen(name), command);
}

static bool tune(struct options *o, const struct ensemble *s,
                 const struct ensemble_default *d, struct err *e)
{
    const struct option *option = find(d->field, o->command);
    char expected[400];
    if (!option)
        return err_set(e, ERR_BUG, "%s: $.%s.%s: no such option", s->file, d->section,
                       d->field);
    if (o->given[option - option_table] || value_read(option, d->text, o) == VALUE_OK)
        return true;
    return err_set(e, ERR_INPUT, "%s: $.%s.%s: found \"%s\", expected %s",
                   STR_SHOW(s->file), d->section, d->field, STR_SHOW(d->text),
                   option_expected(option, expected, sizeof expected));
}

static bool preset_is(const struct options *o, const char *name)
{
    return o->optimize.preset && strcmp(o->optimize.preset, name) == 0;
}

/* Every command draws; the others' sections are the business of one, and of that not
 * where its preset is the options' own defaults. */
static bool concerns(const struct ensemble_default *d, const struct options *o)
{
    if (strcmp(d->section, "generate") == 0)
        return true;
    if (o->command != COMMAND_OPTIMIZE || preset_is(o, "paper"))
        return false;
    return strcmp(d->section, "optimize") == 0 || strcmp(o->optimize.seed, "input") == 0;
}

struct setting {
    const char *name, *text;
};

/* As Crowson's VQGAN+CLIP: 64 cutouts, their sides spread between CLIP's and the
 * picture's. */
static const struct setting crowson[] = {
    {"layer", "prequant"},
    {"lr", "0.05"},
    {"lr-decay", "1"},
    {"crops", "8x0.4,8x0.48,8x0.56,8x0.64,8x0.72,8x0.8,8x0.88,8x0.96"},
    {"crop-pairing", "all"},
    {"clip-distance", "spherical"},
    {NULL, NULL}};

static bool apply_crowson(struct options *o, struct err *e)
{
    for (const struct setting *t = crowson; t->name; t++) {
        const struct option *option = option_find(t->name, strlen(t->name), o->command);
        if (!option || (!o->given[option - option_table] &&
                        value_read(option, t->text, o) != VALUE_OK))
            return err_set(e, ERR_BUG, "--preset crowson: no such setting: %s", t->name);
    }
    return true;
}

bool options_tune(struct options *o, const struct ensemble *s, struct err *e)
{
    for (int i = 0; i < s->default_count; i++)
        if (concerns(&s->defaults[i], o) && !tune(o, s, &s->defaults[i], e))
            return false;
    return !preset_is(o, "crowson") || apply_crowson(o, e);
}
