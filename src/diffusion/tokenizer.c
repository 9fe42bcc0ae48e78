/* tokenizer.c: prompts to token ids: special tokens are cut out, the rest is normalised,
 * split into words and merged. Leaves each of these to its own file. */
#include "diffusion/tokenizer.h"

#include "base/str.h"
#include "base/utf8.h"
#include "diffusion/tokenizer_special.h"
#include "io/config.h"
#include "io/limits.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct tokenizer {
    struct bpe bpe;
    struct special_tokens special;
};

/* vocab.json and merges.txt, or where the first is not there tokenizer.json, which stays
 * open for the tokens that it adds. */
static bool read_vocabulary(struct tokenizer *t, const char *directory,
                            struct json_document *whole, struct err *e)
{
    char *vocab = str_path(directory, "vocab.json");
    char *merges = str_path(directory, "merges.txt");
    char *json = str_path(directory, "tokenizer.json");
    bool ok = false;
    if (!vocab || !merges || !json)
        err_set(e, ERR_MEMORY, "out of memory");
    else if (access(vocab, F_OK) == 0 || access(json, F_OK) != 0)
        ok = bpe_read(&t->bpe, vocab, merges, e);
    else
        ok = json_read(whole, json, LIMIT_JSON_PROMPTS, e) &&
             config_as_object(whole->root, e) && bpe_read_json(&t->bpe, whole->root, e);
    free(vocab);
    free(merges);
    free(json);
    return ok;
}

struct tokenizer *tokenizer_load(const char *directory, struct err *e)
{
    struct json_document whole = {0};
    struct tokenizer *t = calloc(1, sizeof *t);
    bool ok = t ? read_vocabulary(t, directory, &whole, e) &&
                      special_tokens_read(&t->special, &t->bpe, directory, whole.root, e)
                : err_set(e, ERR_MEMORY, "out of memory");
    json_free(&whole);
    if (ok)
        return t;
    tokenizer_free(t);
    return NULL;
}

void tokenizer_free(struct tokenizer *t)
{
    if (!t)
        return;
    bpe_free(&t->bpe);
    special_tokens_free(&t->special);
    free(t);
}

int64_t tokenizer_vocab_size(const struct tokenizer *t)
{
    int64_t size = t->bpe.token_count;
    for (size_t i = 0; i < t->special.count; i++)
        if (t->special.tokens[i].id >= size)
            size = t->special.tokens[i].id + 1;
    return size;
}

int tokenizer_max_length(const struct tokenizer *t)
{
    return t->special.max_length;
}

/* Text to ids */

static bool encode_word(const struct tokenizer *t, const int32_t *points, size_t count,
                        struct id_list *out)
{
    char *utf8 = malloc(4 * count);
    size_t size = 0;
    if (!utf8)
        return false;
    for (size_t i = 0; i < count; i++)
        size += (size_t)utf8_encode((uint32_t)points[i], utf8 + size);
    bpe_encode_word(&t->bpe, utf8, size, t->special.unknown, out);
    free(utf8);
    return !out->failed;
}

static bool encode_words(const struct tokenizer *t, const int32_t *points, size_t count,
                         struct id_list *out)
{
    struct word_walk walk = {.points = points, .count = count};
    size_t begin, end;
    while (word_next(&walk, &begin, &end))
        if (!encode_word(t, points + begin, end - begin, out))
            return false;
    return true;
}

/* The longest special token of normalised text at points[0..count), or NULL. */
static const struct special_token *special_at(const struct tokenizer *t,
                                              const int32_t *points, size_t count)
{
    const struct special_token *best = NULL;
    for (size_t i = 0; i < t->special.count; i++) {
        const struct special_token *s = &t->special.tokens[i];
        size_t size = s->normal.count;
        if (s->normalized && size > 0 && size <= count &&
            (!best || size > best->normal.count) &&
            memcmp(points, s->normal.points, size * sizeof *points) == 0)
            best = s;
    }
    return best;
}

static bool encode_normal(const struct tokenizer *t, const struct text *text,
                          struct id_list *out)
{
    size_t begin = 0, at = 0;
    while (at < text->count) {
        const struct special_token *s =
            special_at(t, text->points + at, text->count - at);
        if (!s) {
            at++;
            continue;
        }
        if (!encode_words(t, text->points + begin, at - begin, out))
            return false;
        id_list_add(out, s->id);
        begin = at += s->normal.count;
    }
    return encode_words(t, text->points + begin, at - begin, out);
}

static bool encode_plain(const struct tokenizer *t, const char *utf8, size_t size,
                         struct id_list *out, struct err *e)
{
    struct text text = {0};
    if (!text_normalize(&text, utf8, size, e))
        return false;
    bool ok = encode_normal(t, &text, out);
    text_free(&text);
    return ok || err_set(e, ERR_MEMORY, "out of memory for a prompt of %zu bytes", size);
}

/* The longest special token that is looked for in the text as given, or NULL. */
static const struct special_token *raw_special_at(const struct tokenizer *t,
                                                  const char *utf8, size_t size)
{
    const struct special_token *best = NULL;
    for (size_t i = 0; i < t->special.count; i++) {
        const struct special_token *s = &t->special.tokens[i];
        if (!s->normalized && s->size <= size && (!best || s->size > best->size) &&
            memcmp(utf8, s->name, s->size) == 0)
            best = s;
    }
    return best;
}

static bool encode_text(const struct tokenizer *t, const char *utf8, size_t size,
                        struct id_list *out, struct err *e)
{
    size_t begin = 0, at = 0;
    while (at < size) {
        const struct special_token *s = raw_special_at(t, utf8 + at, size - at);
        if (!s) {
            at++;
            continue;
        }
        if (!encode_plain(t, utf8 + begin, at - begin, out, e))
            return false;
        id_list_add(out, s->id);
        begin = at += s->size;
    }
    return encode_plain(t, utf8 + begin, at - begin, out, e);
}

/* Ids back to text, for the warning about what was cut */

static const char *special_name(const struct tokenizer *t, int32_t id)
{
    for (size_t i = 0; i < t->special.count; i++)
        if (t->special.tokens[i].id == id)
            return t->special.tokens[i].name;
    return NULL;
}

static void add_token_text(const struct tokenizer *t, int32_t id, struct str *out)
{
    const char *special = special_name(t, id);
    if (special) {
        str_add(out, special);
        return;
    }
    const struct bpe_token *token = &t->bpe.tokens[id];
    bool word_ends = str_ends_with(token->name, "</w>");
    size_t size = token->size - (word_ends ? 4 : 0);
    for (size_t at = 0; at < size;) {
        uint32_t character;
        at += (size_t)utf8_decode(token->name + at, size - at, &character);
        str_add_bytes(out, &(char){(char)bpe_byte_of(character)}, 1);
    }
    if (word_ends)
        str_add(out, " ");
}

static char *text_of(const struct tokenizer *t, const int32_t *ids, size_t count)
{
    struct str text = {0};
    for (size_t i = 0; i < count; i++)
        add_token_text(t, ids[i], &text);
    while (text.size > 0 && text.bytes[text.size - 1] == ' ')
        text.bytes[--text.size] = 0;
    return str_take(&text);
}

/* The whole */

static bool check_prompt(const char *prompt, size_t size, struct err *e)
{
    size_t bad;
    if (size > limit_of(LIMIT_PROMPT)) {
        err_set(e, ERR_INPUT, "prompt: found %zu bytes, expected at most %" PRIu64, size,
                limit_of(LIMIT_PROMPT));
        return limit_hint(LIMIT_PROMPT, e);
    }
    if (!utf8_valid(prompt, size, &bad))
        return err_set(e, ERR_INPUT,
                       "prompt: found byte 0x%02X at offset %zu, expected UTF-8",
                       (unsigned)(unsigned char)prompt[bad], bad);
    return true;
}

void tokenizer_set_padding(struct tokenizer *t, bool zero)
{
    t->special.pad = zero ? 0 : t->special.end;
}

bool tokenizer_encode(const struct tokenizer *t, const char *prompt, int64_t *ids,
                      int max_length, struct token_info *info, struct err *e)
{
    size_t size = strlen(prompt), room = (size_t)max_length - 2;
    struct id_list list = {0};
    bool ok = false;
    if (info)
        *info = (struct token_info){0};
    if (!check_prompt(prompt, size, e) || !encode_text(t, prompt, size, &list, e))
        goto done;
    if (list.failed) {
        err_set(e, ERR_MEMORY, "out of memory for a prompt of %zu bytes", size);
        goto done;
    }
    size_t kept = list.count < room ? list.count : room;
    *ids++ = t->special.begin;
    for (size_t i = 0; i < kept; i++)
        *ids++ = list.ids[i];
    *ids++ = t->special.end;
    for (size_t i = kept; i < room; i++)
        *ids++ = t->special.pad;
    if (info) {
        info->count = list.count;
        if (list.count > kept)
            info->dropped = text_of(t, list.ids + kept, list.count - kept);
        if (list.count > kept && !info->dropped) {
            err_set(e, ERR_MEMORY, "out of memory for a prompt of %zu bytes", size);
            goto done;
        }
    }
    ok = true;
done:
    id_list_free(&list);
    return ok;
}
