/* json_scan.h: JSON text (RFC 8259) as a stream of tokens, without allocating: for
 * headers too large for a tree, and below json.h. Leaves duplicate keys and meaning to
 * the caller.
 *
 * Strict: one value, nothing after it, at most JSON_SCAN_DEPTH levels, valid UTF-8, no
 * \u0000, no lone surrogates, no NaN or Infinity. */
#ifndef DIFFENS_JSON_SCAN_H
#define DIFFENS_JSON_SCAN_H

#include "diffens/error.h"

#include <stddef.h>
#include <stdint.h>

enum json_token_kind {
    JSON_TOKEN_END, /* the value is complete and nothing follows */
    JSON_TOKEN_OPEN_OBJECT,
    JSON_TOKEN_CLOSE_OBJECT,
    JSON_TOKEN_OPEN_ARRAY,
    JSON_TOKEN_CLOSE_ARRAY,
    JSON_TOKEN_KEY,
    JSON_TOKEN_STRING,
    JSON_TOKEN_NUMBER,
    JSON_TOKEN_TRUE,
    JSON_TOKEN_FALSE,
    JSON_TOKEN_NULL,
};

/* `text` points into the scanned buffer: the decoded string, followed by a NUL, of a key
 * or string; the spelling, without a NUL, of a number. */
struct json_token {
    enum json_token_kind kind;
    char *text;
    size_t size;
};

enum { JSON_SCAN_DEPTH = 64 }; /* is_object has a bit for each level */

struct json_scan {
    char *text;
    size_t size, at;
    size_t line, line_start; /* line from 1 */
    int depth;
    uint64_t is_object;              /* one bit a level */
    int state;                       /* what may come next; private */
    size_t token_line, token_column; /* of the last token, from 1; columns are bytes */
};

/* Begins to scan `size` bytes, which are decoded in place: they are changed, and the byte
 * after them (text[size]) must be readable. */
void json_scan_begin(struct json_scan *s, char *text, size_t size);

/* The next token. False with ERR_INPUT, "line 3, column 5: found ..., expected ...",
 * without a file name. */
bool json_scan_next(struct json_scan *s, struct json_token *token, struct err *e);

/* Skips the rest of the value that begins with `token`. */
bool json_scan_skip(struct json_scan *s, const struct json_token *token, struct err *e);

/* What a token is, in words: "a string". */
const char *json_token_name(enum json_token_kind kind);

#endif
