/* options_json.c: what the option table resolves to. Leaves the rest of the record to
 * src/run. */
#include "cli/options_json.h"

#include "base/str.h"
#include "cli/option_table.h"

#include <stdio.h>
#include <string.h>

static void write_text(struct json_writer *w, const char *text)
{
    if (text)
        json_write_string(w, text);
    else
        json_write_null(w);
}

static void write_path(struct json_writer *w, const char *path)
{
    write_text(w, path && path[0] == '/' ? str_file_name(path) : path);
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

static void write_names(struct json_writer *w, const struct option_names *names)
{
    if (names->count == 0) {
        json_write_null(w);
        return;
    }
    json_write_open_array(w);
    for (int i = 0; i < names->count; i++)
        write_path(w, names->name[i]);
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
    json_write_open_array(w);
    for (int i = 0; i < weights->count; i++)
        write_numbers(w, weights->set[i].value, weights->set[i].count);
    json_write_close(w);
}

static void write_layers(struct json_writer *w, const struct option *option,
                         unsigned layers)
{
    json_write_open_array(w);
    for (int i = 0; i < LAYER_COUNT; i++)
        if (layers & 1u << i)
            write_choice(w, option, i);
    json_write_close(w);
}

static void write_value(struct json_writer *w, const struct option *option,
                        const struct options *o)
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
        write_path(w, *(const char *const *)field);
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
    case OPTION_NAMES:
        write_names(w, field);
        break;
    case OPTION_GAMMA:
        write_numbers(w, ((const struct option_numbers *)field)->value,
                      ((const struct option_numbers *)field)->count);
        break;
    case OPTION_WEIGHTS:
        write_weights(w, field);
        break;
    case OPTION_LAYERS:
        write_layers(w, option, *(const unsigned *)field);
        break;
    }
}

void options_write(struct json_writer *w, const struct options *o)
{
    json_write_open_object(w);
    for (int i = 0; i < option_count; i++) {
        const struct option *option = &option_table[i];
        if (!(option->commands & o->command))
            continue;
        json_write_key(w, option->name);
        write_value(w, option, o);
    }
    json_write_close(w);
}
