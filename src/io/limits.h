/* limits.h: how much of an untrusted file is taken in: one table, which `--limit` changes
 * before anything is read, so that readers on any thread may ask it. Leaves bounds that
 * are sizes of arrays to the files that have them. */
#ifndef DIFFENS_LIMITS_H
#define DIFFENS_LIMITS_H

#include "diffens/error.h"

#include <stddef.h>
#include <stdint.h>

enum limit {
    LIMIT_SAFETENSORS_HEADER,
    LIMIT_TENSORS,
    LIMIT_TENSOR_NAME,
    LIMIT_TENSOR_BYTES,
    LIMIT_TENSOR_TEXTS,
    LIMIT_SHARDS,
    LIMIT_SHARD_INDEX,
    LIMIT_PICKLE_BYTES,
    LIMIT_PICKLE_VALUES, /* of its initial value or less: pickle_budget() has its say */
    LIMIT_PICKLE_OPCODES,
    LIMIT_PICKLE_STACK,
    LIMIT_PICKLE_MEMO,
    LIMIT_ZIP_ENTRIES,
    LIMIT_ZIP_DIRECTORY,
    LIMIT_JSON_CONFIG,
    LIMIT_JSON_PROMPTS,
    LIMIT_JSON_RECORD,
    LIMIT_JSON_VALUES, /* json.c has its say in files that are large for them */
    LIMIT_CASES,
    LIMIT_PROMPT,
    LIMIT_PROMPT_TEXTS,
    LIMIT_IMAGE_FILE,
    LIMIT_IMAGE_SIDE,
    LIMIT_IMAGE_PIXELS,
    LIMIT_COUNT
};

struct limit_row {
    const char *name;
    uint64_t initial;
    uint64_t most;     /* what it may be raised to: the arithmetic of the readers holds */
    bool bytes;        /* counts bytes */
    const char *about; /* what it bounds, in lines of at most 44 columns */
};

extern const struct limit_row limit_table[LIMIT_COUNT];

/* What holds now. */
uint64_t limit_of(enum limit limit);

/* "name=64MiB", `length` bytes: a number from 1 to the row's `most`; KiB, MiB, GiB or K,
 * M, G stand for powers of 1024, kB, MB, GB for powers of 1000. False, with nothing
 * changed, where it is anything else. */
bool limit_parse(const char *text, size_t length, enum limit *limit, uint64_t *value);

/* Before any reader runs, on one thread; 0: as in the table. */
void limit_set(enum limit limit, uint64_t value);

/* Gives a recorded refusal the hint at the option that raises the limit. Returns false.
 */
bool limit_hint(enum limit limit, struct err *e);

/* A value of that row as --limit takes it: "64MiB", "200000". Returns `out`. */
const char *limit_show(const struct limit_row *row, uint64_t value, char *out,
                       size_t out_size);

#endif
