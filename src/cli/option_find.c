/* option_find.c: look-up in the option table, and its rows in words. Leaves the table to
 * option_table.c. */
#include "cli/option_table.h"

#include "base/str.h"

#include <stdio.h>
#include <string.h>

const struct option *option_find(const char *name, size_t length, unsigned commands)
{
    for (const struct option *o = option_table; o < option_table + option_count; o++)
        if ((o->commands & commands) && strlen(o->name) == length &&
            memcmp(o->name, name, length) == 0)
            return o;
    return NULL;
}

const struct option *option_find_letter(char letter, unsigned commands)
{
    for (const struct option *o = option_table; o < option_table + option_count; o++)
        if ((o->commands & commands) && o->letter && o->letter == letter)
            return o;
    return NULL;
}

const struct option *option_nearest(const char *name, unsigned commands)
{
    const char *known[OPTIONS_LIMIT];
    size_t count = 0;
    for (int i = 0; i < option_count; i++)
        if (option_table[i].commands & commands)
            known[count++] = option_table[i].name;
    const char *best = str_nearest(name, known, count);
    return best ? option_find(best, strlen(best), commands) : NULL;
}

const char *option_group_title(enum option_group group)
{
    static const char *const titles[GROUP_COUNT] = {
        "Prompts and models", "Drawing", "Mixing", "Optimising", "Computing", "Output"};
    return titles[group];
}

size_t option_choice(const struct option *o, int index, const char **word)
{
    const char *at = o->choices;
    while (at && *at) {
        size_t length = strcspn(at, " ");
        if (index-- == 0) {
            *word = at;
            return length;
        }
        at += length + (at[length] == ' ');
    }
    return 0;
}

/* "shared, independent" */
static void join_choices(const struct option *o, const char *head, char *text,
                         size_t size)
{
    const char *word;
    size_t used = (size_t)snprintf(text, size, "%s", head);
    for (int i = 0; used < size; i++) {
        size_t length = option_choice(o, i, &word);
        if (length == 0)
            return;
        used += (size_t)snprintf(text + used, size - used, "%s%.*s", i ? ", " : "",
                                 (int)length, word);
    }
}

bool option_is_repeatable(const struct option *o)
{
    return o->kind == OPTION_WEIGHTS || o->kind == OPTION_LIMITS;
}

const char *option_expected(const struct option *o, char *text, size_t size)
{
    const char *automatic = o->automatic ? "auto or " : "";
    switch (o->kind) {
    case OPTION_FLAG:
        snprintf(text, size, "no value");
        break;
    case OPTION_TEXT:
        snprintf(text, size, "UTF-8 text of at most 65536 bytes");
        break;
    case OPTION_PATH:
        snprintf(text, size, "%s",
                 o->offset == offsetof(struct options, device) ? "a device"
                 : o->offset == offsetof(struct options, optimize.seed)
                     ? "noise, gaussian, input or an image"
                     : "a path");
        break;
    case OPTION_INTEGER:
        snprintf(text, size, "%sinteger %.0f..%.0f", automatic, o->min, o->max);
        break;
    case OPTION_SEED:
        snprintf(text, size, "integer 0..18446744073709551615");
        break;
    case OPTION_REAL:
        snprintf(text, size, "number %g..%g", o->min, o->max);
        break;
    case OPTION_CHOICE:
    case OPTION_WORD:
        join_choices(o, "one of ", text, size);
        break;
    case OPTION_SIZE:
        if (o->multiple > 1)
            snprintf(text, size, "HEIGHTxWIDTH, each a multiple of %d, %.0f..%.0f",
                     o->multiple, o->min, o->max);
        else
            snprintf(text, size, "HEIGHTxWIDTH, each %.0f..%.0f", o->min, o->max);
        break;
    case OPTION_NAMES:
        if (o->min == o->max)
            snprintf(text, size, "%.0f different names separated by commas", o->min);
        else
            snprintf(text, size, "%.0f to %.0f different names separated by commas",
                     o->min, o->max);
        break;
    case OPTION_INTERVAL:
        snprintf(text, size, "A:B with %g <= A <= B <= %g", o->min, o->max);
        break;
    case OPTION_GAMMA:
        snprintf(text, size,
                 "different numbers %g..%g: one, a list A,B,... or a range start:stop:count, "
                 "at most %d of them",
                 o->min, o->max, OPTIONS_MAX_GAMMAS);
        break;
    case OPTION_WEIGHTS:
        snprintf(text, size, "a list of at most %d numbers %g..%g with a sum above 0",
                 OPTIONS_MAX_MODELS, o->min, o->max);
        break;
    case OPTION_SET:
        join_choices(o, o->min > 0 ? "all or a list of " : "none, all or a list of ",
                     text, size);
        break;
    case OPTION_SHARD:
        snprintf(text, size, "%sI/N with 0 <= I < N <= %.0f", automatic, o->max);
        break;
    case OPTION_LIMITS:
        snprintf(text, size, "NAME=N, a limit of `diffens help limits` within its range");
        break;
    case OPTION_CROPS:
        snprintf(text, size,
                 "COUNTxSIDE,... such as 1x1,8x0.25 (side above 0, at most 1)");
        break;
    }
    return text;
}
