/* models.c: `diffens models`: what src/survey finds, as text or JSON. */
#include "cli/commands.h"

#include "base/str.h"
#include "cli/display.h"
#include "cli/help.h"
#include "cli/models.h"
#include "cli/table.h"
#include "io/json_write.h"

#include <stdio.h>
#include <string.h>

/* JSON */

static void write_network(const struct survey_network *n, struct json_writer *w)
{
    json_write_open_object(w);
    json_member_text(w, "name", n->name);
    json_member_text(w, "class", n->class_name);
    json_member_text(w, "path", n->path);
    json_member_int(w, "tensors", n->tensors);
    json_member_int(w, "unused_tensors", n->unused);
    json_member_int(w, "parameters", n->parameters);
    json_member_uint(w, "bytes", n->bytes);
    json_member_text(w, "dtypes", n->dtypes);
    if (n->nonfinite >= 0)
        json_member_int(w, "nonfinite", n->nonfinite);
    json_write_close(w);
}

static void write_model(const struct survey_model *m, struct json_writer *w)
{
    json_write_open_object(w);
    json_member_text(w, "role", m->role);
    json_member_text(w, "name", m->name);
    json_member_text(w, "path", m->path);
    json_member_bool(w, "complete", m->whole);
    json_member_text(w, strcmp(m->role, "diffuser") == 0 ? "scheduler" : "kind",
                     m->detail);
    if (m->prompt)
        json_member_text(w, "prompt", m->prompt);
    json_write_key(w, "networks");
    json_write_open_array(w);
    for (int i = 0; i < m->network_count; i++)
        write_network(&m->networks[i], w);
    json_write_close(w);
    json_write_close(w);
}

static void write_ensemble(const struct ensemble *s, struct json_writer *w)
{
    json_member_text(w, "name", s->name);
    json_write_key(w, "pair");
    json_write_open_array(w);
    for (int i = 0; i < 2 && s->pair[0]; i++)
        json_write_string(w, s->pair[i]);
    json_write_close(w);
    json_member_text(w, "example", s->example);
}

static void write_problems(const struct survey *s, struct json_writer *w)
{
    struct str line = {0};
    json_write_open_array(w);
    for (const char *text = str_text(&s->problems); *text;) {
        size_t size = strcspn(text, "\n");
        str_clear(&line);
        str_add_bytes(&line, text, size);
        json_write_string(w, str_text(&line));
        text += size + (text[size] == '\n');
    }
    json_write_close(w);
    w->out->failed = w->out->failed || line.failed;
    str_free(&line);
}

void models_write_json(const struct survey *s, struct json_writer *w)
{
    json_write_open_object(w);
    if (s->ensemble.name)
        write_ensemble(&s->ensemble, w);
    json_member_text(w, "path", s->path);
    json_member_bool(w, "complete", survey_is_whole(s));
    json_member_uint(w, "bytes", s->bytes);
    json_write_key(w, "models");
    json_write_open_array(w);
    for (int i = 0; i < s->count; i++)
        write_model(&s->models[i], w);
    json_write_close(w);
    if (s->weights)
        json_member_int(w, "checksums", s->sums_recorded);
    json_write_key(w, "problems");
    write_problems(s, w);
    json_write_close(w);
}

/* Text */

static const char *state_of(const struct survey *s, const struct survey_model *m,
                            const struct survey_network *n)
{
    if (!m->whole)
        return "broken";
    if (n && n->nonfinite > 0)
        return "not finite";
    return s->weights ? "ok" : "complete";
}

static void add_networks(struct table *t, const struct survey *s,
                         const struct survey_model *m)
{
    char size[32], parameters[32];
    for (int i = 0; i < m->network_count; i++) {
        const struct survey_network *n = &m->networks[i];
        table_cell(t, "%s", i ? "" : STR_SHOW(m->name));
        table_cell(t, "%s", n->name);
        table_cell(t, "%s", n->class_name);
        table_cell(t, "%lld", (long long)n->tensors);
        table_cell(t, "%lld", (long long)n->unused);
        table_cell(t, "%s", table_millions(parameters, (double)n->parameters));
        table_cell(t, "%s", table_megabytes(size, (double)n->bytes));
        table_cell(t, "%s", n->dtypes);
        table_cell(t, "%s", state_of(s, m, n));
    }
    if (m->network_count > 0)
        return;
    table_cell(t, "%s", STR_SHOW(m->name));
    for (int i = 1; i < 8; i++)
        table_cell(t, "-");
    table_cell(t, "%s", state_of(s, m, NULL));
}

static void add_table(struct str *out, const struct survey *s)
{
    static const char *const heads[] = {"model",   "network", "class",
                                        "tensors", "unused",  "parameters",
                                        "size",    "stored",  "state"};
    struct table t = {.align = "lllrrrrll"};
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        table_cell(&t, "%s", heads[i]);
    for (int i = 0; i < s->count; i++)
        add_networks(&t, s, &s->models[i]);
    table_end(&t, out);
}

static void add_head(struct str *out, const struct survey *s)
{
    char size[32];
    if (s->ensemble.name)
        str_addf(out, "%s: ", s->ensemble.name);
    str_addf(out, "%s, %s\n\n", STR_SHOW(s->path),
             table_megabytes(size, (double)s->bytes));
}

static void add_settings(struct str *out, const struct survey *s)
{
    struct table t = {.align = "lll"};
    for (int i = 0; i < s->count; i++) {
        const struct survey_model *m = &s->models[i];
        table_cell(&t, "%s", STR_SHOW(m->name));
        table_cell(&t, "%s", m->detail[0] ? m->detail : "-");
        table_cell(&t, "%s%s%s", m->prompt ? "\"" : "", m->prompt ? m->prompt : "",
                   m->prompt ? "\"" : "");
    }
    str_add(out, "\n");
    table_end(&t, out);
    if (s->ensemble.pair[0])
        str_addf(out, "pair: %s, %s\n", s->ensemble.pair[0], s->ensemble.pair[1]);
    if (s->ensemble.example)
        str_addf(out, "example: \"%s\"\n", s->ensemble.example);
}

static void add_verdict(struct str *out, const struct survey *s)
{
    if (s->problem_count > 0)
        str_addf(out, "\n%s", str_text(&s->problems));
    if (s->sums_recorded > 0)
        str_addf(out, "\nSHA256SUMS: %d of %d files agree\n",
                 s->sums_recorded - s->sums_wrong, s->sums_recorded);
    str_addf(out, "\n%s: %s\n", s->ensemble.name ? s->ensemble.name : STR_SHOW(s->path),
             survey_is_whole(s) ? s->weights ? "complete, all weights finite" : "complete"
                                : "missing or broken");
}

/* The first thing that is wrong, as an error. */
static bool refuse(const struct survey *s, struct err *e)
{
    const char *text = str_text(&s->problems);
    size_t length = strcspn(text, "\n");
    const char *hint = text + length + strspn(text + length, "\n ");
    err_set(e, ERR_INPUT, "%.*s", (int)length, text);
    if (*hint)
        err_hint(e, "%.*s", (int)strcspn(hint, "\n"), hint);
    if (s->problem_count > 1)
        err_hint(e, "the first of %d problems; standard output has them all",
                 s->problem_count);
    return false;
}

static bool print_survey(const struct survey *s, const struct options *o, bool settings,
                         struct err *e)
{
    struct str out = {0};
    if (o->json) {
        struct json_writer w = {.out = &out, .indent = 2};
        models_write_json(s, &w);
        str_add(&out, "\n");
    } else {
        add_head(&out, s);
        add_table(&out, s);
        if (settings)
            add_settings(&out, s);
        add_verdict(&out, s);
    }
    bool ok = help_print(&out, e);
    str_free(&out);
    return ok && (survey_is_whole(s) || refuse(s, e));
}

/* models list */

/* The table, and lines on what is wrong below it; or JSON. */
struct list {
    struct table table;
    struct str text, problems;
    struct json_writer json;
    bool as_json;
};

/* The first problem, and how to see the rest. */
static void add_first_problem(struct list *l, const struct survey *s)
{
    const char *text = str_text(&s->problems);
    int length = (int)strcspn(text, "\n");
    str_addf(&l->problems, "\n%s: %.*s\n", s->ensemble.name, length, text);
    if (s->problem_count > 1)
        str_addf(&l->problems, "  %d lines in all: diffens models check %s\n",
                 s->problem_count, s->ensemble.name);
    if (strcmp(s->ensemble.name, "paper") == 0)
        str_add(&l->problems, "  scripts/fetch-models paper fetches its weights\n");
}

static void list_found(struct list *l, const struct survey *s)
{
    char size[32];
    if (l->as_json) {
        models_write_json(s, &l->json);
        return;
    }
    bool whole = survey_is_whole(s);
    table_cell(&l->table, "%s", s->ensemble.name);
    table_cell(&l->table, "%d", s->ensemble.count);
    table_cell(&l->table, "%s", table_megabytes(size, (double)s->bytes));
    table_cell(&l->table, "%s", whole ? "complete" : "incomplete");
    table_cell(&l->table, "%s", STR_SHOW(s->path));
    if (!whole)
        add_first_problem(l, s);
}

static void list_unreadable(struct list *l, const char *file, const char *message)
{
    if (!l->as_json) {
        table_cell(&l->table, "-");
        table_cell(&l->table, "-");
        table_cell(&l->table, "-");
        table_cell(&l->table, "unreadable");
        table_cell(&l->table, "%s", STR_SHOW(file));
        str_addf(&l->problems, "\n%s\n", message);
        return;
    }
    json_write_open_object(&l->json);
    json_member_text(&l->json, "path", file);
    json_member_bool(&l->json, "complete", false);
    json_write_key(&l->json, "problems");
    json_write_open_array(&l->json);
    json_write_string(&l->json, message);
    json_write_close(&l->json);
    json_write_close(&l->json);
}

static bool list_one(struct list *l, const char *file, struct err *e)
{
    struct survey s = {0};
    struct err failure = {0};
    bool ok = survey_ensemble(&s, file, &failure);
    if (ok)
        list_found(l, &s);
    else if (failure.code == ERR_INPUT)
        list_unreadable(l, file, failure.message);
    survey_close(&s);
    return ok || failure.code == ERR_INPUT || err_from(e, &failure, NULL);
}

static bool list_all(struct list *l, const struct ensemble_files *files, struct err *e)
{
    static const char *const heads[] = {"ensemble", "diffusers", "size", "state", "file"};
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        table_cell(&l->table, "%s", heads[i]);
    if (l->as_json) {
        json_write_open_object(&l->json);
        json_write_key(&l->json, "ensembles");
        json_write_open_array(&l->json);
    }
    for (int i = 0; i < files->count; i++)
        if (!list_one(l, files->path[i], e))
            return false;
    if (l->as_json) {
        json_write_close(&l->json);
        json_write_close(&l->json);
        str_add(&l->text, "\n");
    } else {
        table_end(&l->table, &l->text);
        str_add(&l->text, str_text(&l->problems));
    }
    return true;
}

static bool models_list(const struct options *o, struct err *e)
{
    struct ensemble_files files = {0};
    struct list l = {.table = {.align = "lrrll"}, .as_json = o->json};
    l.json = (struct json_writer){.out = &l.text, .indent = 2};
    bool ok =
        ensemble_list(&files, e) && list_all(&l, &files, e) && help_print(&l.text, e);
    if (ok && files.count == 0)
        ok = err_set(e, ERR_INPUT,
                     "found no ensemble, expected models/NAME/ensemble.json");
    ensemble_files_free(&files);
    str_free(&l.text);
    str_free(&l.problems);
    str_free(&l.table.cells);
    return ok;
}

/* A name with a '/', of a file that is there or that ends as files do. */
static bool is_path(const char *name)
{
    return strchr(name, '/') || strchr(name, '.');
}

/* Reading takes its time: a terminal shows how far it is, and nothing else does. */
static bool look_with_bar(struct survey *s, const char *name, struct err *e)
{
    struct options shown = {0};
    struct display display = {0};
    struct terminal terminal;
    terminal_open(&terminal);
    shown.progress = terminal.usable && s->weights ? PROGRESS_BAR : PROGRESS_NONE;
    s->progress = &display.progress;
    bool ok = display_open(&display, &shown, e) &&
              (is_path(name) ? survey_path(s, name, e) : survey_ensemble(s, name, e));
    s->progress = NULL;
    return display_close(&display, e) && ok;
}

static bool models_look(const struct options *o, const char *name, bool check,
                        struct err *e)
{
    struct survey s = {.weights = check};
    bool ok = look_with_bar(&s, name, e) && print_survey(&s, o, !check, e);
    survey_close(&s);
    return ok;
}

bool command_models(const struct options *o, struct err *e)
{
    const char *verb = o->operands[0];
    bool named = o->operand_count > 1;
    if (strcmp(verb, "list") == 0 && !named)
        return models_list(o, e);
    if ((strcmp(verb, "show") == 0 || strcmp(verb, "check") == 0) && named)
        return models_look(o, o->operands[1], verb[0] == 'c', e);
    return err_set(
        e, ERR_USAGE,
        "models: found \"%s\"%s, expected list, show NAME or check NAME or PATH",
        STR_SHOW(verb), named ? " and a name" : " alone");
}
