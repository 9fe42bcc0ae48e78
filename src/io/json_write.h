/* json_write.h: writes JSON into a string: records, safetensors headers, --json output.
 * Leaves publishing to publish.h. Running out of memory shows in out->failed. */
#ifndef DIFFENS_JSON_WRITE_H
#define DIFFENS_JSON_WRITE_H

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

/* Start from `{.out = &s}`. */
struct json_writer {
    struct str *out;
    bool ascii;  /* escape everything above U+007F, for places that are not UTF-8 */
    int indent;  /* spaces a level; 0 writes one line */
    int depth;   /* private, as the rest */
    bool filled; /* the present level has members */
    bool after_key;
    uint64_t is_object;
};

/* At most 64 levels. */
void json_write_open_object(struct json_writer *w);
void json_write_open_array(struct json_writer *w);
/* Closes the innermost of both. */
void json_write_close(struct json_writer *w);

/* A member's name; its value follows. */
void json_write_key(struct json_writer *w, const char *key);

/* UTF-8; a byte that is not becomes U+FFFD. */
void json_write_string(struct json_writer *w, const char *text);
void json_write_int(struct json_writer *w, int64_t number);
void json_write_uint(struct json_writer *w, uint64_t number);
/* The shortest spelling that reads back as the same double; null where it is not finite.
 */
void json_write_double(struct json_writer *w, double number);
/* "0.2:0.8", each number as json_write_double() spells it. Both are finite. */
void json_write_interval(struct json_writer *w, double from, double to);
/* A number as it is spelled already. */
void json_write_spelled(struct json_writer *w, const char *text, size_t size);
void json_write_bool(struct json_writer *w, bool truth);
void json_write_null(struct json_writer *w);

/* Members: a name and its value. A text that is NULL becomes null. */
void json_member_text(struct json_writer *w, const char *key, const char *text);
void json_member_int(struct json_writer *w, const char *key, int64_t number);
void json_member_uint(struct json_writer *w, const char *key, uint64_t number);
void json_member_double(struct json_writer *w, const char *key, double number);
void json_member_bool(struct json_writer *w, const char *key, bool truth);

struct json;

/* A value that was read, and all that is in it. */
void json_write_value(struct json_writer *w, const struct json *value);

#endif
