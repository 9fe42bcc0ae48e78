/* json.h: a JSON document as a tree, strictly read: json_scan.h's rules, no duplicate
 * keys, at most LIMIT_JSON_VALUES values, more only in large files. Numbers keep their
 * spelling, so that 64-bit integers stay whole. Leaves types and ranges of fields to
 * config.h. */
#ifndef DIFFENS_JSON_H
#define DIFFENS_JSON_H

#include "diffens/error.h"
#include "io/limits.h"

#include <stddef.h>
#include <stdint.h>

enum json_kind {
    JSON_NULL,
    JSON_BOOL,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT,
};

/* One value. Strings and keys are UTF-8 without NULs. All of it belongs to the document.
 */
struct json {
    enum json_kind kind;
    bool truth;                /* of a JSON_BOOL */
    uint32_t index;            /* place among its siblings, from 0 */
    const char *file;          /* name of its document, for messages */
    const struct json *parent; /* NULL at the top */
    const char *key;           /* NULL in arrays and at the top */
    const char *text; /* string, or spelling of the number; NUL-terminated strings only */
    size_t size;      /* bytes of `text`, or values in an array or object */
    const struct json *child, *next; /* in the order of the file */
};

/* Start from `{0}`. */
struct json_document {
    char *name; /* path, for messages */
    char *text; /* what strings point into */
    struct json_block *blocks;
    size_t values, most;
    const struct json *root;
};

/* Reads a file of at most so many bytes. A byte-order mark in front is skipped. False
 * with ERR_INPUT or ERR_MEMORY; then `d` is freed. */
bool json_read(struct json_document *d, const char *path, enum limit limit,
               struct err *e);

/* The same from memory, which is copied; `name` stands in messages. */
bool json_parse(struct json_document *d, const char *name, const char *text, size_t size,
                struct err *e);

/* Accepts a zeroed document. */
void json_free(struct json_document *d);

/* The member of that exact name, or NULL. */
const struct json *json_get(const struct json *object, const char *key);

/* The element at `index`, or NULL. Walks the list: use child and next in loops. */
const struct json *json_at(const struct json *array, size_t index);

/* A failure with the value's file and JSON path in front: "p.json: $.prompts[3]: ...".
 * Returns false. */
bool json_fail(const struct json *value, struct err *e, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

struct str;

/* Appends where a value stands: "$.prompts[3]". */
void json_add_path(struct str *path, const struct json *value);

/* What a value is, in words: `number 1.5`, `string "a"`, `an array of 3`. Returns `out`.
 */
const char *json_describe(const struct json *value, char *out, size_t out_size);

#endif
