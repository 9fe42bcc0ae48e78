/* set.c: an option takes its value. Leaves reading the value to value.c, and where it is
 * found to parse.c, config_file.c and environment.c. */
#include "cli/set.h"

#include "base/str.h"
#include "cli/commands.h"
#include "io/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The same value as given, but without the folders of an absolute path: records must not
 * depend on where things lie on one machine. */
static char *portable_value(const struct option *option, const char *value)
{
    if (option->kind == OPTION_PATH && value[0] == '/')
        return str_dup(str_file_name(value));
    if (option->kind != OPTION_NAMES || !strchr(value, '/'))
        return str_dup(value);
    struct str names = {0};
    for (const char *item = value; item;) {
        const char *end = strchr(item, ',');
        size_t size = end ? (size_t)(end - item) : strlen(item);
        const char *slash = item[0] == '/' ? memrchr(item, '/', size) : NULL;
        const char *from = slash ? slash + 1 : item;
        str_add(&names, slash ? "./" : ""); /* none of the ensemble's models */
        str_add_bytes(&names, from, size - (size_t)(from - item));
        str_add(&names, end ? "," : "");
        item = end ? end + 1 : NULL;
    }
    return str_take(&names);
}

bool option_add_argument(struct options *o, char *argument)
{
    size_t count = (size_t)o->argument_count + 1;
    char **arguments = argument ? realloc(o->arguments, count * sizeof *arguments) : NULL;
    if (!arguments) {
        free(argument);
        return false;
    }
    o->arguments = arguments;
    o->arguments[o->argument_count++] = argument;
    return true;
}

enum value_result option_set(struct options *o, const struct option *option,
                             const char *value, enum option_source source)
{
    enum value_result result = value_read(option, value, o);
    if (result != VALUE_OK)
        return result;
    o->given[option - option_table] = source;
    if (option->unrecorded)
        return VALUE_OK;
    struct str name = {0};
    str_addf(&name, "--%s", option->name);
    bool ok =
        option_add_argument(o, str_take(&name)) &&
        (!option->argument || option_add_argument(o, portable_value(option, value)));
    return ok ? VALUE_OK : VALUE_NO_MEMORY;
}

/* Says the range of the first limit of a list that is outside its own, or what its name
 * may have meant. */
static bool hint_limit(const char *list, struct err *e)
{
    const char *known[LIMIT_COUNT];
    char name[32], most[32];
    enum limit limit;
    uint64_t value;
    for (int i = 0; i < LIMIT_COUNT; i++)
        known[i] = limit_table[i].name;
    size_t length = strcspn(list, ",");
    while (limit_parse(list, length, &limit, &value) && list[length]) {
        list += length + 1;
        length = strcspn(list, ",");
    }
    snprintf(name, sizeof name, "%.*s", (int)strcspn(list, "=,"), list);
    for (int i = 0; i < LIMIT_COUNT; i++)
        if (strcmp(name, known[i]) == 0)
            return err_hint(
                e, "%s takes 1 to %s, each limit once", name,
                limit_show(&limit_table[i], limit_table[i].most, most, sizeof most));
    const char *nearest = str_nearest(name, known, LIMIT_COUNT);
    return nearest && err_hint(e, "did you mean %s=N?", nearest);
}

bool option_hint_value(const struct option *option, const char *value, struct err *e)
{
    const char *words[32], *word;
    char copies[32][24];
    size_t count = 0, length;
    if (option->kind == OPTION_SIZE && *value && !value[strspn(value, "0123456789")])
        return err_hint(e, "did you mean %.8sx%.8s?", value, value);
    if (option->kind == OPTION_LIMITS)
        return hint_limit(value, e);
    if (option->kind != OPTION_WORD && option->kind != OPTION_CHOICE)
        return false;
    while (count < 32 && (length = option_choice(option, (int)count, &word)) > 0 &&
           length < sizeof copies[0]) {
        memcpy(copies[count], word, length);
        copies[count][length] = '\0';
        words[count] = copies[count];
        count++;
    }
    const char *nearest = str_nearest(value, words, count);
    return nearest ? err_hint(e, "did you mean %s?", nearest) : false;
}

/* Options that people try because other tools have them. */
static const char *familiar_name(const char *name)
{
    static const char *const pairs[][2] = {
        {"seed", "random-seed"},
        {"learning-rate", "lr"},
        {"iterations", "epochs"},
        {"cfg", "guidance"},
        {"cfg-scale", "guidance"},
        {"guidance-scale", "guidance"},
        {"sampler", "scheduler"},
        {"negative-prompt", "negative"},
        {"output", "out"},
        {"outdir", "out"},
        {"alpha", "gamma"},
        {"resolution", "size"},
        {"width", "size"},
        {"height", "size"},
        {"batch-size", "batch"},
        {"num-inference-steps", "steps"},
        {"precision", "dtype"},
        {"normalise", "normalize"},
        {"requantise", "requantize"},
        {"layers", "layer"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (strcmp(pairs[i][0], name) == 0)
            return pairs[i][1];
    return NULL;
}

bool option_hint_name(const char *name, enum command_bit command, struct err *e)
{
    const char *familiar = familiar_name(name);
    if (familiar && option_find(familiar, strlen(familiar), command))
        return err_hint(e, "did you mean --%s?", familiar);
    const struct option *other = option_find(name, strlen(name), ~0u);
    if (other)
        return err_hint(e, "--%s is an option of diffens %s", other->name,
                        command_of(other->commands & -other->commands)->name);
    const struct option *nearest = option_nearest(name, command);
    if (nearest)
        return err_hint(e, "did you mean --%s?", nearest->name);
    return err_hint(e, "diffens %s --help lists them", command_of(command)->name);
}
