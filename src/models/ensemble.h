/* ensemble.h: a named set of diffusers and the networks that mix what they draw
 * (models/NAME/ensemble.json). Knows where the files are; leaves what is in them to the
 * readers of each network. */
#ifndef DIFFENS_MODELS_ENSEMBLE_H
#define DIFFENS_MODELS_ENSEMBLE_H

#include "diffens/error.h"
#include "diffens/progress.h"

#include <stdbool.h>

#define ENSEMBLE_MAX_DIFFUSERS 128

struct ensemble_diffuser {
    char *name;       /* fit for file names */
    char *path;       /* directory, resolved against the folder of ensemble.json */
    char *listed;     /* as ensemble.json or the user names it, without the folders of an
                         absolute path: for records */
    char *prompt;     /* template, holds "{}" */
    char *prediction; /* what a single file's UNet predicts; NULL: the usual guess */
    double weight; /* above 0: how much its pictures count in `optimize`; 1 if not said */
    int index; /* place in the ensemble: independent noise depends on it. Diffusers from
                  elsewhere follow those of the ensemble, in the order they are named */
};

/* A network beside the diffusers; `path` is NULL where the ensemble has none. */
struct ensemble_network {
    char *path, *listed;
};

/* A default of the ensemble's own for an option of the first stage or of `optimize`. */
struct ensemble_default {
    const char *section; /* "generate", "optimize" or, with --seed input, which it wins
                            over, "optimize.from_input" */
    const char *field;   /* as in ensemble.json: "lr_decay" */
    char *text;          /* its value, as written there */
};

#define ENSEMBLE_MAX_DEFAULTS 27

/* Start from `{0}`. */
struct ensemble {
    char *name;
    char *file; /* path of ensemble.json */
    int listed; /* diffusers in ensemble.json, in the run or not */
    int count;  /* diffusers of the run, in its order */
    struct ensemble_diffuser diffusers[ENSEMBLE_MAX_DIFFUSERS];
    char *pair[2]; /* names; NULL where the ensemble has none */
    struct ensemble_network vqgan, clip, perceptual;
    /* Folder of a vocabulary for diffusers in single files: the ensemble's own, else that
     * of its first diffusers directory. */
    struct ensemble_network tokenizer;
    int vqgan_height, vqgan_width; /* its "size"; 256 where it has none */
    char *example;                 /* a prompt, or NULL */
    int default_count;
    struct ensemble_default defaults[ENSEMBLE_MAX_DEFAULTS];
};

/* What a run takes from an ensemble; bits. */
enum ensemble_need { NEED_DIFFUSERS = 1, NEED_VQGAN = 2, NEED_CRITICS = 4 };

/* Reads an ensemble: by name, looked for in $DIFFENS_MODELS, the installation's
 * share/diffens/models and the models folder beside the build folder; or by the path of
 * an ensemble.json or its folder. NULL: "paper" if all its files are there, else "demo",
 * and a note that says which. Strict: unknown fields are refused. False with ERR_INPUT or
 * ERR_MEMORY; then `s` is closed. */
bool ensemble_open(struct ensemble *s, const char *name, const struct progress *progress,
                   struct err *e);

/* Files of the ensembles that can be named, in the order in which names are looked for,
 * each name once. Start from `{0}`. */
struct ensemble_files {
    char **path;
    int count;
};

/* Finds them. False with ERR_MEMORY; then `f` is freed. */
bool ensemble_list(struct ensemble_files *f, struct err *e);

/* Accepts a zeroed object. */
void ensemble_files_free(struct ensemble_files *f);

/* Accepts a zeroed or half-built object. */
void ensemble_close(struct ensemble *s);

/* Keeps the diffusers of these names, in this order. A name with a '/' is the path of a
 * diffusers directory or single file, which joins under its last part, without an ending,
 * and without a template. ERR_USAGE for a name that the ensemble lacks, with the nearest.
 */
bool ensemble_select(struct ensemble *s, char *const *names, int count, struct err *e);

/* Keeps the ensemble's own pair. ERR_USAGE where it has none and more than two diffusers.
 */
bool ensemble_select_pair(struct ensemble *s, struct err *e);

/* How much the pictures of the diffuser of this name count in `optimize`, against the
 * others' weights; 1 for a name that the ensemble lacks. */
double ensemble_weight(const struct ensemble *s, const char *name);

/* Whether what a run needs is there; `needs` are bits of enum ensemble_need, the critics
 * being CLIP and the perceptual network. ERR_INPUT names what is missing. */
bool ensemble_check_files(const struct ensemble *s, unsigned needs, struct err *e);

#endif
