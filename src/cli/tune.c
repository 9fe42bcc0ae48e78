/* tune.c: defaults that an ensemble has of its own. Leaves reading them from its file to
 * models/ensemble.c, which knows no options. */
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

/* Every command draws; "optimize" is the business of one. */
static bool concerns(const struct ensemble_default *d, unsigned command)
{
    return strcmp(d->section, "optimize") != 0 || command == COMMAND_OPTIMIZE;
}

bool options_tune(struct options *o, const struct ensemble *s, struct err *e)
{
    for (int i = 0; i < s->default_count; i++)
        if (concerns(&s->defaults[i], o->command) && !tune(o, s, &s->defaults[i], e))
            return false;
    return true;
}
