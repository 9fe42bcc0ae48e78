/* inspect_text.c: records as text for people. Leaves finding them to inspect.c. */
#include "cli/inspect.h"

#include "cli/options_json.h"
#include "cli/parse.h"
#include "io/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LABEL_WIDTH 18
#define SHOWN_CASES 12

static void add_text(struct str *out, const char *text)
{
    size_t size = strlen(text), room = 4 * size + 4;
    char *shown = malloc(room);
    if (!shown) {
        out->failed = true;
        return;
    }
    str_add(out, str_escape(shown, room, text, size));
    free(shown);
}

static void add_value(struct str *out, const struct json *value)
{
    switch (value->kind) {
    case JSON_NULL:
        str_add(out, "-");
        break;
    case JSON_BOOL:
        str_add(out, value->truth ? "yes" : "no");
        break;
    case JSON_NUMBER:
        str_add_bytes(out, value->text, value->size);
        break;
    case JSON_STRING: {
        bool quoted = !*value->text || strpbrk(value->text, " \t\n\"\\");
        str_add(out, quoted ? "\"" : "");
        add_text(out, value->text);
        str_add(out, quoted ? "\"" : "");
        break;
    }
    case JSON_ARRAY:
    case JSON_OBJECT:
        for (const struct json *v = value->child; v; v = v->next) {
            str_add(out, v == value->child ? "" : v->child ? "; " : ", ");
            if (v->key) {
                add_text(out, v->key);
                str_add(out, " ");
            }
            add_value(out, v);
        }
        break;
    }
}

static void add_label(struct str *out, const char *label)
{
    size_t before = out->size;
    str_add(out, "  ");
    for (const char *c = label; *c; c++)
        str_add_bytes(out, *c == '_' ? " " : c, 1);
    size_t width = out->size - before;
    str_addf(out, "%*s", width < LABEL_WIDTH ? (int)(LABEL_WIDTH - width) : 1, "");
}

static void add_line(struct str *out, const char *label, const struct json *value)
{
    if (!value || value->kind == JSON_NULL)
        return;
    char shown[64];
    add_label(out, str_escape(shown, sizeof shown, label, strlen(label)));
    add_value(out, value);
    str_add(out, "\n");
}

static void add_title(struct str *out, const char *title)
{
    str_addf(out, "%s%s\n", out->size ? "\n" : "", title);
}

static bool is_among(const char *key, const char *const *keys)
{
    for (; *keys; keys++)
        if (strcmp(key, *keys) == 0)
            return true;
    return false;
}

/* Lines for those of `keys` that are there. */
static void add_group(struct str *out, const char *title, const struct json *object,
                      const char *const *keys)
{
    bool titled = false;
    for (const char *const *key = keys; *key; key++) {
        const struct json *value = json_get(object, *key);
        if (!value || value->kind == JSON_NULL)
            continue;
        if (!titled)
            add_title(out, title);
        titled = true;
        add_line(out, *key, value);
    }
}

static void add_all(struct str *out, const char *title, const struct json *object)
{
    if (!object || object->size == 0)
        return;
    add_title(out, title);
    for (const struct json *v = object->child; v; v = v->next)
        add_line(out, v->key ? v->key : "", v);
}

/* One picture */

static const char *const picture_keys[] = {"kind",   "case",     "result", "epoch",
                                           "layer",  "height",   "width",  "requantize",
                                           "images", "pictures", NULL};
static const char *const drawing_keys[] = {
    "model",          "prompt",    "negative", "seed",     "noise",
    "case_seed",      "scheduler", "steps",    "guidance", "guidance_interval",
    "cache_interval", NULL};
static const char *const maker_keys[] = {"program",       "version",  "libtorch",
                                         "device",        "dtype",    "mixing_dtype",
                                         "deterministic", "ensemble", NULL};

static bool is_shown(const char *key)
{
    return is_among(key, picture_keys) || is_among(key, drawing_keys) ||
           is_among(key, maker_keys);
}

void inspect_picture_text(struct str *out, const struct json *record)
{
    char title[32];
    int number = 1;
    add_group(out, "picture", record, picture_keys);
    const struct json *parents = json_get(record, "parents");
    for (const struct json *v = parents ? parents->child : NULL; v; v = v->next) {
        snprintf(title, sizeof title, "parent %d", number++);
        add_all(out, title, v);
    }
    add_group(out, "drawing", record, drawing_keys);
    add_all(out, "optimising", json_get(record, "optimize"));
    add_group(out, "made by", record, maker_keys);
    bool titled = false;
    for (const struct json *v = record->child; v; v = v->next) {
        if (is_shown(v->key) || v->child || strcmp(v->key, "case_index") == 0)
            continue;
        if (!titled)
            add_title(out, "other");
        titled = true;
        add_line(out, v->key, v);
    }
}

/* A run */

static bool same_value(const struct json *a, const struct json *b)
{
    struct str first = {0}, second = {0};
    json_write_value(&(struct json_writer){.out = &first}, a);
    json_write_value(&(struct json_writer){.out = &second}, b);
    bool same = strcmp(str_text(&first), str_text(&second)) == 0;
    str_free(&first);
    str_free(&second);
    return same;
}

/* What the options of a command are when none is given. */
static bool read_defaults(struct json_document *d, const char *command, struct err *e)
{
    const struct command *known = command_find(command);
    struct parsed parsed = {0};
    struct str json = {0};
    bool ok = known ? options_set_defaults(known, &parsed, e)
                    : err_set(e, ERR_INPUT, "$.command: found \"%s\", expected a command",
                              STR_SHOW(command));
    if (ok)
        options_write(&(struct json_writer){.out = &json}, &parsed.options);
    if (json.failed)
        ok = err_set(e, ERR_MEMORY, "inspect: out of memory");
    ok = ok && json_parse(d, "defaults", str_text(&json), json.size, e);
    str_free(&json);
    options_free(&parsed.options);
    return ok;
}

static bool add_options(struct str *out, const struct json *record, struct err *e)
{
    const struct json *options;
    const char *command;
    struct json_document defaults = {0};
    if (!config_need_object(record, "options", &options, e) ||
        !config_need_string(record, "command", &command, e))
        return false;
    if (!read_defaults(&defaults, command, e))
        return err_in_file(e, options->file);
    bool titled = false;
    for (const struct json *v = options->child; v; v = v->next) {
        const struct json *initial = json_get(defaults.root, v->key);
        if (initial && same_value(v, initial))
            continue;
        if (!titled)
            add_title(out, "options that differ from their defaults");
        titled = true;
        add_line(out, v->key, v);
    }
    json_free(&defaults);
    return true;
}

/* The parents of the first cases: their prompts and seeds. */
static void add_prompts(struct str *out, const struct json *cells, size_t models)
{
    size_t shown = 0;
    for (const struct json *v = cells->child; v; v = v->next) {
        const struct json *prompt = json_get(v, "prompt"), *model = json_get(v, "model");
        const struct json *name = json_get(v, "case"), *seed = json_get(v, "seed");
        if (!prompt || !model || !name || !seed || name->kind != JSON_STRING)
            continue;
        if (shown++ == 0)
            add_title(out, "prompts");
        if (shown > SHOWN_CASES * models)
            continue;
        char label[64];
        add_label(out, str_escape(label, sizeof label, name->text, strlen(name->text)));
        add_value(out, model);
        str_add(out, ", seed ");
        add_value(out, seed);
        str_add(out, ": ");
        add_value(out, prompt);
        str_add(out, "\n");
    }
    if (shown > SHOWN_CASES * models)
        str_addf(out, "  ... and %zu more: --json has them all\n",
                 shown - SHOWN_CASES * models);
}

static void add_weights(struct str *out, const struct json *networks)
{
    add_title(out, "models");
    for (const struct json *v = networks ? networks->child : NULL; v; v = v->next) {
        const struct json *role = json_get(v, "role"), *name = json_get(v, "name");
        const struct json *files = json_get(v, "files");
        if (!role || !name || role->kind != JSON_STRING)
            continue;
        char label[64];
        add_label(out, str_escape(label, sizeof label, role->text, strlen(role->text)));
        add_value(out, name);
        str_add(out, "\n");
        for (const struct json *f = files ? files->child : NULL; f; f = f->next) {
            const struct json *file = json_get(f, "file"), *hash = json_get(f, "sha256");
            if (!file || !hash)
                continue;
            add_label(out, "");
            add_value(out, hash);
            str_add(out, "  ");
            add_value(out, file);
            str_add(out, "\n");
        }
    }
}

static void add_outcomes(struct str *out, const struct json *outcomes)
{
    size_t shown = 0;
    for (const struct json *v = outcomes ? outcomes->child : NULL; v; v = v->next) {
        const struct json *name = json_get(v, "case");
        const struct json *final = json_get(v, "final");
        const struct json *best = json_get(v, "best_baseline");
        const struct json *total = final ? json_get(final, "total") : NULL;
        if (!name || !total || !best || name->kind != JSON_STRING)
            continue;
        if (shown++ == 0)
            add_title(out, "losses");
        if (shown > SHOWN_CASES)
            break;
        char label[64];
        add_label(out, str_escape(label, sizeof label, name->text, strlen(name->text)));
        str_add(out, "final ");
        add_value(out, total);
        str_add(out, ", best baseline ");
        add_value(out, best);
        str_add(out, "\n");
    }
}

static size_t count_done(const struct json *cells)
{
    size_t done = 0;
    for (const struct json *v = cells->child; v; v = v->next) {
        const struct json *state = json_get(v, "state");
        done += state && state->kind == JSON_STRING && strcmp(state->text, "done") == 0;
    }
    return done;
}

bool inspect_run_text(struct str *out, const struct json *record, struct err *e)
{
    static const char *const run_keys[] = {"command", "state", NULL};
    static const char *const made_keys[] = {"program", "version", "libtorch", "device",
                                            "dtype",   "threads", NULL};
    const struct json *cells, *cases, *models, *ensemble;
    struct str command = {0};
    if (!config_need_array(record, "cells", 0, SIZE_MAX, &cells, e) ||
        !config_need_array(record, "cases", 0, SIZE_MAX, &cases, e) ||
        !config_need_array(record, "models", 1, OPTIONS_MAX_MODELS, &models, e) ||
        !config_need_object(record, "ensemble", &ensemble, e))
        return false;
    bool ok = inspect_run_command(&command, record, e);
    add_group(out, "run", record, run_keys);
    add_label(out, "pictures");
    str_addf(out, "%zu of %zu made: %zu case%s\n", count_done(cells), cells->size,
             cases->size, cases->size == 1 ? "" : "s");
    add_line(out, "models", models);
    add_line(out, "ensemble", json_get(ensemble, "name"));
    add_label(out, "again");
    str_add(out, str_text(&command));
    str_add(out, "\n");
    str_free(&command);
    if (!ok || !add_options(out, record, e))
        return false;
    add_prompts(out, cells, models->size);
    add_outcomes(out, json_get(record, "optimize"));
    add_weights(out, json_get(ensemble, "networks"));
    add_group(out, "made by", record, made_keys);
    return true;
}
