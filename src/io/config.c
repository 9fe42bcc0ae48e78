/* config.c: fields of JSON files with types and ranges. Leaves syntax to json.c and
 * meaning to the caller. */
#include "io/config.h"

#include "base/str.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool fail(const struct json *value, const char *expected, struct err *e)
{
    char found[96];
    return json_fail(value, e, "found %s, expected %s",
                     json_describe(value, found, sizeof found), expected);
}

bool config_as_object(const struct json *value, struct err *e)
{
    return value->kind == JSON_OBJECT || fail(value, "an object", e);
}

bool config_as_array(const struct json *value, size_t least, size_t most, struct err *e)
{
    if (value->kind == JSON_ARRAY && value->size >= least && value->size <= most)
        return true;
    char expected[80] = "an array";
    if (least == most)
        snprintf(expected, sizeof expected, "an array of %zu", least);
    else if (most < SIZE_MAX)
        snprintf(expected, sizeof expected, "an array of %zu to %zu", least, most);
    else if (least > 0)
        snprintf(expected, sizeof expected, "an array of at least %zu", least);
    return fail(value, expected, e);
}

/* The spelling of a number as a NUL-terminated string; false where it is not a number or
 * longer than any that the program can use. */
static bool spelling(const struct json *value, char out[64])
{
    if (value->kind != JSON_NUMBER || value->size > 63)
        return false;
    memcpy(out, value->text, value->size);
    out[value->size] = 0;
    return true;
}

static bool is_integer(const char *digits)
{
    return strcspn(digits, ".eE") == strlen(digits);
}

bool config_as_int(const struct json *value, int64_t low, int64_t high, int64_t *out,
                   struct err *e)
{
    char digits[64];
    if (spelling(value, digits) && is_integer(digits)) {
        errno = 0;
        int64_t number = strtoll(digits, NULL, 10);
        if (errno == 0 && number >= low && number <= high) {
            *out = number;
            return true;
        }
    }
    char expected[96];
    if (high == INT64_MAX)
        snprintf(expected, sizeof expected, "an integer of at least %" PRId64, low);
    else
        snprintf(expected, sizeof expected, "an integer %" PRId64 "..%" PRId64, low,
                 high);
    return fail(value, expected, e);
}

bool config_as_uint64(const struct json *value, uint64_t *out, struct err *e)
{
    char digits[64];
    if (spelling(value, digits) && is_integer(digits) && digits[0] != '-') {
        errno = 0;
        uint64_t number = strtoull(digits, NULL, 10);
        if (errno == 0) {
            *out = number;
            return true;
        }
    }
    return fail(value, "an integer 0..18446744073709551615", e);
}

bool config_as_double(const struct json *value, double low, double high, double *out,
                      struct err *e)
{
    /* The text goes on after the number with what JSON allows there: strtod stops. */
    double number = value->kind == JSON_NUMBER ? strtod(value->text, NULL) : NAN;
    if (isfinite(number) && number >= low && number <= high) {
        *out = number;
        return true;
    }
    char expected[96] = "a finite number";
    if (isfinite(low) && isfinite(high))
        snprintf(expected, sizeof expected, "a number %g..%g", low, high);
    else if (isfinite(low))
        snprintf(expected, sizeof expected, "a finite number of at least %g", low);
    return fail(value, expected, e);
}

bool config_as_bool(const struct json *value, bool *out, struct err *e)
{
    if (value->kind != JSON_BOOL)
        return fail(value, "true or false", e);
    *out = value->truth;
    return true;
}

bool config_as_string(const struct json *value, const char **out, struct err *e)
{
    if (value->kind != JSON_STRING)
        return fail(value, "a string", e);
    *out = value->text;
    return true;
}

bool config_as_file_name(const struct json *value, const char **out, struct err *e)
{
    const char *name = NULL;
    if (!config_as_string(value, &name, e))
        return false;
    bool safe = value->size > 0 && value->size <= 255 && !strchr(name, '/') &&
                strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
    for (const char *c = name; safe && *c; c++)
        safe = (unsigned char)*c >= 0x20 && *c != 0x7F;
    if (!safe)
        return fail(value, "the name of a file, without '/'", e);
    *out = name;
    return true;
}

bool config_has(const struct json *object, const char *key)
{
    const struct json *value = json_get(object, key);
    return value && value->kind != JSON_NULL;
}

bool config_need(const struct json *object, const char *key, const struct json **out,
                 struct err *e)
{
    if (!config_as_object(object, e))
        return false;
    *out = json_get(object, key);
    return *out || json_fail(object, e, "found no field \"%s\", expected one", key);
}

bool config_need_object(const struct json *object, const char *key,
                        const struct json **out, struct err *e)
{
    return config_need(object, key, out, e) && config_as_object(*out, e);
}

bool config_need_array(const struct json *object, const char *key, size_t least,
                       size_t most, const struct json **out, struct err *e)
{
    return config_need(object, key, out, e) && config_as_array(*out, least, most, e);
}

bool config_need_int(const struct json *object, const char *key, int64_t low,
                     int64_t high, int64_t *out, struct err *e)
{
    const struct json *value = NULL;
    return config_need(object, key, &value, e) && config_as_int(value, low, high, out, e);
}

bool config_need_double(const struct json *object, const char *key, double low,
                        double high, double *out, struct err *e)
{
    const struct json *value = NULL;
    return config_need(object, key, &value, e) &&
           config_as_double(value, low, high, out, e);
}

bool config_need_bool(const struct json *object, const char *key, bool *out,
                      struct err *e)
{
    const struct json *value = NULL;
    return config_need(object, key, &value, e) && config_as_bool(value, out, e);
}

bool config_need_string(const struct json *object, const char *key, const char **out,
                        struct err *e)
{
    const struct json *value = NULL;
    return config_need(object, key, &value, e) && config_as_string(value, out, e);
}

bool config_may_object(const struct json *object, const char *key,
                       const struct json **out, struct err *e)
{
    if (!config_as_object(object, e))
        return false;
    return !config_has(object, key) || config_need_object(object, key, out, e);
}

bool config_may_array(const struct json *object, const char *key, size_t least,
                      size_t most, const struct json **out, struct err *e)
{
    if (!config_as_object(object, e))
        return false;
    return !config_has(object, key) ||
           config_need_array(object, key, least, most, out, e);
}

bool config_may_int(const struct json *object, const char *key, int64_t low, int64_t high,
                    int64_t *out, struct err *e)
{
    if (!config_as_object(object, e))
        return false;
    return !config_has(object, key) || config_need_int(object, key, low, high, out, e);
}

bool config_may_double(const struct json *object, const char *key, double low,
                       double high, double *out, struct err *e)
{
    if (!config_as_object(object, e))
        return false;
    return !config_has(object, key) || config_need_double(object, key, low, high, out, e);
}

bool config_may_bool(const struct json *object, const char *key, bool *out, struct err *e)
{
    if (!config_as_object(object, e))
        return false;
    return !config_has(object, key) || config_need_bool(object, key, out, e);
}

bool config_may_string(const struct json *object, const char *key, const char **out,
                       struct err *e)
{
    if (!config_as_object(object, e))
        return false;
    return !config_has(object, key) || config_need_string(object, key, out, e);
}

/* Names the field that was meant, or all there are. */
static bool fail_unknown(const struct json *member, const char *const *known,
                         size_t count, struct err *e)
{
    const char *nearest = str_nearest(member->key, known, count);
    struct str names = {0};
    for (size_t i = 0; !nearest && i < count; i++)
        str_addf(&names, "%s%s", i ? ", " : "", known[i]);
    if (nearest)
        json_fail(member, e, "found an unknown field, expected \"%s\"", nearest);
    else
        json_fail(member, e, "found an unknown field, expected one of %s",
                  str_text(&names));
    str_free(&names);
    return false;
}

bool config_only(const struct json *object, const char *const *known, size_t count,
                 struct err *e)
{
    if (!config_as_object(object, e))
        return false;
    for (const struct json *m = object->child; m; m = m->next) {
        bool found = false;
        for (size_t i = 0; i < count && !found; i++)
            found = strcmp(m->key, known[i]) == 0;
        if (found)
            continue;
        return fail_unknown(m, known, count, e);
    }
    return true;
}
