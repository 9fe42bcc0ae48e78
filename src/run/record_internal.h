/* record_internal.h: what record.c, record_plan.c, record_write.c and resume.c share. */
#ifndef DIFFENS_RUN_RECORD_INTERNAL_H
#define DIFFENS_RUN_RECORD_INTERNAL_H

#include "run/former.h"
#include "run/hash_index.h"
#include "run/journal.h"
#include "run/record.h"
#include "run/weight_hashes.h"

/* A deep copy of a struct record_cell, and what became of it. */
struct planned_cell {
    struct record_cell is; /* texts and parents are owned */
    char *path;
    char sha256[SHA256_HEX];
    char pixels_sha256[SHA256_HEX]; /* "" where it is not in images.npy */
    char state[32];                 /* "planned", "done", or why it is not there */
    double seconds;
};

struct planned_file {
    char *file, *path;
    char sha256[SHA256_HEX]; /* "" while it is not known */
};

struct weight_file {
    char *inside, *path;
    uint64_t size;
    int number;              /* in the list of hashes; -1 while it is not there */
    char sha256[SHA256_HEX]; /* "" while it is not known */
    bool noted;              /* in the journal */
};

struct network_entry {
    char *role, *name, *listed;
    struct weight_file *files;
    int file_count;
    bool kept; /* made all that it has to make in the run that is gone on with */
};

struct record_state {
    struct record_about about;
    int64_t case_count; /* the axes of images.npy */
    int model_count;
    char *const *case_names;
    char *const *prompts; /* [case_count], or NULL */
    const char *stream;   /* what standard input had, or NULL */
    const char *const *model_names;
    struct option_shard shard;
    int64_t total;   /* cases of all shards */
    char **outcomes; /* [case_count] JSON, or NULL; NULL where there is none at all */
    char *device, *dtype;
    int threads;
    struct network_entry *networks;
    int network_count;
    struct planned_cell *cells;
    int cell_count;
    struct planned_file *files;
    int file_count;
    int *by_name;        /* hash table: numbers of `files`, -1 in free slots */
    size_t by_name_size; /* a power of two; at least half of the slots are free */
    struct weight_hashes *hashes;
    struct str json, parameters; /* of the picture whose texts were asked for last */
    struct image_text texts[2];
    bool begun;
    const char *state; /* "running", "stopped", "complete", "failed" */
    struct journal journal;
    struct hash_index index;
    bool resumed;             /* goes on with the run in the directory: */
    struct former_run former; /* it, as it was found */
    const char **kept;        /* its files that are not planned yet: still the run's */
    int kept_count;
};

/* ERR_MEMORY; returns false. */
bool record_no_memory(struct err *e);

/* The file of that name, NULL when none was added. */
struct planned_file *record_find_file(const struct record_state *s, const char *file);

/* Nothing that was there before may be lost: a file of the same name that `former` does
 * not list is somebody else's (ERR_INPUT). Makes the folder of a new one. */
bool record_claim(const struct record *r, const struct former_run *former,
                  const char *file, const char *path, struct err *e);

/* Adds it to the journal, so that it is known as this run's should run.json never say
 * so. */
bool record_note_file(struct record_state *s, const struct planned_file *f,
                      struct err *e);

/* run.json, whole. */
void record_write_all(const struct record_state *s, struct json_writer *w);

/* Compares the hashes of the weights that are about to be used with those that the run
 * began with. Waits for them. */
bool record_check_weights(struct record_state *s, struct err *e);

/* Waits until the hash of every weight file is known. */
bool record_await_weights(struct record_state *s, struct err *e);

/* A copy of a record's object as text, in `*out`. */
bool record_take_json(char **out, struct str *json, struct err *e);

/* The records inside a picture. */
void record_write_cell(const struct record_state *s, const struct record_cell *cell,
                       struct json_writer *w);
void record_write_parameters(const struct record_state *s, const struct record_cell *cell,
                             struct str *out);
void record_write_figure(const struct record_state *s, struct json_writer *w);

#endif
