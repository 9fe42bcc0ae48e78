/* tokenizer_json.c: vocabulary and merges from tokenizer.json (Hugging Face tokenizers),
 * the one file in which newer programs save both. Leaves the tables to tokenizer_bpe.c
 * and added tokens to tokenizer_special.c. */
#include "base/str.h"
#include "diffusion/tokenizer_bpe.h"
#include "io/config.h"

#include <stdlib.h>
#include <string.h>

/* The rest of the file describes steps that the program has its own code for; what
 * differs from CLIP's here is another tokenizer. */
static bool check_kind(const struct json *model, struct err *e)
{
    static const char *const expected[][2] = {{"type", "BPE"},
                                              {"end_of_word_suffix", "</w>"}};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        const char *found;
        if (!config_need_string(model, expected[i][0], &found, e))
            return false;
        if (strcmp(found, expected[i][1]) != 0)
            return json_fail(json_get(model, expected[i][0]), e,
                             "found \"%s\", expected \"%s\"", STR_SHOW(found),
                             expected[i][1]);
    }
    return true;
}

static bool read_vocab(struct bpe *b, const struct json *vocab, struct err *e)
{
    size_t size = 1;
    for (const struct json *value = vocab->child; value; value = value->next)
        size += strlen(value->key) + 1;
    b->text = malloc(size);
    if (!b->text)
        return err_set(e, ERR_MEMORY, "out of memory for %zu bytes of tokens", size);
    char *name = b->text;
    for (const struct json *value = vocab->child; value; value = value->next) {
        int64_t id;
        size_t length = strlen(value->key);
        memcpy(name, value->key, length + 1);
        if (!config_as_int(value, 0, BPE_MAX_TOKENS - 1, &id, e))
            return false;
        struct err failure = {0};
        if (!bpe_add_token(b, name, length, (int32_t)id, &failure))
            return json_fail(value, e, "%s", failure.message);
        name += length + 1;
    }
    return bpe_index_tokens(b, e);
}

/* ["a", "b</w>"], or "a b</w>" as older files have it */
static bool read_merge(struct bpe *b, const struct json *merge, struct err *e)
{
    int32_t rank = (int32_t)merge->index;
    struct err failure = {0};
    const char *left, *right;
    bool ok;
    if (merge->kind == JSON_STRING) {
        ok = bpe_add_merge_text(b, merge->text, merge->size, rank, &failure);
    } else {
        if (merge->kind != JSON_ARRAY || merge->size != 2)
            return json_fail(merge, e, "found something else, expected two tokens");
        if (!config_as_string(merge->child, &left, e) ||
            !config_as_string(merge->child->next, &right, e))
            return false;
        ok = bpe_add_merge(b, left, strlen(left), right, strlen(right), rank, &failure);
    }
    return ok || json_fail(merge, e, "%s", failure.message);
}

bool bpe_read_json(struct bpe *b, const struct json *tokenizer, struct err *e)
{
    const struct json *model, *vocab, *merges;
    if (!config_need_object(tokenizer, "model", &model, e) || !check_kind(model, e) ||
        !config_need_object(model, "vocab", &vocab, e) ||
        !config_need_array(model, "merges", 0, BPE_MAX_TOKENS, &merges, e) ||
        !read_vocab(b, vocab, e) || !bpe_expect_merges(b, merges->size, e))
        return false;
    for (const struct json *merge = merges->child; merge; merge = merge->next)
        if (!read_merge(b, merge, e))
            return false;
    return true;
}
