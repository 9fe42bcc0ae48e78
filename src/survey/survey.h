/* survey.h: what models there are, and whether they are whole: names and shapes of all
 * tensors, finite numbers, checksums. Uses no device. Leaves the printing to src/cli. */
#ifndef DIFFENS_SURVEY_H
#define DIFFENS_SURVEY_H

#include "base/str.h"
#include "models/ensemble.h"

#define SURVEY_NETWORKS 3
#define SURVEY_MODELS (ENSEMBLE_MAX_DIFFUSERS + 3)

/* One network's weights: a file, or the shards of one. */
struct survey_network {
    const char *name; /* "unet" */
    const char *class_name;
    char *path;
    int64_t tensors;    /* in the file */
    int64_t parameters; /* elements that the network uses */
    int64_t unused;     /* tensors that it does not use */
    uint64_t bytes;     /* of the files */
    char dtypes[40];    /* "F16", "F32+I64" */
    int64_t nonfinite;  /* weights that are NaN or infinite; -1: not looked at */
};

/* A diffuser or one of the networks beside them. */
struct survey_model {
    const char *role; /* "diffuser", "vqgan", "clip", "perceptual" */
    char *name, *path;
    char detail[64];    /* scheduler of a diffuser, architecture of others */
    const char *prompt; /* template of a diffuser, or NULL; the ensemble's */
    bool whole;
    struct survey_network networks[SURVEY_NETWORKS];
    int network_count;
};

/* Start from `{0}`. */
struct survey {
    struct ensemble ensemble; /* zeroed where something else was looked at */
    char *path;               /* of ensemble.json, or what was looked at */
    struct survey_model models[SURVEY_MODELS];
    int count;
    uint64_t bytes;      /* on disk, each file once */
    struct str problems; /* a line each */
    int problem_count;
    int sums_recorded, sums_wrong; /* files in SHA256SUMS; missing or changed */
    const struct progress *progress;
    bool weights; /* read them */
};

/* Looks at an ensemble, by name or file. With s->weights every weight is read and counted
 * where it is not finite, and files are compared with SHA256SUMS beside ensemble.json.
 * False with ERR_INPUT or ERR_MEMORY where there is no ensemble to look at; what is wrong
 * with its models is in s->problems. */
bool survey_ensemble(struct survey *s, const char *name, struct err *e);

/* The same for a path: an ensemble, a diffusers directory, the directory of a CLIP or a
 * perceptual network, or a single weight file. */
bool survey_path(struct survey *s, const char *path, struct err *e);

/* Accepts a zeroed or half-built object. */
void survey_close(struct survey *s);

/* Everything that was looked at is there and in order. */
bool survey_is_whole(const struct survey *s);

/* Bytes of a file, or of all files below a folder, each counted once. */
uint64_t survey_disk_bytes(const char *const *paths, int count);

#endif
