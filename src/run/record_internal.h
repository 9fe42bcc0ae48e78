/* record_internal.h: what record.c and record_write.c share. */
#ifndef DIFFENS_RUN_RECORD_INTERNAL_H
#define DIFFENS_RUN_RECORD_INTERNAL_H

#include "run/record.h"
#include "run/weight_hashes.h"

#include <time.h>

/* A deep copy of a struct record_cell, and what became of it. */
struct planned_cell {
    struct record_cell is; /* texts and parents are owned */
    char *path;
    char sha256[SHA256_HEX];
    char state[32]; /* "planned", "done", or why it is not there */
    double seconds;
};

struct planned_file {
    char *file, *path;
};

struct weight_file {
    char *inside;
    int number; /* in the list of hashes */
};

struct network_entry {
    char *role, *name, *listed;
    struct weight_file *files;
    int file_count;
};

struct record_state {
    struct record_about about;
    int64_t case_count; /* the axes of images.npy */
    int model_count;
    char *const *case_names;
    const char *const *model_names;
    const char *part_key; /* NULL: none */
    record_part_fn *write_part;
    const void *part_user;
    char *device, *dtype;
    int threads;
    struct network_entry *networks;
    int network_count;
    struct planned_cell *cells;
    int cell_count;
    struct planned_file *files;
    int file_count;
    struct weight_hashes *hashes;
    struct str json, parameters; /* of the picture whose texts were asked for last */
    struct image_text texts[2];
    struct timespec written; /* when run.json was published last */
    bool begun;
    const char *state; /* "running", "complete", "failed" */
};

/* run.json, whole. */
void record_write_all(const struct record_state *s, struct json_writer *w);

/* The records inside a picture. */
void record_write_cell(const struct record_state *s, const struct record_cell *cell,
                       struct json_writer *w);
void record_write_parameters(const struct record_state *s, const struct record_cell *cell,
                             struct str *out);
void record_write_figure(const struct record_state *s, struct json_writer *w);

#endif
