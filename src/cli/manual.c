/* manual.c: the manual page, out of the tables of commands, options and topics. */
#include "cli/pages.h"

#include "cli/commands.h"
#include "cli/help.h"
#include "cli/option_table.h"

#include <ctype.h>
#include <string.h>

#define MANUAL_DATE "2026-11-24" /* when the texts changed last */
#define LINE_COLUMNS 60          /* escapes make lines longer */

/* Roff takes backslashes for escapes, dashes for hyphens, and lines that begin with a dot
 * or an apostrophe for requests. */
static void add_text(struct str *out, const char *text)
{
    bool line_start = true;
    for (; *text; text++) {
        if (line_start && (*text == '.' || *text == '\''))
            str_add(out, "\\&");
        if (*text == '\\')
            str_add(out, "\\e");
        else if (*text == '-')
            str_add(out, "\\-");
        else
            str_add_bytes(out, text, 1);
        line_start = *text == '\n';
    }
}

/* Adds words, a new line at each end of a sentence, as roff wants it. */
static void add_filled(struct str *out, const char *text)
{
    struct str word = {0};
    size_t columns = 0;
    while (*text) {
        size_t length = strcspn(text, " ");
        bool last = text[length] == '\0', sentence = text[length - 1] == '.';
        str_clear(&word);
        str_add_bytes(&word, text, length);
        if (columns > 0 && columns + length > LINE_COLUMNS) {
            str_add(out, "\n");
            columns = 0;
        }
        str_add(out, columns > 0 ? " " : "");
        add_text(out, str_text(&word));
        columns = sentence && !last ? 0 : columns + length + 1;
        str_add(out, last || sentence ? "\n" : "");
        text += length + !last;
    }
    out->failed = out->failed || word.failed;
    str_free(&word);
}

static void add_upper(struct str *out, const char *text)
{
    for (; *text; text++)
        str_addf(out, "%c", *text == '-' ? ' ' : toupper((unsigned char)*text));
}

static void add_help(struct str *out)
{
    struct str text = {0};
    str_add(&text, "Prints the help of a command, or about a topic: ");
    for (const struct page *p = page_table; p < page_table + page_count; p++)
        if (p->summary)
            str_addf(&text, "%s%s", p > page_table ? ", " : "", p->name);
    str_add(&text, ".");
    add_filled(out, str_text(&text));
    out->failed = out->failed || text.failed;
    str_free(&text);
}

static void add_commands(struct str *out)
{
    str_add(out, ".SH COMMANDS\n");
    for (const struct command *c = command_table; c < command_table + command_count;
         c++) {
        str_add(out, ".TP\n.B ");
        add_text(out, c->name);
        str_add(out, "\n");
        add_filled(out, c->about);
    }
    str_add(out, ".TP\n.B help\n");
    add_help(out);
}

/* "(blend, optimize)", where not every command that draws has the option */
static void add_owners(struct str *out, unsigned commands)
{
    const unsigned drawing = COMMAND_GENERATE | COMMAND_BLEND | COMMAND_OPTIMIZE;
    const char *before = " (";
    if ((commands & drawing) == drawing)
        return;
    for (int i = 0; i < command_count; i++) {
        if (!(commands & command_table[i].bit))
            continue;
        str_addf(out, "%s%s", before, command_table[i].name);
        before = ", ";
    }
    str_add(out, ")");
}

static void add_option(struct str *out, const struct option *o)
{
    struct str help = {0};
    str_add(out, ".TP\n");
    if (o->letter)
        str_addf(out, "\\fB\\-%c\\fR, ", o->letter);
    str_add(out, "\\fB\\-\\-");
    add_text(out, o->name);
    str_add(out, "\\fR");
    if (o->argument) {
        str_add(out, " \\fI");
        add_text(out, o->argument);
        str_add(out, "\\fR");
    }
    add_owners(out, o->commands);
    str_add(out, "\n");
    help_add_meaning(&help, o);
    add_filled(out, str_text(&help));
    out->failed = out->failed || help.failed;
    str_free(&help);
}

static void add_options(struct str *out)
{
    str_add(out, ".SH OPTIONS\n");
    for (int group = 0; group < GROUP_COUNT; group++) {
        str_addf(out, ".SS %s\n", option_group_title((enum option_group)group));
        for (int i = 0; i < option_count; i++)
            if ((int)option_table[i].group == group)
                add_option(out, &option_table[i]);
    }
}

static void add_environment(struct str *out)
{
    str_add(out, ".SH ENVIRONMENT\n");
    for (int i = 0; i < option_count; i++)
        if (option_table[i].variable)
            str_addf(out, ".TP\n.B %s\nSee \\fB\\-\\-%s\\fR.\n", option_table[i].variable,
                     option_table[i].name);
    str_add(out, ".TP\n.B DIFFENS_MODELS\nA folder of ensembles, searched first.\n"
                 ".TP\n.B NO_COLOR\nNo colours on terminals.\n");
}

static void add_topics(struct str *out)
{
    struct str text = {0};
    for (int i = 0; i < page_count; i++) {
        if (!page_table[i].summary)
            continue;
        str_clear(&text);
        page_add(&text, &page_table[i]);
        str_add(out, ".SH ");
        add_upper(out, page_table[i].name);
        str_add(out, "\n.nf\n");
        add_text(out, str_text(&text));
        str_add(out, ".fi\n");
        out->failed = out->failed || text.failed;
    }
    str_free(&text);
}

static void add_examples(struct str *out)
{
    str_add(out, ".SH EXAMPLES\n.nf\n");
    for (int i = 0; i < command_count; i++)
        for (int k = 0; k < 4 && command_table[i].examples[k]; k++) {
            add_text(out, command_table[i].examples[k]);
            str_add(out, "\n");
        }
    str_add(out, ".fi\n");
}

void manual_add(struct str *out)
{
    str_addf(out, ".TH DIFFENS 1 %s \"diffens %s\" \"User Commands\"\n", MANUAL_DATE,
             DIFFENS_VERSION);
    str_add(out, ".SH NAME\ndiffens \\- draw a prompt with several models and mix what "
                 "they draw\n"
                 ".SH SYNOPSIS\n.B diffens\n.I COMMAND\n.RI [ OPTION \\&...]\n.br\n"
                 ".B diffens help\n.RI [ COMMAND | TOPIC ]\n.br\n"
                 ".B diffens \\-\\-version\n"
                 ".SH DESCRIPTION\n");
    add_filled(out, HELP_ABOUT);
    add_filled(out, HELP_STREAMS);
    add_commands(out);
    add_options(out);
    add_environment(out);
    add_topics(out);
    add_examples(out);
}
