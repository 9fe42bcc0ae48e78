/* config_file.c: walks the file of --config. Leaves JSON to src/io and values to set.c.
 */
#include "cli/config_file.h"

#include "base/str.h"
#include "cli/parse.h"
#include "cli/set.h"
#include "io/config.h"
#include "io/file.h"
#include "io/limits.h"

#include <stdlib.h>
#include <string.h>

static bool no_memory(const struct json *value, struct err *e)
{
    return err_set(e, ERR_MEMORY, "%s: out of memory", STR_SHOW(value->file));
}

static bool refuse(const struct option *option, const struct json *value, struct err *e)
{
    char expected[400], found[200];
    json_fail(
        value, e, "found %s, expected %s", json_describe(value, found, sizeof found),
        option->kind == OPTION_FLAG ? "true or false"
                                    : option_expected(option, expected, sizeof expected));
    return value->kind == JSON_STRING ? option_hint_value(option, value->text, e) : false;
}

static bool takes_numbers(const struct option *option)
{
    return option->kind == OPTION_INTEGER || option->kind == OPTION_SEED ||
           option->kind == OPTION_REAL || option->kind == OPTION_GAMMA ||
           option->kind == OPTION_WEIGHTS;
}

static bool takes_list(const struct option *option)
{
    return option->kind == OPTION_NAMES || option->kind == OPTION_GAMMA ||
           option->kind == OPTION_WEIGHTS || option->kind == OPTION_SET ||
           option->kind == OPTION_LIMITS;
}

/* The value as it would stand on the command line. */
static bool spell(struct str *text, const struct option *option, const struct json *value)
{
    if (value->kind == JSON_STRING || value->kind == JSON_NUMBER) {
        str_add_bytes(text, value->text, value->size);
        return value->kind == JSON_STRING || takes_numbers(option);
    }
    if (value->kind != JSON_ARRAY || !takes_list(option) || value->size == 0)
        return false;
    for (const struct json *v = value->child; v; v = v->next) {
        bool of_kind = v->kind == (takes_numbers(option) ? JSON_NUMBER : JSON_STRING);
        if (!of_kind || memchr(v->text, ',', v->size))
            return false;
        str_add(text, v == value->child ? "" : ",");
        str_add_bytes(text, v->text, v->size);
    }
    return true;
}

/* Keeps a copy as long as the options; NULL when memory is out. */
static const char *keep(struct options *o, struct str *text)
{
    char **texts = realloc(o->texts, ((size_t)o->text_count + 1) * sizeof *texts);
    if (!texts)
        return NULL;
    o->texts = texts;
    texts[o->text_count] = str_take(text);
    return texts[o->text_count] ? texts[o->text_count++] : NULL;
}

static bool set_value(struct options *o, const struct option *option,
                      const struct json *value, struct err *e)
{
    struct str spelling = {0};
    const char *text = NULL;
    bool ok = spell(&spelling, option, value);
    if (ok)
        text = keep(o, &spelling);
    str_free(&spelling);
    if (!ok)
        return refuse(option, value, e);
    if (!text)
        return no_memory(value, e);
    switch (option_set(o, option, text, FROM_CONFIG)) {
    case VALUE_OK:
        return true;
    case VALUE_NO_MEMORY:
        return no_memory(value, e);
    case VALUE_WRONG:
        break;
    }
    return refuse(option, value, e);
}

static bool set_flag(struct options *o, const struct option *option,
                     const struct json *value, struct err *e)
{
    if (value->kind != JSON_BOOL)
        return refuse(option, value, e);
    return !value->truth || option_set(o, option, "", FROM_CONFIG) == VALUE_OK ||
           no_memory(value, e);
}

/* Several mixtures: an array of arrays. */
static bool set_each(struct options *o, const struct option *option,
                     const struct json *list, struct err *e)
{
    for (const struct json *v = list->child; v; v = v->next)
        if (!set_value(o, option, v, e))
            return false;
    return true;
}

bool config_set_member(struct options *o, const struct json *value, struct err *e)
{
    const struct option *option =
        option_find(value->key, strlen(value->key), (unsigned)o->command);
    if (!option || option->unrecorded) {
        json_fail(value, e, "found option \"%s\", expected one that can be given here",
                  STR_SHOW(value->key));
        return option ? false : option_hint_name(value->key, o->command, e);
    }
    if (value->kind == JSON_NULL)
        return true;
    if (option->kind == OPTION_FLAG)
        return set_flag(o, option, value, e);
    if (option->kind == OPTION_WEIGHTS && value->kind == JSON_ARRAY && value->child &&
        value->child->kind == JSON_ARRAY)
        return set_each(o, option, value, e);
    return set_value(o, option, value, e);
}

/* What the command line gives, or rules out, is not looked at. */
bool config_read(struct options *o, struct err *e)
{
    struct json_document d = {0};
    struct options line = {.command = o->command};
    memcpy(line.given, o->given, sizeof line.given);
    bool ok = !o->config || (json_read(&d, o->config, LIMIT_JSON_CONFIG, e) &&
                             config_as_object(d.root, e));
    if (!ok)
        file_hint_missing(o->config,
                          "--config takes a JSON file of options, as {\"steps\": 30}; "
                          "--print-config writes one",
                          e);
    for (const struct json *v = ok && d.root ? d.root->child : NULL; ok && v;
         v = v->next) {
        const struct option *option =
            option_find(v->key, strlen(v->key), (unsigned)o->command);
        bool ruled_out =
            option && !option->unrecorded &&
            (line.given[option - option_table] || option_is_overruled(&line, option));
        ok = ruled_out || config_set_member(o, v, e);
    }
    json_free(&d);
    return ok;
}
