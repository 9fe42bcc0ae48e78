/* tokenizer_bpe.h: byte-level byte-pair encoding with a vocabulary and ranked merges
 * (Sennrich et al. 2016; the file formats of GPT-2 and CLIP). Leaves normalisation, the
 * splitting into words and special tokens to the tokenizer. */
#ifndef DIFFENS_TOKENIZER_BPE_H
#define DIFFENS_TOKENIZER_BPE_H

#include "diffens/error.h"

#include <stddef.h>
#include <stdint.h>

/* Ids that a text became. Start from `{0}`; running out of memory is sticky. */
struct id_list {
    int32_t *ids;
    size_t count, capacity;
    bool failed;
};

void id_list_add(struct id_list *list, int32_t id);
void id_list_free(struct id_list *list);

struct bpe_token {
    const char *name; /* NULL where the vocabulary has no such id */
    size_t size;
};

struct bpe_merge {
    int32_t left, right; /* left is -1 in a free slot */
    int32_t merged, rank;
};

enum { BPE_MAX_TOKENS = 1 << 20 };

/* Vocabulary and merges. Start from `{0}`. */
struct bpe {
    char *text;               /* what names point into */
    struct bpe_token *tokens; /* by id */
    int32_t token_count;      /* largest id + 1 */
    int32_t token_capacity;
    int32_t *by_name;         /* hash table of ids, -1 where free */
    size_t by_name_size;      /* a power of two */
    struct bpe_merge *merges; /* hash table */
    size_t merges_size;       /* a power of two */
    int32_t byte_id[2][256];  /* of a lone byte; [1]: at the end of a word; -1: none */
};

/* Reads vocab.json and merges.txt; a "#version" line, CRLF and a missing final newline
 * are tolerated in the second. ERR_INPUT names file, line and token. */
bool bpe_read(struct bpe *b, const char *vocab_path, const char *merges_path,
              struct err *e);

/* The same from tokenizer.json, in which newer programs save both. */
struct json;
bool bpe_read_json(struct bpe *b, const struct json *tokenizer, struct err *e);

void bpe_free(struct bpe *b);

/* What the readers are made of: all tokens, whose names outlive the tables; their index;
 * how many merges there may be; those, the first merged first, as two names or as one
 * text with a space between them. */
bool bpe_add_token(struct bpe *b, const char *name, size_t size, int32_t id,
                   struct err *e);
bool bpe_index_tokens(struct bpe *b, struct err *e);
bool bpe_expect_merges(struct bpe *b, size_t most, struct err *e);
bool bpe_add_merge(struct bpe *b, const char *left, size_t left_size, const char *right,
                   size_t right_size, int32_t rank, struct err *e);
bool bpe_add_merge_text(struct bpe *b, const char *text, size_t size, int32_t rank,
                        struct err *e);

/* The id of a token, or -1. */
int32_t bpe_find(const struct bpe *b, const char *name, size_t size);

/* The merge of two neighbours, or NULL. */
const struct bpe_merge *bpe_find_merge(const struct bpe *b, int32_t left, int32_t right);

/* Appends the ids of one word, given as its UTF-8 bytes. A byte that the vocabulary lacks
 * becomes `unknown`. */
void bpe_encode_word(const struct bpe *b, const char *word, size_t size, int32_t unknown,
                     struct id_list *out);

/* The byte that a character of the byte-level alphabet stands for, or -1. */
int bpe_byte_of(uint32_t code_point);

#endif
