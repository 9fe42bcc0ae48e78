/* record.h: what a run is and what has become of it: run.json, the journal of what
 * happened since it was written, and the records that pictures carry. Knows file names
 * inside the run directory, never absolute paths. Leaves making pictures to the stages.
 */
#ifndef DIFFENS_RUN_RECORD_H
#define DIFFENS_RUN_RECORD_H

#include "base/sha256.h"
#include "diffens/image.h"
#include "diffens/options.h"
#include "diffens/progress.h"
#include "io/json_write.h"

#include <stdint.h>

struct file_stamp;

/* One diffuser's part in a cell. Texts are UTF-8 and NULL where they are not known, as
 * for pictures from elsewhere. */
struct record_parent {
    const char *model;
    bool outside;                  /* none of the ensemble's: given by its path */
    const char *prompt, *negative; /* effective ones */
    uint64_t seed;                 /* means something where `prompt` is there */
    const char *scheduler;         /* a name of --scheduler; the one that is used */
    double weight;                 /* in a mixture */
    int height, width;             /* of its picture, in a mixture */
};

/* A picture's place in an optimisation; the settings are in the options. */
struct record_optimized {
    const char *which;    /* "final", "best" or "preview": static; NULL: none of these */
    int epoch;            /* of a preview: epochs before it */
    uint64_t random_seed; /* of the start and of the windows */
    const char *perceptual;       /* "lpips" or "l2": static */
    char seed_sha256[SHA256_HEX]; /* of the image it started from, or "" */
};

/* One picture that the run makes: a parent, or where `layer` is there a mixture, which
 * may be an optimised one. */
struct record_cell {
    const char *case_name;
    int64_t case_index;
    uint64_t case_seed; /* of its noise, before what --noise independent adds */
    const char *file;   /* inside the run directory: "images/000_poster.png" */
    int height, width;
    const char *layer; /* NULL: a parent */
    int parent_count;  /* 1 for a parent */
    const struct record_parent *parents;
    struct record_optimized optimized;
};

/* Writes an object of run.json that is a stage's own. */
typedef void record_outcome_fn(struct json_writer *w, const void *user);

/* Start from `{0}`. */
struct record {
    char *directory;
    struct record_state *state;
};

/* What a record starts with; texts belong to the caller and outlive the record. */
struct record_about {
    const char *command;           /* "blend" */
    const struct options *options; /* its `arguments` are the command line */
    void (*write_options)(struct json_writer *w, const struct options *o); /* an object */
    /* Whether a run may go on with another value of an option; NULL: none may change. */
    bool (*may_change)(const char *option);
    bool joins; /* merge: goes on without being told, and hints name no --resume */
    const char *ensemble; /* name, or NULL */
    const char *libtorch; /* version */

    /* for the report: the command that repeats the run, and the options that its pictures
     * depend on */
    const char *command_line;
    void (*write_settings)(struct json_writer *w, const struct options *o);
};

/* Takes over the folder `directory` (from run_directory_make()), of which it keeps a
 * copy. Writes nothing yet. ERR_MEMORY. */
bool record_open(struct record *r, const char *directory,
                 const struct record_about *about, struct err *e);

/* Frees everything. Accepts a zeroed record. */
void record_close(struct record *r);

/* Where the computation happens, as run.json says it: "cpu", "fp32". */
bool record_set_machine(struct record *r, const char *device, const char *dtype,
                        int threads, struct err *e);

/* The axes of images.npy: names of cases and models. They belong to the caller and
 * outlive the record. */
void record_set_axes(struct record *r, int64_t cases, char *const *case_names, int models,
                     const char *const *model_names);

/* The part of a run of `total` cases that this is; nothing where shard.count is 0. */
void record_set_shard(struct record *r, struct option_shard shard, int64_t total);

/* What the first model was asked to draw for each case, as it was given, and all that
 * standard input had where that came from there, else NULL. Both belong to the caller and
 * outlive the record. */
void record_set_prompts(struct record *r, char *const *given, const char *stream);

/* A network of the ensemble. `role` is "diffuser", "vqgan", ...; `listed` its path as
 * ensemble.json names it. Returns its number, -1 with ERR_MEMORY. */
int record_add_network(struct record *r, const char *role, const char *name,
                       const char *listed, struct err *e);

/* A weight file of that network, hashed in a thread of its own from record_begin() on;
 * `inside` is its name in the network's folder. Adding it twice is the same as once.
 * ERR_INPUT, ERR_MEMORY. */
bool record_add_weights(struct record *r, int network, const char *path,
                        const char *inside, struct err *e);

/* The same for one that is not read, since its SHA-256 is known. */
bool record_add_known_weights(struct record *r, int network, const char *inside,
                              uint64_t size, const char *sha256, struct err *e);

/* Plans a picture; its parts are copied. Returns its number, -1 with ERR_MEMORY. */
int record_add_cell(struct record *r, const struct record_cell *cell, struct err *e);

/* Plans another file that the run makes, such as "images.npy"; planned twice is the same
 * as once. Possible after record_begin() as well, for pages that turn up late. */
bool record_add_file(struct record *r, const char *file, struct err *e);

/* directory/file of a cell or of another file. Owned by the record. */
const char *record_cell_path(const struct record *r, int cell);
const char *record_file_path(const struct record *r, const char *file);

/* What the picture of a cell carries: "diffens" (JSON) and "parameters" (as other tools
 * write it). They hold nothing that differs between two runs of the same command. Valid
 * until the next call with the same record. Returns their number, 0 with ERR_MEMORY. */
int record_cell_texts(struct record *r, int cell, const struct image_text **texts,
                      struct err *e);

/* The same for a picture that shows many cells: "diffens" alone. */
int record_figure_texts(struct record *r, const struct image_text **texts, struct err *e);

/* Goes on with the run that the directory holds, if there is one: refuses another one
 * with the fields that differ, and takes over what it has made. Files that are missing
 * are to be made again; one that was altered is refused with both hashes (ERR_INPUT).
 * *complete: nothing is left to do. Once everything is planned, before record_begin(). */
bool record_resume(struct record *r, bool *complete, const struct progress *progress,
                   struct err *e);

/* Whether it goes on with a run. */
bool record_is_resumed(const struct record *r);

/* Notes where the machine (record_set_machine()) is not the one that the run began on; an
 * error with --deterministic. */
bool record_check_machine(const struct record *r, const struct progress *progress,
                          struct err *e);

/* The network has done its work in the run that is gone on with: it is not read again. */
void record_keep_network(struct record *r, int network);

/* Makes the folders of the planned files and publishes run.json with the state "running".
 * Unless the run goes on, it first removes what a former run in the directory made (by
 * its own record; only --force lets it come this far). Call it once everything is checked
 * and planned, before the first model is loaded. ERR_INPUT where two pictures would share
 * a file, or where a file is in the way that no record lists: then nothing has been
 * removed; and where weights are not those that the run began with. */
bool record_begin(struct record *r, struct err *e);

/* Whether it has come to that: before, what a former run has made is untouched. */
bool record_has_begun(const struct record *r);

/* The picture of a cell is published: notes its SHA-256 and the time it took.
 * `pixels_sha256` is that of its part of images.npy, or NULL where it has none. */
bool record_cell_done(struct record *r, int cell, const char *pixels_sha256,
                      double seconds, struct err *e);

/* Another file that is published for good: notes its SHA-256. */
bool record_file_done(struct record *r, const char *file, struct err *e);

/* What a stage says of a case in the end: an object with the case's name under "case". */
bool record_add_outcome(struct record *r, int64_t index_case, record_outcome_fn *write,
                        const void *user, struct err *e);
bool record_has_outcome(const struct record *r, int64_t index_case);
/* It as JSON, owned by the record; NULL where there is none. */
const char *record_outcome(const struct record *r, int64_t index_case);

/* Whether the picture of a cell, or another file, is published for good. */
bool record_cell_is_done(const struct record *r, int cell);
bool record_file_is_done(const struct record *r, const char *file);

/* The SHA-256 of a finished cell's picture; "" of others. */
const char *record_cell_sha256(const struct record *r, int cell);

/* The SHA-256 of a finished cell's part of images.npy; "" where it has none. */
const char *record_cell_pixels(const struct record *r, int cell);

/* The picture of a cell will not be there: `why` is a word such as "nonfinite". */
void record_cell_failed(struct record *r, int cell, const char *why);

/* Whether `hex` was noted under `name`, by this run or the one that it goes on with, when
 * what it is of looked as it does now (hash_index.h); and noting it. */
bool record_knows(const struct record *r, const char *name,
                  const struct file_stamp *stamp, const char *hex);
void record_note(const struct record *r, const char *name, const struct file_stamp *stamp,
                 const char *hex);

/* SHA-256 of all that decides what a run makes, but for the weights: options, paths and
 * sizes of networks, cells. */
bool record_identity(const struct record *r, char hex[SHA256_HEX], struct err *e);

/* Publishes run.json with the state "stopped": the run can be gone on with, as after any
 * other end. */
bool record_stop(struct record *r, struct err *e);

/* Waits for the hashes of the weights and publishes run.json with the state "complete",
 * or "failed" where a cell is not done or a file is not there. */
bool record_complete(struct record *r, struct err *e);

/* Of a run that is found complete: removes the journal and temporaries that it has left
 * where it was killed before it could do so itself, and keeps what was noted. */
bool record_tidy(const struct record *r, struct err *e);

/* Writes what --json prints: {"directory", "state", "pictures": [...], "files": [...]}.
 */
void record_write_result(const struct record *r, struct json_writer *w);

#endif
