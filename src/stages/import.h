/* import.h: pictures that exist already, as the parents of a run: --images. Leaves the
 * tensor that a run keeps of them to parents.h. */
#ifndef DIFFENS_IMPORT_H
#define DIFFENS_IMPORT_H

#include "base/sha256.h"
#include "diffens/image.h"
#include "diffens/options.h"
#include "io/file.h"

/* Start from `{0}`. The names are owned by this and fit for file names. */
struct import {
    const char *path; /* the caller's */
    int64_t cases;
    int64_t total;     /* cases before import_keep_shard(): */
    int shard, shards; /* those n with n % shards == shard; 0 of 1 without it */
    int models;
    char **case_names;                         /* [cases] */
    char *model_names[OPTIONS_MAX_MODELS + 1]; /* [models]; room to find one too many */
    int64_t height, width;                     /* of every picture */
    struct image_tensor tensor;                /* open where the pictures are in one */
    char **files;                              /* [cases * models] where they are files */
};

/* Looks at what `path` holds: an .npy of shape [N,M,H,W,3] uint8 (cases 000, 001, ...,
 * models model0, model1, ...); a run directory (its images.npy under the names of its
 * record); or a directory CASE/MODEL.png (or .jpg) in which every case has the same
 * models. All pictures must be of one size. ERR_INPUT names what was found and expected;
 * then `i` is closed. */
bool import_open(struct import *i, const char *path, struct err *e);

/* Keeps the cases n with n % count == index. None may be left. */
void import_keep_shard(struct import *i, int index, int count);

/* Reads one picture, which the caller frees. Transparent ones are put on white, which
 * *had_alpha tells. */
bool import_read(const struct import *i, int64_t index_case, int index_model,
                 struct image *picture, bool *had_alpha, struct err *e);

/* Adds to a digest how the files look that the pictures are in; *newest is how that one
 * looks which changed last. False where one cannot be looked at. */
bool import_stamp(const struct import *i, struct sha256 *digest,
                  struct file_stamp *newest);

/* Accepts a zeroed or half-built object. */
void import_close(struct import *i);

#endif
