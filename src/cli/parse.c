/* parse.c: walks the argument vector by the option table. Leaves values to value.c, what
 * goes together to check.c and help to help.c. */
#include "cli/parse.h"

#include "base/str.h"
#include "cli/option_table.h"
#include "cli/value.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LONGEST_NAME 64

struct parser {
    int argc;
    char *const *argv;
    int at;
    struct parsed *out;
    const char *given[OPTIONS_LIMIT]; /* by index in the table */
    struct err *e;
};

static bool out_of_memory(struct err *e)
{
    return err_set(e, ERR_MEMORY, "command line: out of memory");
}

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
        str_add_bytes(&names, from, size - (size_t)(from - item));
        str_add(&names, end ? "," : "");
        item = end ? end + 1 : NULL;
    }
    return str_take(&names);
}

/* Takes over `argument`, which may be NULL for want of memory. */
static bool add_argument(struct parser *p, char *argument)
{
    struct options *o = &p->out->options;
    if (!o->arguments)
        o->arguments = calloc((size_t)p->argc * 2 + 2, sizeof *o->arguments);
    if (!argument || !o->arguments) {
        free(argument);
        return out_of_memory(p->e);
    }
    o->arguments[o->argument_count++] = argument;
    return true;
}

static bool add_option_argument(struct parser *p, const struct option *option,
                                const char *value)
{
    struct str name = {0};
    str_addf(&name, "--%s", option->name);
    return add_argument(p, str_take(&name)) &&
           (!option->argument || add_argument(p, portable_value(option, value)));
}

static bool refuse_value(struct parser *p, const struct option *option, const char *value)
{
    char expected[400];
    option_expected(option, expected, sizeof expected);
    err_set(p->e, ERR_USAGE, "--%s: found \"%s\", expected %s", option->name,
            STR_SHOW(value), expected);
    if (option->kind != OPTION_WORD && option->kind != OPTION_CHOICE)
        return false;
    const char *words[32], *word;
    char copies[32][24];
    size_t count = 0, length;
    while (count < 32 && (length = option_choice(option, (int)count, &word)) > 0 &&
           length < sizeof copies[0]) {
        memcpy(copies[count], word, length);
        copies[count][length] = '\0';
        words[count] = copies[count];
        count++;
    }
    const char *nearest = str_nearest(value, words, count);
    return nearest ? err_hint(p->e, "did you mean %s?", nearest) : false;
}

static bool set_option(struct parser *p, const struct option *option, const char *value)
{
    const char **given = &p->given[option - option_table];
    bool repeated = *given && option->kind != OPTION_WEIGHTS;
    if (repeated && strcmp(*given, value) != 0)
        return err_set(p->e, ERR_USAGE, "--%s: given twice, as \"%s\" and as \"%s\"",
                       option->name, STR_SHOW(*given), STR_SHOW(value));
    if (repeated)
        return true;
    *given = value;
    p->out->options.given[option - option_table] = true;
    switch (value_read(option, value, &p->out->options)) {
    case VALUE_OK:
        return add_option_argument(p, option, value);
    case VALUE_NO_MEMORY:
        return out_of_memory(p->e);
    case VALUE_WRONG:
        break;
    }
    return refuse_value(p, option, value);
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

static bool refuse_option(struct parser *p, const char *name)
{
    const struct command *command = p->out->command;
    err_set(p->e, ERR_USAGE,
            "%s: found option \"--%s\", expected one that diffens %s has", command->name,
            STR_SHOW(name), command->name);
    const char *familiar = familiar_name(name);
    if (familiar && option_find(familiar, strlen(familiar), command->bit))
        return err_hint(p->e, "did you mean --%s?", familiar);
    const struct option *other = option_find(name, strlen(name), ~0u);
    if (other)
        return err_hint(p->e, "--%s is an option of diffens %s", other->name,
                        command_of(other->commands & -other->commands)->name);
    const struct option *nearest = option_nearest(name, command->bit);
    if (nearest)
        return err_hint(p->e, "did you mean --%s?", nearest->name);
    return err_hint(p->e, "diffens %s --help lists them", command->name);
}

/* --name, --name value, --name=value */
static bool parse_long(struct parser *p, const char *text)
{
    const char *equals = strchr(text, '=');
    size_t length = equals ? (size_t)(equals - text) : strlen(text);
    const struct option *option = option_find(text, length, p->out->command->bit);
    if (!option) {
        char name[LONGEST_NAME];
        snprintf(name, sizeof name, "%.*s", (int)(length < 4096 ? length : 4096), text);
        return refuse_option(p, name);
    }
    if (!option->argument) {
        if (equals)
            return err_set(p->e, ERR_USAGE, "--%s: found value \"%s\", expected no value",
                           option->name, STR_SHOW(equals + 1));
        return set_option(p, option, "");
    }
    if (equals)
        return set_option(p, option, equals + 1);
    const char *value = p->at < p->argc ? p->argv[p->at] : NULL;
    /* `--prompt --steps 20` is a forgotten value far more often than a prompt "--steps"
     */
    if (!value || (strncmp(value, "--", 2) == 0)) {
        err_set(p->e, ERR_USAGE, "--%s: found no value, expected --%s %s", option->name,
                option->name, option->argument);
        return value ? err_hint(p->e, "a value that begins with -- is written --%s=VALUE",
                                option->name)
                     : false;
    }
    p->at++;
    return set_option(p, option, value);
}

/* -q, -o DIR, -oDIR; several flags in one: -vf */
static bool parse_short(struct parser *p, const char *letters)
{
    for (; *letters; letters++) {
        const struct option *option = option_find_letter(*letters, p->out->command->bit);
        if (!option) {
            err_set(p->e, ERR_USAGE,
                    "%s: found option \"-%s\", expected one that diffens %s has",
                    p->out->command->name, STR_SHOW(letters), p->out->command->name);
            return err_hint(p->e, "diffens %s --help lists them", p->out->command->name);
        }
        if (!option->argument) {
            if (!set_option(p, option, ""))
                return false;
            continue;
        }
        if (letters[1])
            return set_option(p, option, letters + 1);
        if (p->at >= p->argc)
            return err_set(p->e, ERR_USAGE, "-%c: found no value, expected -%c %s",
                           option->letter, option->letter, option->argument);
        return set_option(p, option, p->argv[p->at++]);
    }
    return true;
}

static bool refuse_argument(struct parser *p, const char *argument)
{
    err_set(p->e, ERR_USAGE, "%s: found argument \"%s\", expected options only",
            p->out->command->name, STR_SHOW(argument));
    return err_hint(p->e, "a prompt is given with --prompt \"...\"");
}

static bool set_defaults(struct parser *p)
{
    for (int i = 0; i < option_count; i++) {
        const struct option *option = &option_table[i];
        bool wanted = option->initial && (option->commands & p->out->command->bit);
        if (wanted && value_read(option, option->initial, &p->out->options) != VALUE_OK)
            return err_set(p->e, ERR_BUG, "--%s: the default is not a value",
                           option->name);
    }
    return true;
}

static enum parse_outcome parse_options(struct parser *p)
{
    bool options_end = false;
    if (!set_defaults(p) || !add_argument(p, str_dup("diffens")) ||
        !add_argument(p, str_dup(p->out->command->name)))
        return PARSE_ERROR;
    while (p->at < p->argc) {
        const char *argument = p->argv[p->at++];
        bool ok;
        if (options_end || argument[0] != '-' || !argument[1])
            ok = refuse_argument(p, argument);
        else if (strcmp(argument, "--") == 0)
            ok = options_end = true;
        else if (strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0)
            return PARSE_HELP;
        else if (argument[1] == '-')
            ok = parse_long(p, argument + 2);
        else
            ok = parse_short(p, argument + 1);
        if (!ok)
            return PARSE_ERROR;
    }
    return options_check(&p->out->options, p->e) ? PARSE_RUN : PARSE_ERROR;
}

static enum parse_outcome refuse_command(const char *name, struct err *e)
{
    struct str names = {0};
    for (int i = 0; i < command_count; i++)
        str_addf(&names, "%s%s", i ? ", " : "", command_table[i].name);
    bool option = name[0] == '-';
    err_set(e, ERR_USAGE, "found %s \"%s\", expected a command: %s",
            option ? "option" : "command", STR_SHOW(name), str_text(&names));
    str_free(&names);
    const struct command *nearest = option ? NULL : command_nearest(name);
    if (nearest)
        err_hint(e, "did you mean %s?", nearest->name);
    else
        err_hint(e, "diffens --help says more");
    return PARSE_ERROR;
}

enum parse_outcome options_parse(int argc, char *const *argv, struct parsed *parsed,
                                 struct err *e)
{
    struct parser p = {.argc = argc, .argv = argv, .at = 2, .out = parsed, .e = e};
    const char *first = argc > 1 ? argv[1] : "--help";
    if (strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0)
        return PARSE_HELP;
    if (strcmp(first, "--version") == 0)
        return PARSE_VERSION;
    parsed->command = command_find(first);
    if (!parsed->command)
        return refuse_command(first, e);
    parsed->options.command = parsed->command->bit;
    return parse_options(&p);
}
