/* inspect_picture.c: the command that makes one picture again, out of the record that the
 * picture carries. Leaves whole runs to command_line.c. */
#include "cli/inspect.h"

#include "cli/commands.h"
#include "cli/option_table.h"
#include "io/config.h"
#include "io/json_write.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define SIDE_MAX 16384

/* The fields of a record that a command line is made of. Texts belong to the record. */
struct picture {
    const struct json *record;
    const struct command *command;
    int count;
    const struct json *parents[OPTIONS_MAX_MODELS]; /* a parent's is the record itself */
    double weights[OPTIONS_MAX_MODELS];
    const char *case_name;
    const char *images; /* NULL: the parents are drawn */
    int64_t case_index; /* of a picture made with --images */
    int64_t height, width;
};

/* Reading */

static bool read_kind(struct picture *p, struct err *e)
{
    const char *kind;
    if (!config_need_string(p->record, "kind", &kind, e))
        return false;
    if (strcmp(kind, "figure") == 0) {
        json_fail(p->record, e, "found a figure, expected a single picture");
        return err_hint(e, "diffens inspect --command DIRECTORY is for the whole run");
    }
    p->command = command_find(strcmp(kind, "parent") == 0 ? "generate" : kind);
    if (p->command && (p->command->bit & COMMANDS_RUN))
        return true;
    return json_fail(json_get(p->record, "kind"), e,
                     "found \"%s\", expected parent, blend or optimize", STR_SHOW(kind));
}

static bool read_parents(struct picture *p, struct err *e)
{
    const struct json *parents;
    if (p->command->bit == COMMAND_GENERATE) {
        p->parents[p->count++] = p->record;
        return true;
    }
    if (!config_need_array(p->record, "parents", 1, OPTIONS_MAX_MODELS, &parents, e))
        return false;
    for (const struct json *v = parents->child; v; v = v->next) {
        p->parents[p->count] = v;
        if (!config_as_object(v, e) ||
            !config_need_double(v, "weight", 0, 1, &p->weights[p->count++], e))
            return false;
    }
    return true;
}

static bool read_picture(struct picture *p, struct err *e)
{
    return config_as_object(p->record, e) && read_kind(p, e) && read_parents(p, e) &&
           config_need_string(p->record, "case", &p->case_name, e) &&
           config_may_string(p->record, "images", &p->images, e) &&
           (!p->images || config_need_int(p->record, "case_index", 0, INT64_MAX / 2,
                                          &p->case_index, e)) &&
           config_need_int(p->record, "height", 1, SIDE_MAX, &p->height, e) &&
           config_need_int(p->record, "width", 1, SIDE_MAX, &p->width, e);
}

/* Writing */

static void add(struct str *out, const char *name, const char *value)
{
    str_addf(out, " --%s%s", name, value[0] == '-' && value[1] ? "=" : " ");
    str_add_shell(out, value);
}

/* The names in an array, as an option takes several. */
static bool add_names(struct str *out, const struct json *array, const char *name,
                      struct err *e)
{
    struct str names = {0};
    bool ok = true;
    for (const struct json *item = array->child; ok && item; item = item->next) {
        ok = item->kind == JSON_STRING ||
             json_fail(item, e, "found another kind, expected a string");
        if (ok)
            str_addf(&names, "%s%s", names.size ? "," : "", item->text);
    }
    if (ok)
        add(out, name, array->child ? str_text(&names) : "none");
    str_free(&names);
    return ok;
}

/* A number, a text or names of the record, as they are spelled there. */
static bool add_field(struct str *out, const struct json *object, const char *key,
                      const char *name, struct err *e)
{
    const struct json *value;
    if (!config_need(object, key, &value, e))
        return false;
    if (value->kind == JSON_ARRAY)
        return add_names(out, value, name, e);
    if (value->kind != JSON_STRING && value->kind != JSON_NUMBER)
        return json_fail(value, e, "found another kind, expected a number or a string");
    char text[64];
    if (value->kind == JSON_STRING) {
        add(out, name, value->text);
    } else {
        snprintf(text, sizeof text, "%.*s", (int)(value->size < 63 ? value->size : 63),
                 value->text);
        add(out, name, text);
    }
    return true;
}

/* The same of one that records from before it do not have. */
static bool add_newer(struct str *out, const struct json *object, const char *key,
                      const char *name, struct err *e)
{
    return !config_has(object, key) || add_field(out, object, key, name, e);
}

static void add_size(struct str *out, const char *name, int64_t height, int64_t width)
{
    str_addf(out, " --%s %lldx%lld", name, (long long)height, (long long)width);
}

static bool add_flag(struct str *out, const struct json *object, const char *key,
                     const char *name, struct err *e)
{
    bool set = false;
    if (!config_may_bool(object, key, &set, e))
        return false;
    if (set)
        str_addf(out, " --%s", name);
    return true;
}

/* "case_seed" is there where it is not the first parent's own. */
static bool read_seed(const struct picture *p, uint64_t *seed, struct err *e)
{
    const struct json *value = json_get(p->record, "case_seed");
    return (value || config_need(p->parents[0], "seed", &value, e)) &&
           config_as_uint64(value, seed, e);
}

/* Prompts as a file of JSON: each model's own, and a case of that very name. */
static void add_prompts_file(struct str *out, const struct picture *p,
                             const char *const *prompts, const char *negative,
                             uint64_t seed)
{
    struct str file = {0};
    struct json_writer w = {.out = &file};
    json_write_open_object(&w);
    json_write_key(&w, "prompts");
    json_write_open_array(&w);
    json_write_open_array(&w);
    for (int m = 0; m < p->count; m++)
        json_write_string(&w, prompts[m]);
    json_write_close(&w);
    json_write_close(&w);
    json_write_key(&w, "negative");
    json_write_string(&w, negative);
    json_write_key(&w, "names");
    json_write_open_array(&w);
    json_write_string(&w, p->case_name);
    json_write_close(&w);
    json_write_key(&w, "seeds");
    json_write_open_array(&w);
    json_write_uint(&w, seed);
    json_write_close(&w);
    json_write_close(&w);
    str_add(out, "printf %s ");
    str_add_shell(out, str_text(&file));
    str_add(out, " | ");
    out->failed = out->failed || file.failed;
    str_free(&file);
}

/* "diffens COMMAND" and its prompts. */
static bool add_prompts(struct str *out, const struct picture *p, struct err *e)
{
    const char *prompts[OPTIONS_MAX_MODELS], *negative = "";
    uint64_t seed = 0;
    bool simple = strcmp(p->case_name, "000") == 0;
    for (int m = 0; m < p->count; m++) {
        if (!config_need_string(p->parents[m], "prompt", &prompts[m], e))
            return false;
        simple = simple && strcmp(prompts[m], prompts[0]) == 0;
    }
    if (!config_may_string(p->parents[0], "negative", &negative, e) ||
        !read_seed(p, &seed, e))
        return false;
    if (!simple)
        add_prompts_file(out, p, prompts, negative, seed);
    str_addf(out, "diffens %s --raw-prompts", p->command->name);
    if (!simple) {
        str_add(out, " --prompts -");
        return true;
    }
    add(out, "prompt", prompts[0]);
    if (*negative)
        add(out, "negative", negative);
    str_addf(out, " --random-seed %llu", (unsigned long long)seed);
    return true;
}

/* --scheduler where all models have the same. */
static bool add_scheduler(struct str *out, const struct picture *p, struct err *e)
{
    const char *first = NULL, *name;
    for (int m = 0; m < p->count; m++) {
        if (!config_need_string(p->parents[m], "scheduler", &name, e))
            return false;
        if (first && strcmp(first, name) != 0)
            return true;
        first = name;
    }
    add(out, "scheduler", first);
    return true;
}

static bool add_drawing(struct str *out, const struct picture *p, struct err *e)
{
    int64_t height, width;
    if (!config_need_int(p->parents[0], "height", 1, SIDE_MAX, &height, e) ||
        !config_need_int(p->parents[0], "width", 1, SIDE_MAX, &width, e))
        return false;
    add_size(out, "size", height, width);
    return add_field(out, p->record, "noise", "noise", e) &&
           add_field(out, p->record, "steps", "steps", e) &&
           add_field(out, p->record, "guidance", "guidance", e) &&
           add_newer(out, p->record, "guidance_interval", "guidance-interval", e) &&
           add_newer(out, p->record, "cache_interval", "cache-interval", e) &&
           add_scheduler(out, p, e);
}

static bool add_models(struct str *out, const struct picture *p, struct err *e)
{
    struct str names = {0};
    for (int m = 0; m < p->count; m++) {
        const char *name;
        bool outside = false;
        if (!config_need_string(p->parents[m], "model", &name, e) ||
            !config_may_bool(p->parents[m], "outside", &outside, e)) {
            str_free(&names);
            return false;
        }
        /* As a path, so that no model of the ensemble is taken for it. */
        str_addf(&names, "%s%s%s", m ? "," : "", outside ? "./" : "", name);
    }
    add(out, "models", str_text(&names));
    str_free(&names);
    return true;
}

/* As the record spells it. */
static void add_number(struct str *out, double number)
{
    json_write_double(&(struct json_writer){.out = out}, number);
}

static void add_weights(struct str *out, const struct picture *p)
{
    const double *w = p->weights;
    if (p->command->bit == COMMAND_BLEND && p->count == 2 && w[0] == 1 - w[1]) {
        str_add(out, " --gamma ");
        add_number(out, w[1]);
        return;
    }
    bool even = p->command->bit == COMMAND_OPTIMIZE;
    for (int m = 0; m < p->count; m++)
        even = even && w[m] == 1.0 / p->count;
    for (int m = 0; m < p->count && !even; m++) {
        str_add(out, m ? "," : " --weights ");
        add_number(out, w[m]);
    }
}

/* Every setting that the record lists under the name of its option: those that an
 * ensemble may set are among them. */
static bool add_optimizing(struct str *out, const struct picture *p, struct err *e)
{
    const struct json *settings;
    uint64_t seed;
    int64_t epoch = 0;
    const struct json *value;
    if (!config_need_object(p->record, "optimize", &settings, e) ||
        !config_need(settings, "random_seed", &value, e) ||
        !config_as_uint64(value, &seed, e) ||
        !config_may_int(p->record, "epoch", 0, 1000000, &epoch, e))
        return false;
    if (p->images)
        str_addf(out, " --random-seed %llu",
                 (unsigned long long)(seed - (uint64_t)p->case_index));
    for (const struct json *v = settings->child; v; v = v->next) {
        char name[64];
        snprintf(name, sizeof name, "%s", v->key);
        for (char *c = name; *c; c++)
            *c = *c == '_' ? '-' : *c;
        const struct option *option = option_find(name, strlen(name), COMMAND_OPTIMIZE);
        if (!option || v->kind == JSON_NULL || option->group != GROUP_OPTIMIZE)
            continue;
        if (option->kind == OPTION_FLAG ? !add_flag(out, settings, v->key, name, e)
                                        : !add_field(out, settings, v->key, name, e))
            return false;
    }
    if (epoch > 0)
        str_addf(out, " --save-every %lld", (long long)epoch);
    return true;
}

static bool add_mixing(struct str *out, const struct picture *p, struct err *e)
{
    add_weights(out, p);
    if (!add_field(out, p->record, "layer", "layer", e) ||
        !add_flag(out, p->record, "requantize", "requantize", e))
        return false;
    add_size(out, "vq-size", p->height, p->width);
    return p->command->bit != COMMAND_OPTIMIZE || add_optimizing(out, p, e);
}

/* The type that `auto` would not give has been asked for. */
static bool add_machine(struct str *out, const struct picture *p, struct err *e)
{
    const char *device, *dtype, *mixing = "fp32", *ensemble = NULL;
    if (!config_need_string(p->record, "device", &device, e) ||
        !config_need_string(p->record, "dtype", &dtype, e) ||
        !config_may_string(p->record, "mixing_dtype", &mixing, e) ||
        !config_may_string(p->record, "ensemble", &ensemble, e))
        return false;
    if (ensemble)
        add(out, "ensemble", ensemble);
    add(out, "device", device);
    const char *automatic = strcmp(device, "cpu") == 0 ? "fp32" : "fp16";
    if (strcmp(dtype, automatic) != 0 || strcmp(mixing, "fp32") != 0)
        add(out, "dtype", dtype);
    return add_flag(out, p->record, "deterministic", "deterministic", e);
}

static bool add_start(struct str *out, const struct picture *p, struct err *e)
{
    if (p->images) {
        str_addf(out, "diffens %s", p->command->name);
        add(out, "images", p->images);
        return true;
    }
    if (!config_has(p->parents[0], "prompt"))
        return json_fail(p->record, e,
                         "found a picture that was given with --images, "
                         "expected one that diffens made");
    return add_prompts(out, p, e) && add_drawing(out, p, e);
}

bool inspect_picture_command(struct str *out, const struct json *record, struct err *e)
{
    struct picture p = {.record = record};
    return read_picture(&p, e) && add_start(out, &p, e) && add_models(out, &p, e) &&
           (p.command->bit == COMMAND_GENERATE || add_mixing(out, &p, e)) &&
           add_machine(out, &p, e);
}
