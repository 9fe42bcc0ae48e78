/* json.c: a JSON document as a tree. Leaves types and ranges of fields to config.c. */
#include "io/json.h"

#include "base/str.h"
#include "io/file.h"
#include "io/json_scan.h"
#include "io/limits.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A file that has more values than the limit has at least so many bytes for each. */
enum { LARGE_VALUE_BYTES = 16 };

/* Values never move, so that they can point at each other. */
enum { BLOCK_VALUES = 256 };
struct json_block {
    struct json_block *next;
    int used;
    struct json values[BLOCK_VALUES];
};

static struct json *new_value(struct json_document *d, struct err *e)
{
    if (d->values == d->most) {
        err_set(e, ERR_INPUT, "found more than %zu values, expected at most that",
                d->most);
        limit_hint(LIMIT_JSON_VALUES, e);
        return NULL;
    }
    if (!d->blocks || d->blocks->used == BLOCK_VALUES) {
        struct json_block *block = malloc(sizeof *block);
        if (!block) {
            err_set(e, ERR_MEMORY, "out of memory for a JSON document");
            return NULL;
        }
        block->next = d->blocks;
        block->used = 0;
        d->blocks = block;
    }
    d->values++;
    struct json *value = &d->blocks->values[d->blocks->used++];
    *value = (struct json){.file = d->name};
    return value;
}

static int compare_keys(const void *a, const void *b)
{
    const struct json *const *left = a, *const *right = b;
    return strcmp((*left)->key, (*right)->key);
}

static bool plain_name(const char *key)
{
    for (const char *c = key; *c; c++)
        if (!((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
              (*c >= '0' && *c <= '9') || *c == '_' || *c == '-'))
            return false;
    return *key != 0 && strlen(key) < 160;
}

void json_add_path(struct str *path, const struct json *value)
{
    const struct json *chain[JSON_SCAN_DEPTH];
    int depth = 0;
    for (const struct json *v = value; v->parent; v = v->parent)
        chain[depth++] = v;
    str_add(path, "$");
    while (depth-- > 0) {
        const struct json *v = chain[depth];
        if (!v->key)
            str_addf(path, "[%u]", v->index);
        else if (plain_name(v->key))
            str_addf(path, ".%s", v->key);
        else
            str_addf(path, "[\"%s\"]", STR_SHOW(v->key));
    }
}

/* Records "$.prompts[3]: <problem>", without the file's name. */
static bool fail_at_path(const struct json *value, const char *problem, struct err *e)
{
    struct str path = {0};
    json_add_path(&path, value);
    err_set(e, ERR_INPUT, "%.300s: %s", str_text(&path), problem);
    str_free(&path);
    return false;
}

static bool fail_duplicate(const struct json *member, struct err *e)
{
    return fail_at_path(member, "found this key twice, expected it once", e);
}

static bool check_duplicates_sorted(const struct json *object, struct err *e)
{
    const struct json **members = malloc(object->size * sizeof *members);
    if (!members)
        return err_set(e, ERR_MEMORY, "out of memory for a JSON document");
    size_t count = 0;
    for (const struct json *m = object->child; m; m = m->next)
        members[count++] = m;
    qsort(members, count, sizeof *members, compare_keys);
    bool ok = true;
    for (size_t i = 1; ok && i < count; i++)
        if (strcmp(members[i - 1]->key, members[i]->key) == 0)
            ok = fail_duplicate(members[i], e);
    free(members);
    return ok;
}

static bool check_duplicates(const struct json *object, struct err *e)
{
    if (object->size > 16)
        return check_duplicates_sorted(object, e);
    for (const struct json *m = object->child; m; m = m->next)
        for (const struct json *other = object->child; other != m; other = other->next)
            if (strcmp(other->key, m->key) == 0)
                return fail_duplicate(m, e);
    return true;
}

static void fill_value(struct json *value, const struct json_token *token)
{
    static const enum json_kind kinds[] = {
        [JSON_TOKEN_OPEN_OBJECT] = JSON_OBJECT, [JSON_TOKEN_OPEN_ARRAY] = JSON_ARRAY,
        [JSON_TOKEN_STRING] = JSON_STRING,      [JSON_TOKEN_NUMBER] = JSON_NUMBER,
        [JSON_TOKEN_TRUE] = JSON_BOOL,          [JSON_TOKEN_FALSE] = JSON_BOOL,
        [JSON_TOKEN_NULL] = JSON_NULL,
    };
    value->kind = kinds[token->kind];
    value->truth = token->kind == JSON_TOKEN_TRUE;
    value->text = token->text;
    value->size = token->size;
}

/* Builds the tree without recursion: `open` holds the value and the last child of each
 * level. */
static bool build(struct json_document *d, struct json_scan *s, struct err *e)
{
    struct {
        struct json *value, *last;
    } open[JSON_SCAN_DEPTH];
    int depth = 0;
    const char *key = NULL;
    struct json_token token;
    while (json_scan_next(s, &token, e)) {
        if (token.kind == JSON_TOKEN_END)
            return true;
        if (token.kind == JSON_TOKEN_KEY) {
            key = token.text;
            continue;
        }
        if (token.kind == JSON_TOKEN_CLOSE_OBJECT ||
            token.kind == JSON_TOKEN_CLOSE_ARRAY) {
            struct json *closed = open[--depth].value;
            if (closed->kind == JSON_OBJECT && !check_duplicates(closed, e))
                return false;
            continue;
        }
        struct json *value = new_value(d, e);
        if (!value)
            return false;
        fill_value(value, &token);
        value->key = key;
        key = NULL;
        if (depth == 0) {
            d->root = value;
        } else {
            struct json *parent = open[depth - 1].value, *last = open[depth - 1].last;
            value->parent = parent;
            value->index = (uint32_t)parent->size++;
            *(last ? &last->next : &parent->child) = value;
            open[depth - 1].last = value;
        }
        if (value->kind == JSON_OBJECT || value->kind == JSON_ARRAY) {
            open[depth].value = value;
            open[depth++].last = NULL;
        }
    }
    return false;
}

/* Takes `text` over. */
static bool parse_owned(struct json_document *d, const char *name, char *text,
                        size_t size, struct err *e)
{
    size_t most = size / LARGE_VALUE_BYTES, least = (size_t)limit_of(LIMIT_JSON_VALUES);
    *d = (struct json_document){.text = text, .name = str_dup(name)};
    d->most = most > least ? most : least;
    if (!d->name || !text) {
        json_free(d);
        return err_set(e, ERR_MEMORY, "%s: out of memory", STR_SHOW(name));
    }
    size_t mark = size >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
    struct json_scan s;
    json_scan_begin(&s, text + mark, size - mark);
    struct err cause = {0};
    if (build(d, &s, &cause))
        return true;
    json_free(d);
    return err_from(e, &cause, name);
}

bool json_read(struct json_document *d, const char *path, enum limit limit, struct err *e)
{
    char *text;
    size_t size;
    *d = (struct json_document){0};
    return file_read_all(path, limit, &text, &size, e) &&
           parse_owned(d, path, text, size, e);
}

bool json_parse(struct json_document *d, const char *name, const char *text, size_t size,
                struct err *e)
{
    char *copy = malloc(size + 1);
    if (copy) {
        memcpy(copy, text, size);
        copy[size] = 0;
    }
    return parse_owned(d, name, copy, size, e);
}

void json_free(struct json_document *d)
{
    while (d->blocks) {
        struct json_block *next = d->blocks->next;
        free(d->blocks);
        d->blocks = next;
    }
    free(d->name);
    free(d->text);
    *d = (struct json_document){0};
}

const struct json *json_get(const struct json *object, const char *key)
{
    if (object->kind != JSON_OBJECT)
        return NULL;
    for (const struct json *m = object->child; m; m = m->next)
        if (strcmp(m->key, key) == 0)
            return m;
    return NULL;
}

const struct json *json_at(const struct json *array, size_t index)
{
    if (array->kind != JSON_ARRAY)
        return NULL;
    const struct json *element = array->child;
    while (element && element->index < index)
        element = element->next;
    return element;
}

bool json_fail(const struct json *value, struct err *e, const char *format, ...)
{
    char problem[512];
    va_list args;
    va_start(args, format);
    vsnprintf(problem, sizeof problem, format, args);
    va_end(args);
    struct err cause = {0};
    fail_at_path(value, problem, &cause);
    return err_from(e, &cause, value->file);
}

const char *json_describe(const struct json *value, char *out, size_t out_size)
{
    char shown[48];
    switch (value->kind) {
    case JSON_NULL:
        snprintf(out, out_size, "null");
        break;
    case JSON_BOOL:
        snprintf(out, out_size, "%s", value->truth ? "true" : "false");
        break;
    case JSON_NUMBER:
        str_escape(shown, sizeof shown, value->text, value->size);
        snprintf(out, out_size, "number %s", shown);
        break;
    case JSON_STRING:
        str_escape(shown, sizeof shown, value->text, value->size);
        snprintf(out, out_size, "string \"%s\"", shown);
        break;
    case JSON_ARRAY:
        snprintf(out, out_size, "an array of %zu", value->size);
        break;
    case JSON_OBJECT:
        snprintf(out, out_size, "an object");
        break;
    }
    return out;
}
