/* config.h: fields of JSON files with the types and ranges that the program expects.
 * Every failure names file, JSON path, what was found and what was expected. Leaves
 * syntax to json.h and meaning to the caller.
 *
 * config_need_*: the field must be there. config_may_*: absent or null leaves *out as it
 * is, so that callers put the default there first. config_as_*: the value itself, for
 * elements of arrays. All return false with ERR_INPUT. */
#ifndef DIFFENS_CONFIG_H
#define DIFFENS_CONFIG_H

#include "io/json.h"

#include <stdbool.h>

bool config_as_object(const struct json *value, struct err *e);
/* An array of `least` to `most` values. */
bool config_as_array(const struct json *value, size_t least, size_t most, struct err *e);
bool config_as_int(const struct json *value, int64_t low, int64_t high, int64_t *out,
                   struct err *e);
bool config_as_uint64(const struct json *value, uint64_t *out, struct err *e);
/* Finite, and low <= number <= high; use -INFINITY and INFINITY for no bound. */
bool config_as_double(const struct json *value, double low, double high, double *out,
                      struct err *e);
bool config_as_bool(const struct json *value, bool *out, struct err *e);
/* *out points into the document. */
bool config_as_string(const struct json *value, const char **out, struct err *e);

/* Each of these takes the object that holds the field. */
bool config_need(const struct json *object, const char *key, const struct json **out,
                 struct err *e);
bool config_need_object(const struct json *object, const char *key,
                        const struct json **out, struct err *e);
bool config_need_array(const struct json *object, const char *key, size_t least,
                       size_t most, const struct json **out, struct err *e);
bool config_need_int(const struct json *object, const char *key, int64_t low,
                     int64_t high, int64_t *out, struct err *e);
bool config_need_double(const struct json *object, const char *key, double low,
                        double high, double *out, struct err *e);
bool config_need_bool(const struct json *object, const char *key, bool *out,
                      struct err *e);
bool config_need_string(const struct json *object, const char *key, const char **out,
                        struct err *e);

/* True where the field is there and not null. */
bool config_has(const struct json *object, const char *key);
bool config_may_object(const struct json *object, const char *key,
                       const struct json **out, struct err *e);
bool config_may_array(const struct json *object, const char *key, size_t least,
                      size_t most, const struct json **out, struct err *e);
bool config_may_int(const struct json *object, const char *key, int64_t low, int64_t high,
                    int64_t *out, struct err *e);
bool config_may_double(const struct json *object, const char *key, double low,
                       double high, double *out, struct err *e);
bool config_may_bool(const struct json *object, const char *key, bool *out,
                     struct err *e);
bool config_may_string(const struct json *object, const char *key, const char **out,
                       struct err *e);

/* Refuses members whose names are not among `known`, with the nearest of them. */
bool config_only(const struct json *object, const char *const *known, size_t count,
                 struct err *e);

/* A string that may name a file beside this one: not empty, at most 255 bytes, no '/',
 * not "." or "..", no control characters. */
bool config_as_file_name(const struct json *value, const char **out, struct err *e);

#endif
