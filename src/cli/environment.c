/* environment.c: looks the variables of the option table up. Leaves values to set.c, and
 * $DIFFENS_MODELS, which is no option, to models/ensemble_find.c. */
#include "cli/environment.h"

#include "base/str.h"
#include "cli/set.h"

#include <stdlib.h>

static bool set_from(struct options *o, const struct option *option, struct err *e)
{
    char expected[400];
    const char *value = getenv(option->variable);
    if (!value || !*value)
        return true;
    switch (option_set(o, option, value, FROM_ENVIRONMENT)) {
    case VALUE_OK:
        return true;
    case VALUE_NO_MEMORY:
        return err_set(e, ERR_MEMORY, "$%s: out of memory", option->variable);
    case VALUE_WRONG:
        break;
    }
    err_set(e, ERR_USAGE, "$%s: found \"%s\", expected %s", option->variable,
            STR_SHOW(value), option_expected(option, expected, sizeof expected));
    return option_hint_value(option, value, e);
}

bool environment_read(struct options *o, struct err *e)
{
    for (int i = 0; i < option_count; i++) {
        const struct option *option = &option_table[i];
        bool open = option->variable && (option->commands & o->command) && !o->given[i];
        if (open && !set_from(o, option, e))
            return false;
    }
    return true;
}
