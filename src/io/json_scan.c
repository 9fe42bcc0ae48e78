/* json_scan.c: JSON text as a stream of tokens. Leaves the tree to json.c. */
#include "io/json_scan.h"

#include "base/str.h"
#include "base/utf8.h"

#include <stdio.h>
#include <string.h>

enum state {
    WANT_VALUE,
    WANT_VALUE_OR_CLOSE, /* after '[' */
    WANT_KEY,            /* after ',' in an object */
    WANT_KEY_OR_CLOSE,   /* after '{' */
    WANT_COMMA_OR_CLOSE,
    WANT_NOTHING,
};

void json_scan_begin(struct json_scan *s, char *text, size_t size)
{
    *s = (struct json_scan){.text = text, .size = size, .line = 1, .state = WANT_VALUE};
}

const char *json_token_name(enum json_token_kind kind)
{
    static const char *const names[] = {
        [JSON_TOKEN_END] = "end of file",  [JSON_TOKEN_OPEN_OBJECT] = "an object",
        [JSON_TOKEN_CLOSE_OBJECT] = "'}'", [JSON_TOKEN_OPEN_ARRAY] = "an array",
        [JSON_TOKEN_CLOSE_ARRAY] = "']'",  [JSON_TOKEN_KEY] = "a key",
        [JSON_TOKEN_STRING] = "a string",  [JSON_TOKEN_NUMBER] = "a number",
        [JSON_TOKEN_TRUE] = "true",        [JSON_TOKEN_FALSE] = "false",
        [JSON_TOKEN_NULL] = "null",
    };
    return names[kind];
}

static bool fail_at(const struct json_scan *s, size_t at, const char *problem,
                    struct err *e)
{
    return err_set(e, ERR_INPUT, "line %zu, column %zu: %s", s->line,
                   at - s->line_start + 1, problem);
}

/* Names the character at the present place, or the end of the file. */
static bool fail_found(const struct json_scan *s, const char *expected, struct err *e)
{
    char found[32] = "end of file", problem[128];
    if (s->at < s->size) {
        uint32_t code_point;
        int length = utf8_decode(s->text + s->at, s->size - s->at, &code_point);
        char shown[24];
        str_escape(shown, sizeof shown, s->text + s->at, length ? (size_t)length : 1);
        snprintf(found, sizeof found, "'%s'", shown);
    }
    snprintf(problem, sizeof problem, "found %s, expected %s", found, expected);
    return fail_at(s, s->at, problem, e);
}

static void skip_blanks(struct json_scan *s)
{
    for (; s->at < s->size; s->at++) {
        char c = s->text[s->at];
        if (c == '\n') {
            s->line++;
            s->line_start = s->at + 1;
        } else if (c != ' ' && c != '\t' && c != '\r') {
            return;
        }
    }
}

static char peek(const struct json_scan *s)
{
    return s->at < s->size ? s->text[s->at] : 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Four digits after "\u". */
static bool read_hex(struct json_scan *s, uint32_t *value, struct err *e)
{
    *value = 0;
    for (int i = 0; i < 4; i++, s->at++) {
        int digit = s->at < s->size ? hex_digit(s->text[s->at]) : -1;
        if (digit < 0)
            return fail_found(s, "four hexadecimal digits after \\u", e);
        *value = *value << 4 | (uint32_t)digit;
    }
    return true;
}

/* After "\u": one code point, two escapes of it where it lies above U+FFFF. */
static bool read_unicode(struct json_scan *s, size_t escape, char **out, struct err *e)
{
    uint32_t code_point, low = 0;
    if (!read_hex(s, &code_point, e))
        return false;
    if (code_point == 0)
        return fail_at(s, escape, "found \\u0000, expected a character", e);
    if (code_point >= 0xD800 && code_point <= 0xDFFF) {
        bool pair = code_point < 0xDC00 && s->size - s->at >= 6 &&
                    memcmp(s->text + s->at, "\\u", 2) == 0;
        if (pair) {
            s->at += 2;
            if (!read_hex(s, &low, e))
                return false;
        }
        if (low < 0xDC00 || low > 0xDFFF)
            return fail_at(s, escape, "found half of a surrogate pair, expected both", e);
        code_point = 0x10000 + ((code_point - 0xD800) << 10) + (low - 0xDC00);
    }
    *out += utf8_encode(code_point, *out);
    return true;
}

static bool read_escape(struct json_scan *s, char **out, struct err *e)
{
    static const char letters[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    size_t escape = s->at++;
    char c = peek(s);
    if (c == 'u') {
        s->at++;
        return read_unicode(s, escape, out, e);
    }
    const char *letter = c ? strchr(letters, c) : NULL;
    if (!letter)
        return fail_found(s, "one of \"\\/bfnrtu after a backslash", e);
    *(*out)++ = values[letter - letters];
    s->at++;
    return true;
}

/* Decodes in place: no escape is shorter than what it stands for, and the NUL goes where
 * the closing quote was, or before it. */
static bool read_string(struct json_scan *s, struct json_token *token, struct err *e)
{
    char *out = token->text = s->text + ++s->at;
    while (peek(s) != '"') {
        if (s->at >= s->size)
            return fail_found(s, "the closing '\"' of a string", e);
        unsigned char c = (unsigned char)s->text[s->at];
        if (c < 0x20)
            return fail_found(s, "control characters in strings to be escaped", e);
        if (c == '\\') {
            if (!read_escape(s, &out, e))
                return false;
            continue;
        }
        uint32_t code_point;
        int length = utf8_decode(s->text + s->at, s->size - s->at, &code_point);
        if (length == 0)
            return fail_found(s, "UTF-8", e);
        memmove(out, s->text + s->at, (size_t)length);
        out += length;
        s->at += (size_t)length;
    }
    s->at++;
    *out = 0;
    token->size = (size_t)(out - token->text);
    return true;
}

static bool skip_digits(struct json_scan *s, struct err *e)
{
    if (peek(s) < '0' || peek(s) > '9')
        return fail_found(s, "a digit", e);
    while (peek(s) >= '0' && peek(s) <= '9')
        s->at++;
    return true;
}

static bool read_number(struct json_scan *s, struct json_token *token, struct err *e)
{
    size_t start = s->at;
    if (peek(s) == '-')
        s->at++;
    if (peek(s) == '0') {
        s->at++;
        if (peek(s) >= '0' && peek(s) <= '9')
            return fail_found(s, "no digit after a leading zero", e);
    } else if (!skip_digits(s, e)) {
        return false;
    }
    if (peek(s) == '.') {
        s->at++;
        if (!skip_digits(s, e))
            return false;
    }
    if (peek(s) == 'e' || peek(s) == 'E') {
        s->at++;
        if (peek(s) == '+' || peek(s) == '-')
            s->at++;
        if (!skip_digits(s, e))
            return false;
    }
    *token = (struct json_token){JSON_TOKEN_NUMBER, s->text + start, s->at - start};
    return true;
}

static bool read_word(struct json_scan *s, struct json_token *token, struct err *e)
{
    static const struct {
        const char *word;
        size_t size;
        enum json_token_kind kind;
    } words[] = {
        {"true", 4, JSON_TOKEN_TRUE},
        {"false", 5, JSON_TOKEN_FALSE},
        {"null", 4, JSON_TOKEN_NULL},
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (s->size - s->at >= words[i].size &&
            memcmp(s->text + s->at, words[i].word, words[i].size) == 0) {
            s->at += words[i].size;
            token->kind = words[i].kind;
            return true;
        }
    }
    bool closable = s->state == WANT_VALUE_OR_CLOSE;
    return fail_found(s, closable ? "a JSON value or ']'" : "a JSON value", e);
}

/* What may follow a complete value. */
static void end_value(struct json_scan *s)
{
    s->state = s->depth == 0 ? WANT_NOTHING : WANT_COMMA_OR_CLOSE;
}

static bool open_level(struct json_scan *s, bool object, struct json_token *token,
                       struct err *e)
{
    if (s->depth == JSON_SCAN_DEPTH)
        return fail_found(s, "at most 64 levels of nesting", e);
    uint64_t bit = (uint64_t)1 << s->depth;
    s->is_object = object ? s->is_object | bit : s->is_object & ~bit;
    s->depth++;
    s->at++;
    s->state = object ? WANT_KEY_OR_CLOSE : WANT_VALUE_OR_CLOSE;
    token->kind = object ? JSON_TOKEN_OPEN_OBJECT : JSON_TOKEN_OPEN_ARRAY;
    return true;
}

static bool in_object(const struct json_scan *s)
{
    return s->depth > 0 && (s->is_object >> (s->depth - 1) & 1);
}

static bool close_level(struct json_scan *s, struct json_token *token)
{
    token->kind = in_object(s) ? JSON_TOKEN_CLOSE_OBJECT : JSON_TOKEN_CLOSE_ARRAY;
    s->depth--;
    s->at++;
    end_value(s);
    return true;
}

static bool read_key(struct json_scan *s, struct json_token *token, struct err *e)
{
    if (peek(s) != '"')
        return fail_found(s, s->state == WANT_KEY ? "a key" : "a key or '}'", e);
    token->kind = JSON_TOKEN_KEY;
    if (!read_string(s, token, e))
        return false;
    skip_blanks(s);
    if (peek(s) != ':')
        return fail_found(s, "':' after a key", e);
    s->at++;
    s->state = WANT_VALUE;
    return true;
}

static bool read_value(struct json_scan *s, struct json_token *token, struct err *e)
{
    char c = peek(s);
    if (c == '{' || c == '[')
        return open_level(s, c == '{', token, e);
    bool ok;
    if (c == '"') {
        token->kind = JSON_TOKEN_STRING;
        ok = read_string(s, token, e);
    } else if (c == '-' || (c >= '0' && c <= '9')) {
        ok = read_number(s, token, e);
    } else {
        ok = read_word(s, token, e);
    }
    if (ok)
        end_value(s);
    return ok;
}

bool json_scan_next(struct json_scan *s, struct json_token *token, struct err *e)
{
    *token = (struct json_token){0};
    skip_blanks(s);
    if (s->state == WANT_COMMA_OR_CLOSE && peek(s) == ',') {
        s->at++;
        s->state = in_object(s) ? WANT_KEY : WANT_VALUE;
        skip_blanks(s);
    }
    s->token_line = s->line;
    s->token_column = s->at - s->line_start + 1;
    char close = in_object(s) ? '}' : ']';
    switch ((enum state)s->state) {
    case WANT_NOTHING:
        if (s->at < s->size)
            return fail_found(s, "nothing after the JSON value", e);
        token->kind = JSON_TOKEN_END;
        return true;
    case WANT_COMMA_OR_CLOSE:
        if (peek(s) != close)
            return fail_found(s, in_object(s) ? "',' or '}'" : "',' or ']'", e);
        return close_level(s, token);
    case WANT_KEY_OR_CLOSE:
    case WANT_VALUE_OR_CLOSE:
        if (peek(s) == close)
            return close_level(s, token);
        break;
    case WANT_KEY:
    case WANT_VALUE:
        break;
    }
    if (s->state == WANT_KEY || s->state == WANT_KEY_OR_CLOSE)
        return read_key(s, token, e);
    return read_value(s, token, e);
}

bool json_scan_skip(struct json_scan *s, const struct json_token *token, struct err *e)
{
    bool nested =
        token->kind == JSON_TOKEN_OPEN_OBJECT || token->kind == JSON_TOKEN_OPEN_ARRAY;
    int outside = s->depth - (nested ? 1 : 0);
    struct json_token inner;
    while (s->depth > outside)
        if (!json_scan_next(s, &inner, e))
            return false;
    return true;
}
