/* tokenizer.h: prompts become the token ids that CLIP's text encoder takes, exactly as
 * transformers' CLIPTokenizer makes them. Leaves embeddings to the text encoder, and
 * telling the user about dropped text to the caller. */
#ifndef DIFFENS_TOKENIZER_H
#define DIFFENS_TOKENIZER_H

#include "diffens/error.h"

#include <stddef.h>
#include <stdint.h>

struct tokenizer;

/* Reads vocab.json and merges.txt of `directory`, and the special tokens of
 * tokenizer_config.json, special_tokens_map.json and added_tokens.json where they are
 * there. NULL with ERR_INPUT (file, line, token) or ERR_MEMORY. */
struct tokenizer *tokenizer_load(const char *directory, struct err *e);

/* Accepts NULL. */
void tokenizer_free(struct tokenizer *t);

/* Largest id + 1: rows that the text encoder's embedding must have. */
int64_t tokenizer_vocab_size(const struct tokenizer *t);

/* model_max_length: ids of an encoded prompt, begin and end included. 77 where the files
 * set no limit. */
int tokenizer_max_length(const struct tokenizer *t);

/* Pads prompts with id 0, as OpenCLIP does, or with the end token, as CLIP does, whatever
 * the files say. */
void tokenizer_set_padding(struct tokenizer *t, bool zero);

/* What became of a prompt. */
struct token_info {
    size_t count;  /* tokens before anything was cut, without begin and end */
    char *dropped; /* the text of the tokens that were cut, in lower case, as diffusers
                      quotes it; NULL where nothing was. The caller frees it. */
};

/* Encodes a prompt (UTF-8, at most LIMIT_PROMPT bytes) into exactly
 * `max_length` (at least 2) ids: begin, tokens, end, padding. Literal special tokens in
 * the prompt become their ids, as in the reference. `info` may be NULL. ERR_INPUT names
 * the offset of what is not UTF-8. */
bool tokenizer_encode(const struct tokenizer *t, const char *prompt, int64_t *ids,
                      int max_length, struct token_info *info, struct err *e);

#endif
