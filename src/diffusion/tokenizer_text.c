/* tokenizer_text.c: normalisation and splitting into words. Leaves ids to
 * tokenizer_bpe.c. */
#include "diffusion/tokenizer_text.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum { CAPITAL_I_WITH_DOT = 0x130, COMBINING_DOT_ABOVE = 0x307 };

/* Unicode's White_Space: what \s matches in the reference's regular expressions. */
static bool is_space(int32_t c)
{
    return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 ||
           c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
           c == 0x202F || c == 0x205F || c == 0x3000;
}

static bool is_letter(int32_t c)
{
    utf8proc_category_t category = utf8proc_category(c);
    return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

static bool is_number(int32_t c)
{
    utf8proc_category_t category = utf8proc_category(c);
    return category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO;
}

static bool is_symbol(int32_t c)
{
    return !is_space(c) && !is_letter(c) && !is_number(c);
}

/* Normalisation */

static bool compose(struct text *t, const char *utf8, size_t size, struct err *e)
{
    const utf8proc_option_t options = UTF8PROC_STABLE | UTF8PROC_COMPOSE;
    const utf8proc_uint8_t *bytes = (const utf8proc_uint8_t *)utf8;
    utf8proc_ssize_t length = (utf8proc_ssize_t)size;
    utf8proc_ssize_t count = utf8proc_decompose(bytes, length, NULL, 0, options);
    if (count < 0)
        return err_set(e, ERR_INPUT, "text: %s", utf8proc_errmsg(count));
    /* Twice: lower case may need more room. */
    t->points = calloc(2 * (size_t)count + 1, sizeof *t->points);
    if (!t->points)
        return err_set(e, ERR_MEMORY, "out of memory for %zu bytes of text", size);
    utf8proc_decompose(bytes, length, t->points, count, options);
    t->count = (size_t)utf8proc_normalize_utf32(t->points, count, options);
    return true;
}

static void collapse_spaces(struct text *t)
{
    size_t kept = 0;
    for (size_t i = 0; i < t->count; i++) {
        bool space = is_space(t->points[i]);
        if (space && kept > 0 && t->points[kept - 1] == ' ')
            continue;
        t->points[kept++] = space ? ' ' : t->points[i];
    }
    t->count = kept;
}

/* Rust's char::to_lowercase: one character at a time, so a final sigma is not special,
 * and the only character that becomes two is U+0130. */
static void lower_case(struct text *t)
{
    size_t dotted = 0;
    for (size_t i = 0; i < t->count; i++)
        dotted += t->points[i] == CAPITAL_I_WITH_DOT;
    size_t to = t->count + dotted;
    for (size_t from = t->count; from-- > 0;) {
        int32_t c = t->points[from];
        if (c == CAPITAL_I_WITH_DOT)
            t->points[--to] = COMBINING_DOT_ABOVE;
        t->points[--to] = c == CAPITAL_I_WITH_DOT ? 'i' : utf8proc_tolower(c);
    }
    t->count += dotted;
}

bool text_normalize(struct text *t, const char *utf8, size_t size, struct err *e)
{
    if (!compose(t, utf8, size, e))
        return false;
    collapse_spaces(t);
    lower_case(t);
    return true;
}

void text_free(struct text *t)
{
    free(t->points);
    *t = (struct text){0};
}

/* Words */

static bool begins_with(const struct word_walk *walk, size_t at, const char *ascii)
{
    size_t length = strlen(ascii);
    if (walk->count - at < length)
        return false;
    for (size_t i = 0; i < length; i++)
        if (walk->points[at + i] != ascii[i])
            return false;
    return true;
}

static size_t contraction(const struct word_walk *walk, size_t at)
{
    static const char *const all[] = {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (begins_with(walk, at, all[i]))
            return strlen(all[i]);
    return 0;
}

/* A literal special token that was not taken as one (it came about by lower-casing) is
 * one match of CLIPTokenizer's expression, which ByteLevel's then splits: its "|>" ends a
 * word whatever follows. */
static size_t marker_end(const struct word_walk *walk, size_t at)
{
    static const char *const all[] = {"<|startoftext|>", "<|endoftext|>"};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (begins_with(walk, at, all[i]))
            return at + strlen(all[i]);
    return 0;
}

static size_t run_end(const struct word_walk *walk, size_t at, size_t limit,
                      bool belongs(int32_t))
{
    while (at < limit && belongs(walk->points[at]))
        at++;
    return at;
}

bool word_next(struct word_walk *walk, size_t *begin, size_t *end)
{
    size_t at = run_end(walk, walk->at, walk->count, is_space);
    if (at == walk->count)
        return false;
    *begin = at;
    if (is_letter(walk->points[at])) {
        *end = run_end(walk, at, walk->count, is_letter);
    } else if (is_number(walk->points[at])) {
        *end = at + 1;
    } else if (contraction(walk, at) > 0) {
        *end = at + contraction(walk, at);
    } else {
        if (marker_end(walk, at) > 0)
            walk->marker_end = marker_end(walk, at);
        size_t limit = at < walk->marker_end ? walk->marker_end : walk->count;
        *end = run_end(walk, at, limit, is_symbol);
    }
    walk->at = *end;
    return true;
}
