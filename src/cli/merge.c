/* merge.c: `diffens merge`. Finds out what the shards' run was asked to do. Leaves
 * checking them to run/shards.h and joining them to stages/merge.h. */
#include "stages/merge.h"
#include "base/str.h"
#include "cli/commands.h"
#include "cli/config_file.h"
#include "cli/display.h"
#include "cli/inspect.h"
#include "cli/option_table.h"
#include "cli/options_json.h"
#include "cli/out_check.h"
#include "cli/parse.h"
#include "cli/run_command.h"
#include "cli/set.h"
#include "io/config.h"
#include "run/directory.h"
#include "run/lock.h"
#include "run/record.h"

#include <stdlib.h>
#include <string.h>

static bool may_change(const char *option)
{
    return strcmp(option, "shard") == 0 || options_may_change(option);
}

/* Where files go and what is printed is this command's own affair. */
static bool concerns_run(const char *name, enum command_bit command)
{
    const struct option *option = option_find(name, strlen(name), command);
    return strcmp(name, "shard") != 0 && !(option && option->group == GROUP_OUTPUT);
}

/* "--steps" */
static const struct option *option_of_word(const char *word, unsigned command)
{
    return strncmp(word, "--", 2) == 0 ? option_find(word + 2, strlen(word + 2), command)
                                       : NULL;
}

/* The command line of the whole run: the options that were given. */
static bool take_arguments(struct options *o, const struct json *record, struct err *e)
{
    const struct json *arguments;
    const char *word;
    while (o->argument_count > 0)
        free(o->arguments[--o->argument_count]);
    memset(o->given, 0, sizeof o->given); /* the record has those that were not, too */
    if (!config_need_array(record, "arguments", 2, 100000, &arguments, e))
        return false;
    int left = 2; /* words that are kept as they are: the program and its command */
    for (const struct json *v = arguments->child; v; v = v->next) {
        if (!config_as_string(v, &word, e))
            return false;
        if (left-- == 0) {
            const struct option *option = option_of_word(word, o->command);
            if (!option)
                return json_fail(v, e, "found \"%s\", expected an option",
                                 STR_SHOW(word));
            left = option->argument != NULL;
            o->given[option - option_table] = FROM_COMMAND_LINE;
            if (strcmp(option->name, "shard") == 0 || strcmp(option->name, "out") == 0) {
                v = v->next ? v->next : v;
                left = 0;
                continue;
            }
        }
        if (!option_add_argument(o, str_dup(word)))
            return err_set(e, ERR_MEMORY, "merge: out of memory");
    }
    return true;
}

static bool read_options(struct options *o, const struct json *record, struct err *e)
{
    const struct json *options;
    const char *name;
    if (!config_need_string(record, "command", &name, e) ||
        !config_need_object(record, "options", &options, e))
        return false;
    const struct command *command = command_find(name);
    if (!command || !(command->bit & COMMANDS_RUN))
        return json_fail(json_get(record, "command"), e,
                         "found \"%s\", expected generate, blend or optimize",
                         STR_SHOW(name));
    o->command = command->bit;
    for (const struct json *v = options->child; v; v = v->next)
        if (concerns_run(v->key, o->command) && !config_set_member(o, v, e))
            return false;
    return take_arguments(o, record, e);
}

static bool merge_in(const char *directory, const struct shards *s,
                     const struct options *given, const struct options *of_run,
                     struct display *display, struct err *e)
{
    struct record record = {0};
    struct str again = {0};
    const struct json *from = shards_record(s), *ensemble;
    const char *name = NULL, *libtorch = NULL, *stream = NULL;
    bool ok = config_need_object(from, "ensemble", &ensemble, e) &&
              config_may_string(ensemble, "name", &name, e) &&
              config_may_string(from, "libtorch", &libtorch, e) &&
              config_may_string(from, "standard_input", &stream, e) &&
              command_line_of_run(&again, of_run->arguments, of_run->argument_count, name,
                                  stream, e);
    const struct record_about about = {.command = command_of(of_run->command)->name,
                                       .options = of_run,
                                       .write_options = options_write,
                                       .may_change = options_may_change,
                                       .joins = true,
                                       .ensemble = name,
                                       .libtorch = libtorch,
                                       .command_line = str_text(&again),
                                       .write_settings = options_write_settings};
    const struct run run = {
        .options = of_run, .progress = &display->progress, .record = &record};
    ok = ok && record_open(&record, directory, &about, e) &&
         merge_run(&run, s, given->force, e);
    if (record.state && given->json)
        run_command_show_json(&record, display);
    record_close(&record);
    str_free(&again);
    return ok;
}

static bool merge_shards(const struct options *o, const struct shards *s,
                         struct display *display, struct err *e)
{
    struct options of_run = {0};
    struct lock lock = {0};
    char *directory = NULL;
    bool made = false;
    bool ok = read_options(&of_run, shards_record(s), e);
    of_run.animate = o->animate;
    of_run.frame_rate = o->frame_rate;
    ok = ok && run_directory_make(o->out, "merge", false, &directory, &made, e) &&
         lock_take(&lock, directory, &display->progress, e) &&
         merge_in(directory, s, o, &of_run, display, e);
    lock_release(&lock);
    if (e->code == ERR_STOPPED)
        err_hint(e, "the same command goes on with it");
    if (!ok && made)
        run_directory_discard(directory);
    free(directory);
    options_free(&of_run);
    return ok;
}

bool command_merge(const struct options *o, struct err *e)
{
    struct display display = {0};
    struct shards shards = {0};
    bool ok =
        (o->out || err_set(e, ERR_USAGE, "merge: found no --out, expected --out DIR")) &&
        out_check_shards(o, e) && display_open(&display, o, e) &&
        shards_open(&shards, o->operands, o->operand_count, may_change, &display.progress,
                    e) &&
        merge_shards(o, &shards, &display, e);
    shards_close(&shards);
    return display_close(&display, e) && ok;
}
