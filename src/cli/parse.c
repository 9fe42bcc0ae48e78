/* parse.c: walks the argument vector by the option table. Leaves values to set.c, other
 * places where options are found to config_file.c and environment.c, what goes together
 * to check.c and help to help.c. */
#include "cli/parse.h"

#include "base/str.h"
#include "cli/config_file.h"
#include "cli/environment.h"
#include "cli/pages.h"
#include "cli/set.h"
#include "cli/shard.h"
#include "io/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LONGEST_NAME 64
#define KNOWN_MAX 32 /* commands and topics */

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

static bool set_option(struct parser *p, const struct option *option, const char *value)
{
    char expected[400];
    const char **given = &p->given[option - option_table];
    bool repeated = *given && !option_is_repeatable(option);
    if (repeated && strcmp(*given, value) != 0)
        return err_set(p->e, ERR_USAGE, "--%s: given twice, as \"%s\" and as \"%s\"",
                       option->name, STR_SHOW(*given), STR_SHOW(value));
    if (repeated)
        return true;
    *given = value;
    switch (option_set(&p->out->options, option, value, FROM_COMMAND_LINE)) {
    case VALUE_OK:
        return true;
    case VALUE_NO_MEMORY:
        return out_of_memory(p->e);
    case VALUE_WRONG:
        break;
    }
    err_set(p->e, ERR_USAGE, "--%s: found \"%s\", expected %s", option->name,
            STR_SHOW(value), option_expected(option, expected, sizeof expected));
    return option_hint_value(option, value, p->e);
}

static bool refuse_option(struct parser *p, const char *name)
{
    const struct command *command = p->out->command;
    err_set(p->e, ERR_USAGE,
            "%s: found option \"--%s\", expected one that diffens %s has", command->name,
            STR_SHOW(name), command->name);
    return option_hint_name(name, command->bit, p->e);
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
    return (p->out->command->bit & COMMANDS_RUN) &&
           err_hint(p->e, "a prompt is given with --prompt \"...\"");
}

/* An argument that is neither an option nor the value of one. */
static bool take_operand(struct parser *p, const char *argument)
{
    struct options *o = &p->out->options;
    const struct command *command = p->out->command;
    if (command->operands && o->operand_count == command->operands_most)
        return err_set(p->e, ERR_USAGE, "%s: found \"%s\" as well, expected one %s",
                       command->name, STR_SHOW(argument), command->operands);
    if (!command->operands)
        return refuse_argument(p, argument);
    if (!o->operands)
        o->operands = calloc((size_t)p->argc, sizeof *o->operands);
    if (!o->operands)
        return out_of_memory(p->e);
    o->operands[o->operand_count++] = argument;
    return true;
}

static bool check_operands(const struct parser *p)
{
    const struct command *command = p->out->command;
    return !command->operands ||
           p->out->options.operand_count >= command->operands_least ||
           err_set(p->e, ERR_USAGE, "%s: found nothing behind it, expected diffens %s %s",
                   command->name, command->name, command->operands);
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

static bool is_help(const char *argument)
{
    return strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0;
}

bool options_set_defaults(const struct command *command, struct parsed *out,
                          struct err *e)
{
    *out = (struct parsed){.command = command};
    out->options.command = command->bit;
    return set_defaults(&(struct parser){.out = out, .e = e}) &&
           options_check(&out->options, e);
}

/* The command line's hold for the file of --config, too. Returns true. */
static bool use_limits(const struct options *o)
{
    enum limit limit;
    uint64_t value;
    for (int i = 0; i < o->limits.count; i++)
        if (limit_parse(o->limits.name[i], strlen(o->limits.name[i]), &limit, &value))
            limit_set(limit, value);
    return true;
}

static enum parse_outcome parse_options(struct parser *p)
{
    bool options_end = false;
    struct options *o = &p->out->options;
    if (!set_defaults(p))
        return PARSE_ERROR;
    if (!option_add_argument(o, str_dup("diffens")) ||
        !option_add_argument(o, str_dup(p->out->command->name))) {
        out_of_memory(p->e);
        return PARSE_ERROR;
    }
    while (p->at < p->argc) {
        const char *argument = p->argv[p->at++];
        bool ok;
        if (options_end || argument[0] != '-' || !argument[1])
            ok = take_operand(p, argument);
        else if (strcmp(argument, "--") == 0)
            ok = options_end = true;
        else if (is_help(argument)) {
            p->out->brief = argument[1] == 'h';
            return PARSE_HELP;
        } else if (argument[1] == '-')
            ok = parse_long(p, argument + 2);
        else
            ok = parse_short(p, argument + 1);
        if (!ok)
            return PARSE_ERROR;
    }
    bool ok = check_operands(p) && use_limits(o) && config_read(o, p->e) &&
              use_limits(o) && environment_read(o, p->e) && shard_resolve(o, p->e) &&
              options_check(o, p->e);
    return ok ? PARSE_RUN : PARSE_ERROR;
}

/* `topics`: those of `diffens help` are among what is expected. */
static enum parse_outcome refuse_command(const char *name, bool topics, struct err *e)
{
    const char *known[KNOWN_MAX];
    size_t count = 0;
    struct str names = {0};
    for (int i = 0; i < command_count; i++)
        known[count++] = command_table[i].name;
    for (int i = 0; topics && i < page_count; i++)
        if (page_table[i].summary)
            known[count++] = page_table[i].name;
    if (!topics)
        known[count++] = "help";
    for (size_t i = 0; i < count; i++)
        str_addf(&names, "%s%s", i ? ", " : "", known[i]);
    bool option = name[0] == '-';
    err_set(e, ERR_USAGE, "found %s \"%s\", expected a %s: %s",
            option ? "option" : "command", STR_SHOW(name),
            topics ? "command or topic" : "command", str_text(&names));
    str_free(&names);
    const char *nearest = option ? NULL : str_nearest(name, known, count);
    if (nearest)
        err_hint(e, "did you mean %s?", nearest);
    else
        err_hint(e, "diffens --help says more");
    return PARSE_ERROR;
}

/* diffens help [COMMAND or TOPIC] */
static enum parse_outcome parse_help(int argc, char *const *argv, struct parsed *parsed,
                                     struct err *e)
{
    if (argc < 3)
        return PARSE_HELP;
    if (argc > 3) {
        err_set(e, ERR_USAGE,
                "help: found argument \"%s\", expected one command or topic",
                STR_SHOW(argv[3]));
        return PARSE_ERROR;
    }
    parsed->command = command_find(argv[2]);
    parsed->page = page_find(argv[2]);
    return parsed->command || parsed->page ? PARSE_HELP
                                           : refuse_command(argv[2], true, e);
}

enum parse_outcome options_parse(int argc, char *const *argv, struct parsed *parsed,
                                 struct err *e)
{
    struct parser p = {.argc = argc, .argv = argv, .at = 2, .out = parsed, .e = e};
    const char *first = argc > 1 ? argv[1] : "--help";
    if (is_help(first))
        return PARSE_HELP;
    if (strcmp(first, "--version") == 0)
        return PARSE_VERSION;
    if (strcmp(first, "help") == 0)
        return parse_help(argc, argv, parsed, e);
    parsed->command = command_find(first);
    if (!parsed->command)
        return refuse_command(first, false, e);
    parsed->options.command = parsed->command->bit;
    parsed->options.argv = argv;
    parsed->options.argc = argc;
    return parse_options(&p);
}
