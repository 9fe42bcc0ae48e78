/* completion.c: completions for bash, zsh and fish, out of the tables of commands,
 * options and topics. */
#include "cli/pages.h"

#include "cli/commands.h"
#include "cli/help.h"
#include "cli/option_table.h"

#include <string.h>

#define MODELS_WORDS "list show check"

/* Words to choose a value from, between blanks; nothing where there are none. */
static void add_words(struct str *out, const struct option *o)
{
    const char *words = o->choices ? o->choices : o->words;
    if (words)
        str_add(out, words);
    else if (o->automatic)
        str_add(out, "auto");
    if (o->kind == OPTION_SET)
        str_add(out, o->min > 0 ? " all" : " all none");
}

static const char *ensemble_names(void)
{
    return option_find("ensemble", strlen("ensemble"), COMMAND_GENERATE)->words;
}

static bool takes_file(const struct option *o)
{
    return o->kind == OPTION_PATH && !(o->variable && strstr(o->variable, "DEVICE"));
}

/* Names between blanks: options as "--name", of one command. */
static void add_options_of(struct str *out, const struct command *c)
{
    for (int i = 0; i < option_count; i++)
        if (option_table[i].commands & c->bit)
            str_addf(out, " --%s", option_table[i].name);
    str_add(out, " --help");
}

static void add_command_names(struct str *out)
{
    for (int i = 0; i < command_count; i++)
        str_addf(out, "%s ", command_table[i].name);
    str_add(out, "help");
}

static void add_topic_names(struct str *out)
{
    for (int i = 0; i < command_count; i++)
        str_addf(out, "%s ", command_table[i].name);
    for (int i = 0; i < page_count; i++)
        if (page_table[i].summary)
            str_addf(out, "%s ", page_table[i].name);
}

/* The help of an option up to the first place where it can end, with `special` characters
 * left out. */
static void add_short_help(struct str *out, const struct option *o, const char *special)
{
    size_t length = help_first_clause(o);
    for (size_t i = 0; i < length; i++)
        if (!strchr(special, o->help[i]))
            str_add_bytes(out, &o->help[i], 1);
}

/* bash */

static void add_bash_values(struct str *out)
{
    for (const struct option *o = option_table; o < option_table + option_count; o++) {
        if (!o->argument)
            continue;
        for (const struct command *c = command_table; c < command_table + command_count;
             c++) {
            if (!(o->commands & c->bit))
                continue;
            str_addf(out, "    %s:--%s", c->name, o->name);
            if (o->letter)
                str_addf(out, "|%s:-%c", c->name, o->letter);
            str_addf(out, ") mapfile -t COMPREPLY < <(compgen %s-W '",
                     takes_file(o) ? "-f " : "");
            add_words(out, o);
            str_add(out, "' -- \"$word\"); return ;;\n");
        }
    }
    str_addf(out,
             "    models:models) operands=none words='" MODELS_WORDS "' ;;\n"
             "    models:show|models:check) words='%s' ;;\n",
             ensemble_names());
}

void completion_add_bash(struct str *out)
{
    str_add(
        out,
        "# bash completion for diffens\n"
        "_diffens()\n{\n"
        "  local word=${COMP_WORDS[COMP_CWORD]} "
        "before=${COMP_WORDS[COMP_CWORD-1]} command=${COMP_WORDS[1]} words= operands=\n"
        "  if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
        "    COMPREPLY=($(compgen -W '");
    add_command_names(out);
    str_add(out, " --help --version' -- \"$word\"))\n    return\n  fi\n"
                 "  compopt -o filenames 2>/dev/null\n"
                 "  case $command:$before in\n");
    add_bash_values(out);
    str_add(out, "  esac\n  case $command in\n");
    for (int i = 0; i < command_count; i++) {
        str_addf(out, "    %s) words+='", command_table[i].name);
        add_options_of(out, &command_table[i]);
        str_addf(out, "'%s ;;\n",
                 command_table[i].operands ? " operands=${operands:-files}" : "");
    }
    str_add(out, "    help) words='");
    add_topic_names(out);
    str_add(out,
            "' ;;\n  esac\n"
            "  COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
            "  if [ \"$operands\" = files ] && [[ $word != -* ]]; then\n"
            "    mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- \"$word\")\n"
            "  fi\n}\n"
            "complete -F _diffens diffens\n");
}

/* zsh */

static void add_zsh_option(struct str *out, const struct option *o)
{
    str_addf(out, "        '%s--%s[", option_is_repeatable(o) ? "*" : "", o->name);
    add_short_help(out, o, "'[]:\\");
    str_add(out, "]");
    if (o->argument && takes_file(o) && !o->words) {
        str_addf(out, ":%s:_files", o->argument);
    } else if (o->argument) {
        str_addf(out, takes_file(o) ? ":%s:{compadd " : ":%s:(", o->argument);
        add_words(out, o);
        str_add(out, takes_file(o) ? "; _files}" : ")");
    }
    str_add(out, "' \\\n");
}

void completion_add_zsh(struct str *out)
{
    str_add(out, "#compdef diffens\n"
                 "_diffens() {\n"
                 "  if (( CURRENT == 2 )); then\n"
                 "    local -a commands=(\n");
    for (int i = 0; i < command_count; i++)
        str_addf(out, "      '%s:%s'\n", command_table[i].name, command_table[i].summary);
    str_add(out, "      'help:about commands and topics'\n"
                 "    )\n"
                 "    _describe command commands\n"
                 "    return\n"
                 "  fi\n"
                 "  local command=$words[2]\n"
                 "  shift words\n"
                 "  (( CURRENT-- ))\n"
                 "  case $command in\n");
    for (int i = 0; i < command_count; i++) {
        str_addf(out, "    %s)\n      _arguments \\\n", command_table[i].name);
        for (int k = 0; k < option_count; k++)
            if (option_table[k].commands & command_table[i].bit)
                add_zsh_option(out, &option_table[k]);
        if (command_table[i].bit == COMMAND_MODELS)
            str_addf(out,
                     "        '1:what:(" MODELS_WORDS ")' \\\n"
                     "        '2:ensemble:{compadd %s; _files}' \\\n",
                     ensemble_names());
        else if (command_table[i].operands)
            str_add(out, "        '*:file:_files' \\\n");
        str_add(out, "        '--help[list the options]' ;;\n");
    }
    str_add(out, "    help) _values topic ");
    add_topic_names(out);
    str_add(out, ";;\n  esac\n}\n"
                 "if [[ ${funcstack[1]} == _diffens ]]; then\n" /* autoloaded */
                 "  _diffens \"$@\"\nelse\n  compdef _diffens diffens\nfi\n");
}

/* fish */

static void add_fish_option(struct str *out, const struct command *c,
                            const struct option *o)
{
    str_addf(out, "complete -c diffens -n '__fish_seen_subcommand_from %s' -l %s",
             c->name, o->name);
    if (o->letter)
        str_addf(out, " -s %c", o->letter);
    if (o->argument) {
        str_add(out, takes_file(o) ? " -r -F -a '" : " -x -a '");
        add_words(out, o);
        str_add(out, "'");
    }
    str_add(out, " -d '");
    add_short_help(out, o, "'\\");
    str_add(out, "'\n");
}

void completion_add_fish(struct str *out)
{
    str_add(out, "# fish completion for diffens\n"
                 "complete -c diffens -f\n");
    for (int i = 0; i < command_count; i++) {
        const struct command *c = &command_table[i];
        str_addf(out, "complete -c diffens -n __fish_use_subcommand -a %s -d '%s'\n",
                 c->name, c->summary);
        if (c->operands)
            str_addf(out, "complete -c diffens -n '__fish_seen_subcommand_from %s' -F\n",
                     c->name);
        if (c->bit == COMMAND_MODELS)
            str_addf(out,
                     "complete -c diffens -n '__fish_seen_subcommand_from models; and "
                     "not __fish_seen_subcommand_from " MODELS_WORDS "' -a '" MODELS_WORDS
                     "'\n"
                     "complete -c diffens -n '__fish_seen_subcommand_from models; and "
                     "__fish_seen_subcommand_from show check' -a '%s'\n",
                     ensemble_names());
        for (int k = 0; k < option_count; k++)
            if (option_table[k].commands & c->bit)
                add_fish_option(out, c, &option_table[k]);
    }
    str_add(out, "complete -c diffens -n __fish_use_subcommand -a help\n"
                 "complete -c diffens -n '__fish_seen_subcommand_from help' -a '");
    add_topic_names(out);
    str_add(out, "'\n");
}
