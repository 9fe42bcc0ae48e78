/* run_command.c: from options to the pipeline's inputs and back to results. Leaves the
 * work to src/stages and the choice of models to each command. */
#include "cli/run_command.h"

#include "base/stop.h"
#include "base/str.h"
#include "cli/display.h"
#include "cli/going_on.h"
#include "cli/inspect.h"
#include "cli/option_table.h"
#include "cli/options_json.h"
#include "cli/out_check.h"
#include "cli/parse.h"
#include "diffens/stages.h"
#include "models/prompts.h"
#include "run/directory.h"
#include "run/lock.h"
#include "run/record.h"
#include "stages/plan_show.h"

#include <stdlib.h>
#include <string.h>

/* What is drawn where nobody said: the ensemble's own example. */
static bool choose_example(const struct ensemble *s, const struct progress *progress,
                           const char **prompt, struct err *e)
{
    *prompt = s->example;
    if (!s->example)
        return err_set(e, ERR_USAGE,
                       "found no prompts, expected --prompts FILE or --prompt TEXT: the "
                       "ensemble \"%s\" has no example of its own",
                       STR_SHOW(s->name));
    progress_note(progress, NOTE_INFO,
                  "no prompts given: drawing the example of %s, \"%s\"", s->name,
                  s->example);
    return true;
}

static bool read_prompts(struct prompts *p, const struct ensemble *s,
                         const struct options *o, const struct progress *progress,
                         struct err *e)
{
    int selection[ENSEMBLE_MAX_DIFFUSERS];
    const char *templates[ENSEMBLE_MAX_DIFFUSERS];
    for (int m = 0; m < s->count; m++) {
        selection[m] = s->diffusers[m].index;
        templates[m] = s->diffusers[m].prompt;
    }
    struct prompts_source source = {
        .file = o->prompts,
        .prompt = o->prompt,
        .negative = o->negative,
        .random_seed = o->random_seed,
        .ensemble_models = s->listed,
        .models = s->count,
        .selection = selection,
        .templates = o->raw_prompts ? NULL : templates,
    };
    bool given = o->prompts || o->prompt;
    bool ok = (given || choose_example(s, progress, &source.prompt, e)) &&
              prompts_read(p, &source, progress, e);
    if (ok && o->shard.count > 0)
        prompts_keep_shard(p, o->shard.index, o->shard.count);
    return ok;
}

void run_command_show_json(const struct record *record, struct display *display)
{
    struct str json = {0};
    struct json_writer w = {.out = &json};
    record_write_result(record, &w);
    str_add(&json, "\n");
    display_result(display, str_text(&json));
    str_free(&json);
}

static unsigned needs(const struct options *o)
{
    return (o->images ? 0 : NEED_DIFFUSERS) |
           (o->command == COMMAND_GENERATE ? 0 : NEED_VQGAN) |
           (o->command == COMMAND_OPTIMIZE ? NEED_CRITICS : 0);
}

/* A failed run has results as well: the cells that went well. */
static bool run_in(const char *directory, const char *name, struct run run,
                   struct display *display, struct err *e)
{
    struct record record = {0};
    struct str again = {0};
    bool ok = command_line_of_run(&again, run.options->arguments,
                                  run.options->argument_count, run.ensemble->name,
                                  run.prompts ? run.prompts->stream : NULL, e);
    const struct record_about about = {.command = name,
                                       .options = run.options,
                                       .write_options = options_write,
                                       .may_change = options_may_change,
                                       .ensemble = run.ensemble->name,
                                       .libtorch = tc_version(),
                                       .command_line = str_text(&again),
                                       .write_settings = options_write_settings};
    ok = ok && record_open(&record, directory, &about, e);
    run.record = &record;
    run.progress = &display->progress;
    ok = ok && pipeline_run(&run, e);
    if (e->code == ERR_STOPPED)
        going_on_hint(e, run.options, directory, record_has_begun(&record));
    if (record.state && run.options->json)
        run_command_show_json(&record, display);
    record_close(&record);
    str_free(&again);
    return ok;
}

static bool print_config(const struct options *o, struct display *display, struct err *e)
{
    struct str json = {0};
    struct json_writer w = {.out = &json, .indent = 2};
    options_write_config(&w, o);
    str_add(&json, "\n");
    bool ok = !json.failed || err_set(e, ERR_MEMORY, "--print-config: out of memory");
    if (ok)
        display_result(display, str_text(&json));
    str_free(&json);
    return ok;
}

/* What run_locked() would do. */
static bool show_plan(const struct options *o, const char *name, struct run run,
                      struct display *display, struct err *e)
{
    struct str text = {0};
    struct record record = {0};
    char *directory = NULL;
    const struct record_about about = {.command = name,
                                       .options = o,
                                       .write_options = options_write,
                                       .may_change = options_may_change,
                                       .ensemble = run.ensemble->name,
                                       .libtorch = tc_version()};
    run.record = &record;
    run.progress = &display->progress;
    bool ok = run_directory_foresee(o->out, name, o->resume, &directory, e) &&
              (o->force || o->resume || run_directory_check_new(directory, e)) &&
              record_open(&record, directory, &about, e) && plan_show(&run, &text, e);
    if (ok)
        display_result(display, str_text(&text));
    record_close(&record);
    free(directory);
    str_free(&text);
    return ok;
}

/* Says where the ensemble's name comes from, where it is not before the user's eyes. */
static void note_variable(const struct options *o, const struct progress *progress)
{
    const struct option *option = option_find("ensemble", strlen("ensemble"), o->command);
    if (o->given[option - option_table] == FROM_ENVIRONMENT)
        progress_note(progress, NOTE_INFO, "ensemble: %s ($%s)", STR_SHOW(o->ensemble),
                      option->variable);
}

/* One live run a directory; what it held before decides how this one begins. */
static bool run_locked(const char *directory, const char *name, struct run run,
                       struct display *display, struct err *e)
{
    struct lock lock = {0};
    struct err unlocked = {0};
    const struct options *o = run.options;
    bool ok = lock_take(&lock, directory, &display->progress, &unlocked);
    if (!ok && o->resume && unlocked.code == ERR_OUTPUT)
        run.unwritable = &unlocked;
    else if (!ok)
        *e = unlocked;
    ok = (ok || run.unwritable) &&
         (o->force || o->resume || run_directory_check_new(directory, e)) &&
         run_in(directory, name, run, display, e);
    lock_release(&lock);
    return ok;
}

static bool prepare_and_run(const struct options *given, const char *name,
                            select_fn *select, struct display *display, struct err *e)
{
    struct options tuned = *given; /* owns nothing */
    const struct options *o = &tuned;
    struct ensemble ensemble = {0};
    struct prompts prompts = {0};
    char *directory = NULL;
    bool made = false;
    const struct run run = {
        .options = o, .ensemble = &ensemble, .prompts = o->images ? NULL : &prompts};
    note_variable(o, &display->progress);
    bool ok = ensemble_open(&ensemble, o->ensemble, &display->progress, e) &&
              options_tune(&tuned, &ensemble, e);
    if (ok && o->print_config)
        ok = print_config(o, display, e);
    else if (ok)
        ok = out_check_inputs(o, e) && (o->images || select(&ensemble, o, e)) &&
             ensemble_check_files(&ensemble, needs(o), e) &&
             (o->images || read_prompts(&prompts, &ensemble, o, &display->progress, e)) &&
             stop_check(e) &&
             (o->dry_run
                  ? show_plan(o, name, run, display, e)
                  : run_directory_make(o->out, name, o->resume, &directory, &made, e) &&
                        run_locked(directory, name, run, display, e));
    if (e->code == ERR_STOPPED && !directory && o->out && !o->dry_run)
        going_on_hint(e, o, o->out, false);
    if (!ok && made)
        run_directory_discard(directory);
    free(directory);
    prompts_free(&prompts);
    ensemble_close(&ensemble);
    return ok;
}

bool run_command(const struct options *o, const char *name, select_fn *select,
                 struct err *e)
{
    struct display display = {0};
    stop_set_time_limit(o->time_limit);
    bool ok =
        display_open(&display, o, e) && prepare_and_run(o, name, select, &display, e);
    return display_close(&display, e) && ok;
}
