/* options_json.c: what the options resolve to. Leaves the rest of the record to
 * src/run. */
#include "cli/options_json.h"

#include "base/str.h"
#include "cli/option_table.h"
#include "cli/parse.h"

#include <stdio.h>
#include <string.h>

static void write_text(struct json_writer *w, const char *text)
{
    if (text)
        json_write_string(w, text);
    else
        json_write_null(w);
}

static void write_path(struct json_writer *w, const char *path, bool portable)
{
    write_text(w, portable && path && path[0] == '/' ? str_file_name(path) : path);
}

static void write_choice(struct json_writer *w, const struct option *option, int index)
{
    char name[64];
    const char *word = "";
    size_t length = option_choice(option, index, &word);
    snprintf(name, sizeof name, "%.*s", (int)length, word);
    json_write_string(w, name);
}

static void write_integer(struct json_writer *w, const struct option *option, int number)
{
    if (option->automatic && number == 0)
        json_write_string(w, "auto");
    else
        json_write_int(w, number);
}

static void write_size(struct json_writer *w, const struct option_size *size)
{
    char text[32];
    snprintf(text, sizeof text, "%dx%d", size->height, size->width);
    write_text(w, size->height ? text : NULL);
}

static void write_names(struct json_writer *w, const struct option_names *names,
                        bool portable)
{
    if (names->count == 0) {
        json_write_null(w);
        return;
    }
    json_write_open_array(w);
    for (int i = 0; i < names->count; i++)
        write_path(w, names->name[i], portable);
    json_write_close(w);
}

static void write_numbers(struct json_writer *w, const double *numbers, int count)
{
    json_write_open_array(w);
    for (int i = 0; i < count; i++)
        json_write_double(w, numbers[i]);
    json_write_close(w);
}

static void write_weights(struct json_writer *w, const struct option_weight_sets *weights)
{
    if (weights->count == 0) {
        json_write_null(w);
        return;
    }
    json_write_open_array(w);
    for (int i = 0; i < weights->count; i++)
        write_numbers(w, weights->set[i].value, weights->set[i].count);
    json_write_close(w);
}

static void write_set(struct json_writer *w, const struct option *option, unsigned set)
{
    if (set == 0) {
        json_write_string(w, "none");
        return;
    }
    json_write_open_array(w);
    for (int i = 0; set >> i; i++)
        if (set & 1u << i)
            write_choice(w, option, i);
    json_write_close(w);
}

static void write_shard(struct json_writer *w, const struct option_shard *shard)
{
    char text[32];
    snprintf(text, sizeof text, "%d/%d", shard->index, shard->count);
    write_text(w, shard->count ? text : NULL);
}

static void write_value(struct json_writer *w, const struct option *option,
                        const struct options *o, bool portable)
{
    const void *field = (const char *)o + option->offset;
    switch (option->kind) {
    case OPTION_FLAG:
        json_write_bool(w, *(const bool *)field);
        break;
    case OPTION_TEXT:
    case OPTION_WORD:
    case OPTION_CROPS:
        write_text(w, *(const char *const *)field);
        break;
    case OPTION_PATH:
        write_path(w, *(const char *const *)field, portable);
        break;
    case OPTION_INTEGER:
        write_integer(w, option, *(const int *)field);
        break;
    case OPTION_SEED:
        json_write_uint(w, *(const uint64_t *)field);
        break;
    case OPTION_REAL:
        json_write_double(w, *(const double *)field);
        break;
    case OPTION_CHOICE:
        write_choice(w, option, *(const int *)field);
        break;
    case OPTION_SIZE:
        write_size(w, field);
        break;
    case OPTION_LIMITS:
    case OPTION_NAMES:
        write_names(w, field, portable);
        break;
    case OPTION_INTERVAL:
        json_write_interval(w, ((const struct option_interval *)field)->from,
                            ((const struct option_interval *)field)->to);
        break;
    case OPTION_GAMMA:
        write_numbers(w, ((const struct option_numbers *)field)->value,
                      ((const struct option_numbers *)field)->count);
        break;
    case OPTION_WEIGHTS:
        write_weights(w, field);
        break;
    case OPTION_SET:
        write_set(w, option, *(const unsigned *)field);
        break;
    case OPTION_SHARD:
        write_shard(w, field);
        break;
    }
}

static bool belongs(const struct option *option, const struct options *o)
{
    return (option->commands & o->command) && !option->unrecorded;
}

static void write_options(struct json_writer *w, const struct options *o, bool output)
{
    json_write_open_object(w);
    for (const struct option *p = option_table; p < option_table + option_count; p++) {
        bool idle = p->group == GROUP_OUTPUT || option_is_overruled(o, p);
        if (!belongs(p, o) || (idle && !output))
            continue;
        json_write_key(w, p->name);
        write_value(w, p, o, true);
    }
    json_write_close(w);
}

void options_write(struct json_writer *w, const struct options *o)
{
    write_options(w, o, true);
}

void options_write_settings(struct json_writer *w, const struct options *o)
{
    write_options(w, o, false);
}

void options_write_config(struct json_writer *w, const struct options *o)
{
    json_write_open_object(w);
    for (const struct option *p = option_table; p < option_table + option_count; p++) {
        if (!belongs(p, o))
            continue;
        json_write_key(w, p->name);
        if (p->kind != OPTION_FLAG && option_is_overruled(o, p))
            json_write_null(w);
        else
            write_value(w, p, o, false);
    }
    json_write_close(w);
}

bool options_may_change(const char *name)
{
    const struct option *option = option_find(name, strlen(name), ~0u);
    return option && (option->free || option->group == GROUP_OUTPUT);
}
