/* tokenizer_special.h: the tokens that stand outside the vocabulary's merges: begin, end,
 * padding, unknown, and those that a fine-tune added. Leaves matching them in text to the
 * tokenizer. */
#ifndef DIFFENS_TOKENIZER_SPECIAL_H
#define DIFFENS_TOKENIZER_SPECIAL_H

#include "diffusion/tokenizer_bpe.h"
#include "diffusion/tokenizer_text.h"

struct special_token {
    char *name; /* UTF-8 */
    size_t size;
    int32_t id;
    bool normalized;    /* looked for in normalised text, else in the text as given */
    struct text normal; /* the name, normalised */
};

/* Start from `{0}`. */
struct special_tokens {
    struct special_token *tokens;
    size_t count;
    size_t added; /* the first of them come from lists of added tokens */
    int32_t begin, end, unknown, pad;
    int max_length;
};

/* Reads what `directory` says about special tokens; CLIP's own where it says nothing.
 * `whole` is its tokenizer.json, or NULL where the vocabulary came from elsewhere. */
bool special_tokens_read(struct special_tokens *s, const struct bpe *b,
                         const char *directory, const struct json *whole, struct err *e);

void special_tokens_free(struct special_tokens *s);

#endif
