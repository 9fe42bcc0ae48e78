/* prompts.h: what to draw: N cases for M diffusers, with names, negatives and seeds.
 * Leaves tokens to the tokenizer and the models to ensemble.h. */
#ifndef DIFFENS_MODELS_PROMPTS_H
#define DIFFENS_MODELS_PROMPTS_H

#include "diffens/error.h"
#include "diffens/progress.h"

#include <stdint.h>

/* All texts are UTF-8 and owned by this. Start from `{0}`. */
struct prompts {
    int64_t cases, models; /* N, M of the run */
    int64_t total;         /* N before prompts_keep_shard() */
    uint64_t text_size;    /* bytes of all texts, as they were read */
    char **text;     /* [N*M], row-major: the effective prompts, templates applied */
    char **given;    /* [N]: the first diffuser's prompt as it was given */
    char **negative; /* [N] */
    char **names;    /* [N], different, fit for file names: "000", "001", ... */
    uint64_t *seeds; /* [N]: of the starting noise shared by a case */
    char *stream;    /* all that standard input had; NULL where they are not from there */
};

/* Where the prompts come from, and for whom. One of `file` and `prompt` is given. */
struct prompts_source {
    const char *file;     /* .txt: one a line, blank lines left out; "-": standard input,
                             JSON where it begins with [ { or ", else one a line;
                             others: JSON */
    const char *prompt;   /* one case */
    const char *negative; /* where the file has none of its own */
    uint64_t random_seed; /* case n has random_seed + n, modulo 2^64 */
    int ensemble_models;  /* diffusers of the ensemble, whether in the run or not */
    int models;           /* M */
    const int *selection; /* [M]: index in the ensemble; ensemble_models and up for
                             diffusers from elsewhere */
    const char *const *templates; /* [M], "{}" stands for the prompt; NULL: raw prompts */
};

/* Reads prompts. The JSON forms: a string; an array of strings; an array of arrays of
 * strings, a column per diffuser of the ensemble or else per diffuser of the run; an
 * object
 * {"prompts": any of these, "negative": string or one per case, "names": one per case,
 * "seeds": one per case, null for the usual one}. Empty prompts are noted to `progress`.
 * False with ERR_INPUT or ERR_MEMORY; then `p` is freed. */
bool prompts_read(struct prompts *p, const struct prompts_source *source,
                  const struct progress *progress, struct err *e);

/* Keeps the cases n with n % count == index, as they are. None may be left. */
void prompts_keep_shard(struct prompts *p, int index, int count);

/* Accepts a zeroed or half-built object. */
void prompts_free(struct prompts *p);

const char *prompts_text(const struct prompts *p, int64_t index_case,
                         int64_t index_model);

/* The seed of the starting noise of a case; independent noise adds 1000003 times the
 * diffuser's index in the ensemble, modulo 2^64. */
uint64_t prompts_noise_seed(const struct prompts *p, int64_t index_case, bool independent,
                            int index_in_ensemble);

#endif
