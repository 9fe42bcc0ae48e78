/* shards.h: the shards of one run, each in a directory of its own: whether all are there,
 * finished and parts of the same run. Their files are untrusted. Leaves joining them to
 * src/stages. */
#ifndef DIFFENS_RUN_SHARDS_H
#define DIFFENS_RUN_SHARDS_H

#include "diffens/options.h"
#include "diffens/progress.h"
#include "run/former.h"

struct shard {
    const char *directory; /* NULL: not there */
    struct former_run run;
    const struct json *prompts; /* array as long as its cases, or NULL */
};

/* Start from `{0}`. Case n of the whole run is case n / count of shard n % count. */
struct shards {
    int count;
    struct shard
        *of;       /* [count], or of directories that are too few one more than these */
    int room;      /* of `of` */
    int64_t cases; /* of the whole run */
    int models;    /* parents of a case */
    int results;   /* other pictures of a case */
};

/* Reads and checks them. `directories` outlive the object; `may_change` says which
 * options may differ between them, --shard apart. ERR_INPUT names directory and field.
 * Other machines are noted, and with --deterministic refused. */
bool shards_open(struct shards *s, const char *const *directories, int count,
                 bool (*may_change)(const char *option), const struct progress *progress,
                 struct err *e);

/* The record of the first shard. */
const struct json *shards_record(const struct shards *s);

const char *shards_case_name(const struct shards *s, int64_t index_case);

/* A parent or result of a case. */
const struct former_cell *shards_parent(const struct shards *s, int64_t index_case,
                                        int index_model);
const struct former_cell *shards_result(const struct shards *s, int64_t index_case,
                                        int result);

/* Accepts a zeroed object. */
void shards_close(struct shards *s);

#endif
