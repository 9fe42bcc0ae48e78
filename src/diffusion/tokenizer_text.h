/* tokenizer_text.h: text as CLIP's tokenizer sees it: normalised code points, and the
 * words in them. Leaves ids to tokenizer_bpe.h.
 *
 * Source: transformers, CLIPTokenizer (its normalizer and pre_tokenizer). Unicode data is
 * utf8proc's; characters that are younger than one of the two tables are what the other
 * takes them for. */
#ifndef DIFFENS_TOKENIZER_TEXT_H
#define DIFFENS_TOKENIZER_TEXT_H

#include "diffens/error.h"

#include <stddef.h>
#include <stdint.h>

/* Code points. Start from `{0}`. */
struct text {
    int32_t *points;
    size_t count;
};

/* NFC, runs of white space become one space, lower case. `utf8` must be valid. */
bool text_normalize(struct text *t, const char *utf8, size_t size, struct err *e);
void text_free(struct text *t);

/* Walks over words of points[0..count). Start from {points, count}. */
struct word_walk {
    const int32_t *points;
    size_t count;
    size_t at;         /* where the search goes on */
    size_t marker_end; /* of the last literal "<|startoftext|>" or "<|endoftext|>" */
};

/* The next word is points[*begin..*end); false after the last. */
bool word_next(struct word_walk *walk, size_t *begin, size_t *end);

#endif
