/* tokenizer_bpe.c: the vocabulary and its merges: tables, and vocab.json and merges.txt.
 * Leaves tokenizer.json to tokenizer_json.c, applying them to tokenizer_merge.c. */
#include "diffusion/tokenizer_bpe.h"

#include "base/str.h"
#include "base/utf8.h"
#include "io/file.h"
#include "io/json_scan.h"
#include "io/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char end_of_word[] = "</w>";

/* The byte-level alphabet (GPT-2: bytes_to_unicode) */

static bool stands_for_itself(int byte)
{
    return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

/* Bytes that are not printable take the code points from 256 on, in order. */
static uint32_t byte_character(int byte)
{
    if (stands_for_itself(byte))
        return (uint32_t)byte;
    uint32_t character = 256;
    for (int b = 0; b < byte; b++)
        character += !stands_for_itself(b);
    return character;
}

int bpe_byte_of(uint32_t code_point)
{
    if (code_point < 256)
        return stands_for_itself((int)code_point) ? (int)code_point : -1;
    uint32_t character = 256;
    for (int byte = 0; byte < 256; byte++)
        if (!stands_for_itself(byte) && character++ == code_point)
            return byte;
    return -1;
}

static bool is_byte_level(const char *name, size_t size)
{
    for (size_t at = 0; at < size;) {
        uint32_t code_point = 0;
        int length = utf8_decode(name + at, size - at, &code_point);
        if (length == 0 || bpe_byte_of(code_point) < 0)
            return false;
        at += (size_t)length;
    }
    return true;
}

/* Hash tables: open addressing, at most half full */

/* The finaliser of MurmurHash3 */
static size_t hash_pair(int32_t left, int32_t right)
{
    uint64_t hash = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    hash = (hash ^ hash >> 33) * 0xff51afd7ed558ccdu;
    hash = (hash ^ hash >> 33) * 0xc4ceb9fe1a85ec53u;
    return (size_t)(hash ^ hash >> 33);
}

static size_t table_size(size_t entries)
{
    size_t size = 64;
    while (size < 2 * entries)
        size *= 2;
    return size;
}

/* The slot of a name: its own, or the free one where it belongs. */
static int32_t *name_slot(const struct bpe *b, const char *name, size_t size)
{
    size_t at = str_hash(0, name, size) & (b->by_name_size - 1);
    for (;; at = (at + 1) & (b->by_name_size - 1)) {
        int32_t id = b->by_name[at];
        if (id < 0 ||
            (b->tokens[id].size == size && memcmp(b->tokens[id].name, name, size) == 0))
            return &b->by_name[at];
    }
}

static struct bpe_merge *merge_slot(const struct bpe *b, int32_t left, int32_t right)
{
    size_t at = hash_pair(left, right) & (b->merges_size - 1);
    for (;; at = (at + 1) & (b->merges_size - 1)) {
        struct bpe_merge *merge = &b->merges[at];
        if (merge->left < 0 || (merge->left == left && merge->right == right))
            return merge;
    }
}

int32_t bpe_find(const struct bpe *b, const char *name, size_t size)
{
    return *name_slot(b, name, size);
}

const struct bpe_merge *bpe_find_merge(const struct bpe *b, int32_t left, int32_t right)
{
    const struct bpe_merge *merge = merge_slot(b, left, right);
    return merge->left < 0 ? NULL : merge;
}

/* Adding to the tables */

static bool grow_tokens(struct bpe *b, int32_t id, struct err *e)
{
    int32_t wanted = b->token_capacity ? b->token_capacity : 1024;
    while (wanted <= id)
        wanted *= 2;
    if (wanted > b->token_capacity) {
        struct bpe_token *tokens = realloc(b->tokens, (size_t)wanted * sizeof *tokens);
        if (!tokens)
            return err_set(e, ERR_MEMORY, "out of memory for %d tokens", (int)wanted);
        memset(tokens + b->token_capacity, 0,
               (size_t)(wanted - b->token_capacity) * sizeof *tokens);
        b->tokens = tokens;
        b->token_capacity = wanted;
    }
    if (id >= b->token_count)
        b->token_count = id + 1;
    return true;
}

bool bpe_add_token(struct bpe *b, const char *name, size_t size, int32_t id,
                   struct err *e)
{
    if (size == 0 || !is_byte_level(name, size))
        return err_set(e, ERR_INPUT,
                       "found token \"%s\", expected one or more characters of the "
                       "byte-level alphabet",
                       STR_SHOW(name));
    if (!grow_tokens(b, id, e))
        return false;
    if (b->tokens[id].name)
        return err_set(
            e, ERR_INPUT,
            "token \"%s\": found id %d, which is \"%s\", expected one of its own",
            STR_SHOW(name), (int)id, STR_SHOW(b->tokens[id].name));
    b->tokens[id] = (struct bpe_token){name, size};
    return true;
}

static void find_bytes(struct bpe *b)
{
    for (int byte = 0; byte < 256; byte++) {
        char name[4 + sizeof end_of_word];
        size_t size = (size_t)utf8_encode(byte_character(byte), name);
        b->byte_id[0][byte] = bpe_find(b, name, size);
        memcpy(name + size, end_of_word, sizeof end_of_word);
        b->byte_id[1][byte] = bpe_find(b, name, size + sizeof end_of_word - 1);
    }
}

bool bpe_index_tokens(struct bpe *b, struct err *e)
{
    b->by_name_size = table_size((size_t)b->token_count);
    b->by_name = malloc(b->by_name_size * sizeof *b->by_name);
    if (!b->by_name)
        return err_set(e, ERR_MEMORY, "out of memory for %d tokens", (int)b->token_count);
    for (size_t i = 0; i < b->by_name_size; i++)
        b->by_name[i] = -1;
    for (int32_t id = 0; id < b->token_count; id++) {
        if (!b->tokens[id].name)
            continue;
        int32_t *slot = name_slot(b, b->tokens[id].name, b->tokens[id].size);
        if (*slot >= 0)
            return err_set(e, ERR_INPUT,
                           "token \"%s\": found twice, with ids %d and %d, expected once",
                           STR_SHOW(b->tokens[id].name), (int)*slot, (int)id);
        *slot = id;
    }
    find_bytes(b);
    return true;
}

bool bpe_expect_merges(struct bpe *b, size_t most, struct err *e)
{
    b->merges_size = table_size(most);
    b->merges = malloc(b->merges_size * sizeof *b->merges);
    if (!b->merges)
        return err_set(e, ERR_MEMORY, "out of memory for %zu merges", most);
    for (size_t i = 0; i < b->merges_size; i++)
        b->merges[i].left = -1;
    return true;
}

static bool known_token(const struct bpe *b, const char *name, size_t size, int32_t *id,
                        struct err *e)
{
    *id = bpe_find(b, name, size);
    if (*id >= 0)
        return true;
    char shown[168];
    str_escape(shown, sizeof shown, name, size);
    return err_set(e, ERR_INPUT, "found \"%s\", expected a token of the vocabulary",
                   shown);
}

bool bpe_add_merge(struct bpe *b, const char *left, size_t left_size, const char *right,
                   size_t right_size, int32_t rank, struct err *e)
{
    struct bpe_merge merge = {.rank = rank};
    if (!known_token(b, left, left_size, &merge.left, e) ||
        !known_token(b, right, right_size, &merge.right, e))
        return false;
    struct str both = {0};
    str_add_bytes(&both, left, left_size);
    str_add_bytes(&both, right, right_size);
    bool ok = both.failed ? err_set(e, ERR_MEMORY, "out of memory for a merge")
                          : known_token(b, str_text(&both), both.size, &merge.merged, e);
    str_free(&both);
    if (ok)
        *merge_slot(b, merge.left, merge.right) = merge;
    return ok;
}

bool bpe_add_merge_text(struct bpe *b, const char *text, size_t size, int32_t rank,
                        struct err *e)
{
    const char *space = memchr(text, ' ', size);
    size_t left = space ? (size_t)(space - text) : size;
    size_t right = space ? size - left - 1 : 0;
    if (left == 0 || right == 0 || memchr(space + 1, ' ', right)) {
        char shown[168];
        str_escape(shown, sizeof shown, text, size);
        return err_set(e, ERR_INPUT,
                       "found \"%s\", expected two tokens with one space between", shown);
    }
    return bpe_add_merge(b, text, left, space + 1, right, rank, e);
}

/* vocab.json */

/* Puts the line in front of a failure. Returns false. */
static bool fail_in_line(struct err *e, size_t line)
{
    char place[32];
    snprintf(place, sizeof place, "line %zu", line);
    return err_in_file(e, place);
}

static bool token_id(const struct json_token *value, int32_t *id)
{
    if (value->kind != JSON_TOKEN_NUMBER || value->size > 7)
        return false;
    *id = 0;
    for (size_t i = 0; i < value->size; i++) {
        if (value->text[i] < '0' || value->text[i] > '9')
            return false;
        *id = 10 * *id + (value->text[i] - '0');
    }
    return *id < BPE_MAX_TOKENS;
}

static bool read_token(struct bpe *b, struct json_scan *scan,
                       const struct json_token *key, struct err *e)
{
    struct json_token value;
    int32_t id;
    if (!json_scan_next(scan, &value, e))
        return false;
    char found[40];
    if (value.kind == JSON_TOKEN_NUMBER)
        str_escape(found, sizeof found, value.text, value.size);
    else
        snprintf(found, sizeof found, "%s", json_token_name(value.kind));
    if (!token_id(&value, &id))
        return err_set(e, ERR_INPUT,
                       "line %zu: token \"%s\": found %s, expected an integer 0..%d",
                       scan->token_line, STR_SHOW(key->text), found, BPE_MAX_TOKENS - 1);
    return bpe_add_token(b, key->text, key->size, id, e) ||
           fail_in_line(e, scan->token_line);
}

static bool scan_vocab(struct bpe *b, size_t size, struct err *e)
{
    struct json_scan scan;
    struct json_token token;
    json_scan_begin(&scan, b->text, size);
    if (!json_scan_next(&scan, &token, e))
        return false;
    if (token.kind != JSON_TOKEN_OPEN_OBJECT)
        return err_set(e, ERR_INPUT,
                       "line %zu: found %s, expected an object of token: id",
                       scan.token_line, json_token_name(token.kind));
    for (;;) {
        if (!json_scan_next(&scan, &token, e))
            return false;
        if (token.kind == JSON_TOKEN_CLOSE_OBJECT)
            break;
        if (!read_token(b, &scan, &token, e))
            return false;
    }
    return json_scan_next(&scan, &token, e);
}

static bool read_vocab(struct bpe *b, const char *path, struct err *e)
{
    size_t size;
    if (!file_read_all(path, LIMIT_JSON_PROMPTS, &b->text, &size, e))
        return false;
    return (scan_vocab(b, size, e) && bpe_index_tokens(b, e)) || err_in_file(e, path);
}

/* merges.txt: "left right" a line, the first is merged first */

static bool scan_merges(struct bpe *b, const char *text, size_t size, struct err *e)
{
    int32_t rank = 0;
    size_t line = 1;
    /* transformers: CLIPTokenizer.__init__ strips what follows the last merge. */
    while (size > 0 && strchr("\r\n", text[size - 1]))
        size--;
    for (size_t at = 0; at < size; line++) {
        const char *newline = memchr(text + at, '\n', size - at);
        size_t end = newline ? (size_t)(newline - text) : size;
        size_t next = newline ? end + 1 : end;
        if (end > at && text[end - 1] == '\r')
            end--;
        bool version = end - at >= 8 && memcmp(text + at, "#version", 8) == 0;
        if (!version && !bpe_add_merge_text(b, text + at, end - at, rank++, e))
            return fail_in_line(e, line);
        at = next;
    }
    return true;
}

/* In CLIP's vocabularies a token in front of <|startoftext|> is a byte or what a merge
 * makes: one that is neither tells of a file that breaks off. */
static bool check_whole(const struct bpe *b, struct err *e)
{
    static const char begin[] = "<|startoftext|>";
    int32_t count = bpe_find(b, begin, sizeof begin - 1);
    bool *made = calloc((size_t)b->token_count + 1, sizeof *made);
    if (!made)
        return err_set(e, ERR_MEMORY, "out of memory for %d tokens", (int)b->token_count);
    for (int byte = 0; byte < 2 * 256; byte++)
        if (b->byte_id[byte / 256][byte % 256] >= 0)
            made[b->byte_id[byte / 256][byte % 256]] = true;
    for (size_t i = 0; i < b->merges_size; i++)
        if (b->merges[i].left >= 0)
            made[b->merges[i].merged] = true;
    int32_t id = 0;
    while (id < count && (made[id] || !b->tokens[id].name))
        id++;
    free(made);
    return id >= count || err_set(e, ERR_INPUT,
                                  "found no merge that makes \"%s\", expected one: "
                                  "incomplete download?",
                                  STR_SHOW(b->tokens[id].name));
}

static bool read_merges(struct bpe *b, const char *path, struct err *e)
{
    char *text = NULL;
    size_t size, lines = 1;
    if (!file_read_all(path, LIMIT_JSON_PROMPTS, &text, &size, e))
        return false;
    for (size_t i = 0; i < size; i++)
        lines += text[i] == '\n';
    bool ok = bpe_expect_merges(b, lines, e) && scan_merges(b, text, size, e) &&
              check_whole(b, e);
    free(text);
    return ok || err_in_file(e, path);
}

bool bpe_read(struct bpe *b, const char *vocab_path, const char *merges_path,
              struct err *e)
{
    return read_vocab(b, vocab_path, e) && read_merges(b, merges_path, e);
}

void bpe_free(struct bpe *b)
{
    free(b->text);
    free(b->tokens);
    free(b->by_name);
    free(b->merges);
    *b = (struct bpe){0};
}
