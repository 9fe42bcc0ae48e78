/* help.c: the help texts, out of the tables. Leaves the tables to option_table.c,
 * commands.c and pages.c. */
#include "cli/help.h"

#include "cli/option_table.h"
#include "cli/output.h"
#include "cli/pages.h"
#include "diffens/tc.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define WIDTH 80
#define INDENT 25 /* where the explanation of an option begins */

/* Adds text broken at blanks to lines that begin at column `indent` and end before WIDTH;
 * the first line goes on at column `at`. */
static void add_wrapped(struct str *out, const char *text, int at, int indent)
{
    bool first = true;
    while (*text) {
        int length = (int)strcspn(text, " ");
        if (!first && at + 1 + length > WIDTH - 1) {
            str_addf(out, "\n%*s", indent, "");
            at = indent;
        } else if (!first) {
            str_add(out, " ");
            at++;
        }
        str_add_bytes(out, text, (size_t)length);
        at += length;
        first = false;
        text += length + (text[length] == ' ');
    }
    str_add(out, "\n");
}

/* "[1..1000, default 50]": what the explanation does not say itself */
static void add_bounds(struct str *help, const struct option *o)
{
    char expected[400];
    const char *range = option_expected(o, expected, sizeof expected);
    bool shown = false;
    switch (o->kind) {
    case OPTION_INTEGER:
        str_addf(help, " [%s%.0f..%.0f", o->automatic ? "auto or " : "", o->min, o->max);
        shown = true;
        break;
    case OPTION_SEED:
        str_add(help, " [0..2^64-1");
        shown = true;
        break;
    case OPTION_REAL:
    case OPTION_GAMMA:
    case OPTION_WEIGHTS:
        str_addf(help, " [%g..%g", o->min, o->max);
        shown = true;
        break;
    case OPTION_SIZE:
        str_addf(help, o->multiple > 1 ? " [%.0f..%.0f, multiples of %d" : " [%.0f..%.0f",
                 o->min, o->max, o->multiple);
        shown = true;
        break;
    case OPTION_INTERVAL:
        str_addf(help, " [within %g:%g", o->min, o->max);
        shown = true;
        break;
    case OPTION_CHOICE:
    case OPTION_WORD:
        str_addf(help, " [%s", strstr(range, "of ") + strlen("of "));
        shown = true;
        break;
    case OPTION_SET:
        str_addf(help, " [%s", range);
        shown = true;
        break;
    case OPTION_FLAG:
    case OPTION_TEXT:
    case OPTION_PATH:
    case OPTION_NAMES:
    case OPTION_SHARD:
    case OPTION_CROPS:
    case OPTION_LIMITS:
        break;
    }
    const char *initial = o->initial && !*o->initial ? "none" : o->initial;
    if (initial || o->variable)
        str_addf(help, "%sdefault %s%s%s%s", shown ? "; " : " [", o->variable ? "$" : "",
                 o->variable ? o->variable : "", initial && o->variable ? ", else " : "",
                 initial ? initial : "");
    if (shown || initial || o->variable)
        str_add(help, "]");
}

void help_add_meaning(struct str *out, const struct option *o)
{
    str_add(out, o->help);
    add_bounds(out, o);
}

size_t help_first_clause(const struct option *o)
{
    return strcspn(o->help, ";");
}

static void add_option(struct str *out, const struct option *o, bool brief)
{
    struct str head = {0}, help = {0};
    if (o->letter)
        str_addf(&head, "  -%c, ", o->letter);
    else
        str_add(&head, "      ");
    str_addf(&head, "--%s%s%s", o->name, o->argument ? " " : "",
             o->argument ? o->argument : "");
    if (brief)
        str_add(&help, o->brief);
    else
        help_add_meaning(&help, o);
    if (head.size + 2 > INDENT) {
        str_addf(out, "%s\n%*s", str_text(&head), INDENT, "");
    } else {
        str_addf(out, "%-*s", INDENT, str_text(&head));
    }
    add_wrapped(out, str_text(&help), INDENT, INDENT);
    out->failed = out->failed || head.failed || help.failed;
    str_free(&head);
    str_free(&help);
}

static void add_main_options(struct str *out, const struct command *c)
{
    int count = 0;
    str_add(out, "\n");
    for (int i = 0; i < option_count; i++) {
        count += (option_table[i].commands & c->bit) != 0;
        if (option_table[i].brief && (option_table[i].commands & c->bit))
            add_option(out, &option_table[i], true);
    }
    str_addf(out, "\ndiffens %s --help explains all %d options.\n", c->name, count);
}

static void add_all_options(struct str *out, const struct command *c)
{
    for (int group = 0; group < GROUP_COUNT; group++) {
        bool titled = false;
        for (int i = 0; i < option_count; i++) {
            const struct option *o = &option_table[i];
            if ((int)o->group != group || !(o->commands & c->bit))
                continue;
            if (!titled)
                str_addf(out, "\n%s\n", option_group_title(o->group));
            titled = true;
            add_option(out, o, false);
        }
    }
    str_add(out, "  -h, --help             -h: the main options; --help: this text\n");
}

static void add_command_help(struct str *out, const struct command *c, bool brief)
{
    add_wrapped(out, c->about, 0, 0);
    str_add(out, "\n");
    for (int i = 0; i < 4 && c->examples[i]; i++)
        str_addf(out, "  %s\n", c->examples[i]);
    str_addf(out, "\nUsage: diffens %s [OPTION...]%s%s\n", c->name,
             c->operands ? " " : "", c->operands ? c->operands : "");
    if (brief)
        add_main_options(out, c);
    else
        add_all_options(out, c);
}

static void add_program_help(struct str *out)
{
    add_wrapped(out, HELP_ABOUT, 0, 0);
    str_add(out, "\n");
    for (int i = 0; i < command_count && i < 3; i++)
        str_addf(out, "  %s\n", command_table[i].examples[0]);
    str_add(out, "\nUsage: diffens COMMAND [OPTION...]\n\n");
    for (int i = 0; i < command_count; i++)
        str_addf(out, "  %-12s%s\n", command_table[i].name, command_table[i].summary);
    str_add(out, "\n  diffens COMMAND -h     its main options; --help: all of them\n"
                 "  diffens help TOPIC     ");
    for (int i = 0; i < page_count && page_table[i].summary; i++)
        str_addf(out, "%s%s", i ? ", " : "", page_table[i].name);
    str_add(out, "\n  diffens --version      the version\n\n" HELP_STREAMS "\n");
}

void help_add(struct str *out, const struct command *command, bool brief)
{
    if (command)
        add_command_help(out, command, brief);
    else
        add_program_help(out);
}

void version_add(struct str *out)
{
    str_addf(out, "diffens %s (libtorch %s)\n", DIFFENS_VERSION, tc_version());
}

bool help_print(const struct str *text, struct err *e)
{
    if (text->failed)
        return err_set(e, ERR_MEMORY, "help: out of memory");
    if (!output_write(str_text(text), text->size))
        return err_set(e, ERR_OUTPUT, "standard output: cannot write: %s",
                       strerror(errno));
    return true;
}
