/* command_line.c: the shell command that repeats a run. Leaves single pictures to
 * inspect_picture.c. */
#include "cli/inspect.h"

#include "cli/commands.h"
#include "cli/option_table.h"
#include "io/config.h"

#include <stdlib.h>
#include <string.h>

static bool refuse(const char *argument, const char *command, struct err *e)
{
    return err_set(e, ERR_INPUT,
                   "found the argument \"%s\", expected options of diffens %s",
                   STR_SHOW(argument), STR_SHOW(command));
}

static bool no_memory(struct err *e)
{
    return err_set(e, ERR_MEMORY, "no host memory for a command line");
}

/* An option and its value, which may be NULL. */
static void add_option(struct str *out, const struct option *option, const char *value)
{
    str_addf(out, " --%s", option->name);
    if (!value)
        return;
    str_add(out, value[0] == '-' && value[1] ? "=" : " ");
    str_add_shell(out, value);
}

/* On one line, in words of any shell: printf's %b takes \n and \0OOO. */
static void add_stream(struct str *out, const char *stream)
{
    struct str text = {0};
    for (const char *c = stream; *c; c++) {
        if (*c == '\n')
            str_add(&text, "\\n");
        else if (*c == '\\')
            str_add(&text, "\\\\");
        else if ((unsigned char)*c < ' ')
            str_addf(&text, "\\0%03o", (unsigned)*c);
        else
            str_add_bytes(&text, c, 1);
    }
    str_add(out, "printf %b ");
    str_add_shell(out, str_text(&text));
    str_add(out, " | ");
    out->failed = out->failed || text.failed;
    str_free(&text);
}

bool command_line_of_run(struct str *out, char *const *arguments, int count,
                         const char *ensemble, const char *stream, struct err *e)
{
    const struct command *command = count > 1 ? command_find(arguments[1]) : NULL;
    bool named = false;
    if (!command || !(command->bit & COMMANDS_RUN))
        return err_set(e, ERR_INPUT,
                       "found no command that makes pictures in "
                       "\"arguments\", expected one");
    if (stream)
        add_stream(out, stream);
    str_addf(out, "diffens %s", command->name);
    for (int i = 2; i < count; i++) {
        const char *name = arguments[i];
        const struct option *option = NULL;
        if (strncmp(name, "--", 2) == 0)
            option = option_find(name + 2, strlen(name + 2), command->bit);
        if (!option || (option->argument && i + 1 == count))
            return refuse(name, command->name, e);
        const char *value = option->argument ? arguments[++i] : NULL;
        named = named || strcmp(option->name, "ensemble") == 0;
        if (option->group != GROUP_OUTPUT)
            add_option(out, option, value);
    }
    if (!named && ensemble)
        add_option(out, option_find("ensemble", strlen("ensemble"), command->bit),
                   ensemble);
    return !out->failed || no_memory(e);
}

static bool read_arguments(char **words, const struct json *arguments, struct err *e)
{
    const char *word;
    int count = 0;
    for (const struct json *v = arguments->child; v; v = v->next) {
        if (!config_as_string(v, &word, e))
            return false;
        words[count++] = (char *)word;
    }
    return true;
}

bool inspect_run_command(struct str *out, const struct json *record, struct err *e)
{
    const struct json *arguments, *ensemble;
    const char *name = NULL, *stream = NULL;
    if (!config_need_array(record, "arguments", 2, 10000, &arguments, e) ||
        !config_need_object(record, "ensemble", &ensemble, e) ||
        !config_may_string(ensemble, "name", &name, e) ||
        !config_may_string(record, "standard_input", &stream, e))
        return false;
    char **words = calloc(arguments->size, sizeof *words);
    if (!words)
        return no_memory(e);
    bool ok = read_arguments(words, arguments, e) &&
              (command_line_of_run(out, words, (int)arguments->size, name, stream, e) ||
               err_in_file(e, record->file));
    free(words);
    return ok;
}
