/* json_write.c: writes JSON into a string. Leaves publishing to publish.c. */
#include "io/json_write.h"

#include "base/utf8.h"
#include "io/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void new_line(struct json_writer *w)
{
    if (w->indent > 0)
        str_addf(w->out, "\n%*s", w->indent * w->depth, "");
}

/* What goes before a value or a key: a comma, a line break, nothing after a key. */
static void begin(struct json_writer *w)
{
    if (w->after_key) {
        w->after_key = false;
        return;
    }
    if (w->filled)
        str_add(w->out, w->indent > 0 ? "," : ", ");
    if (w->depth > 0)
        new_line(w);
    w->filled = true;
}

static void open_level(struct json_writer *w, bool object)
{
    begin(w);
    str_add(w->out, object ? "{" : "[");
    uint64_t bit = (uint64_t)1 << w->depth;
    w->is_object = object ? w->is_object | bit : w->is_object & ~bit;
    w->depth++;
    w->filled = false;
}

void json_write_open_object(struct json_writer *w)
{
    open_level(w, true);
}

void json_write_open_array(struct json_writer *w)
{
    open_level(w, false);
}

void json_write_close(struct json_writer *w)
{
    w->depth--;
    if (w->filled)
        new_line(w);
    str_add(w->out, w->is_object >> w->depth & 1 ? "}" : "]");
    w->filled = true;
}

static void add_escaped(struct json_writer *w, uint32_t code_point)
{
    static const char plain[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    const char *at = code_point < 0x80 ? strchr(plain, (int)code_point) : NULL;
    if (at) {
        str_addf(w->out, "\\%c", letters[at - plain]);
    } else if (code_point > 0xFFFF) {
        str_addf(w->out, "\\u%04x\\u%04x", 0xD800 + ((code_point - 0x10000) >> 10),
                 0xDC00 + ((code_point - 0x10000) & 0x3FF));
    } else {
        str_addf(w->out, "\\u%04x", code_point);
    }
}

static void add_string(struct json_writer *w, const char *text)
{
    size_t size = strlen(text);
    str_add(w->out, "\"");
    for (size_t at = 0; at < size;) {
        uint32_t code_point = 0;
        int length = utf8_decode(text + at, size - at, &code_point);
        bool escape = code_point < 0x20 || code_point == '"' || code_point == '\\' ||
                      code_point == 0x7F || (w->ascii && code_point > 0x7F);
        if (length == 0)
            str_add(w->out, "\\ufffd");
        else if (escape)
            add_escaped(w, code_point);
        else
            str_add_bytes(w->out, text + at, (size_t)length);
        at += length ? (size_t)length : 1;
    }
    str_add(w->out, "\"");
}

void json_write_key(struct json_writer *w, const char *key)
{
    begin(w);
    add_string(w, key);
    str_add(w->out, ": ");
    w->after_key = true;
}

void json_write_string(struct json_writer *w, const char *text)
{
    begin(w);
    add_string(w, text);
}

void json_write_int(struct json_writer *w, int64_t number)
{
    begin(w);
    str_addf(w->out, "%" PRId64, number);
}

void json_write_uint(struct json_writer *w, uint64_t number)
{
    begin(w);
    str_addf(w->out, "%" PRIu64, number);
}

/* The shortest spelling that reads back as the same. */
static const char *spell(double number, char spelling[32])
{
    bool whole = fabs(number) < 1e15 && trunc(number) == number; /* 60, not 6e+01 */
    if (whole)
        snprintf(spelling, 32, "%.0f", number);
    for (int digits = 1; !whole && digits <= 17; digits++) {
        snprintf(spelling, 32, "%.*g", digits, number);
        if (strtod(spelling, NULL) == number)
            break;
    }
    return spelling;
}

void json_write_double(struct json_writer *w, double number)
{
    if (!isfinite(number)) {
        json_write_null(w);
        return;
    }
    char spelling[32];
    begin(w);
    str_add(w->out, spell(number, spelling));
}

void json_write_interval(struct json_writer *w, double from, double to)
{
    char first[32], last[32];
    begin(w);
    str_addf(w->out, "\"%s:%s\"", spell(from, first), spell(to, last));
}

void json_write_bool(struct json_writer *w, bool truth)
{
    begin(w);
    str_add(w->out, truth ? "true" : "false");
}

void json_write_null(struct json_writer *w)
{
    begin(w);
    str_add(w->out, "null");
}

void json_write_spelled(struct json_writer *w, const char *text, size_t size)
{
    begin(w);
    str_add_bytes(w->out, text, size);
}

static void write_members(struct json_writer *w, const struct json *value)
{
    bool object = value->kind == JSON_OBJECT;
    open_level(w, object);
    for (const struct json *v = value->child; v; v = v->next) {
        if (object)
            json_write_key(w, v->key);
        json_write_value(w, v);
    }
    json_write_close(w);
}

void json_write_value(struct json_writer *w, const struct json *value)
{
    switch (value->kind) {
    case JSON_NULL:
        json_write_null(w);
        break;
    case JSON_BOOL:
        json_write_bool(w, value->truth);
        break;
    case JSON_NUMBER:
        json_write_spelled(w, value->text, value->size);
        break;
    case JSON_STRING:
        json_write_string(w, value->text);
        break;
    case JSON_ARRAY:
    case JSON_OBJECT:
        write_members(w, value);
        break;
    }
}

/* Members */

void json_member_text(struct json_writer *w, const char *key, const char *text)
{
    json_write_key(w, key);
    if (text)
        json_write_string(w, text);
    else
        json_write_null(w);
}

void json_member_int(struct json_writer *w, const char *key, int64_t number)
{
    json_write_key(w, key);
    json_write_int(w, number);
}

void json_member_uint(struct json_writer *w, const char *key, uint64_t number)
{
    json_write_key(w, key);
    json_write_uint(w, number);
}

void json_member_double(struct json_writer *w, const char *key, double number)
{
    json_write_key(w, key);
    json_write_double(w, number);
}

void json_member_bool(struct json_writer *w, const char *key, bool truth)
{
    json_write_key(w, key);
    json_write_bool(w, truth);
}
