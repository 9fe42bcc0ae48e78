/* plan.h: what a run will make, worked out and checked before anything is on the device:
 * cases, models, sizes, mixtures, and the record's cells in this order: parent (n, m),
 * then result (n, i): mixtures layer by layer, or the pictures of an optimisation. Leaves
 * making it to the stages. */
#ifndef DIFFENS_PLAN_H
#define DIFFENS_PLAN_H

#include "base/sha256.h"
#include "diffens/optimize.h"
#include "diffens/stages.h"
#include "diffusion/diffuser.h"
#include "models/clip.h"
#include "models/perceptual.h"
#include "models/vqgan.h"
#include "stages/import.h"

/* One way to mix the parents of a case. */
struct mixture {
    char name[128];  /* in file names: "g0.3", "w0.5-0.2-0.3" */
    char label[128]; /* in figures */
    double shares[OPTIONS_MAX_MODELS];
};

/* The results of a case that is optimised, in their order; previews last. */
enum { RESULT_FINAL, RESULT_BEST, RESULT_PREVIEW };

/* What the optimisation of a case came to. */
struct outcome {
    int64_t epochs, skipped; /* done; steps left out among them */
    struct optimize_report report;
};

/* Start from `{0}`. */
struct plan {
    const struct run *run;
    int64_t cases; /* N */
    int64_t total; /* cases of the whole run, of which this may be a shard */
    int models;    /* M */
    const char *const *case_names;
    const char *model_names[OPTIONS_MAX_MODELS];
    int64_t height, width; /* of the parents */

    /* Where the parents come from: one of the two. */
    struct diffuser *diffusers; /* [models], opened */
    struct import import;
    int import_index[OPTIONS_MAX_MODELS]; /* of the run's models among the imported */

    /* What becomes of them; empty where nothing is mixed. */
    struct vqgan vqgan;
    int64_t vq_height, vq_width;
    int results; /* pictures a case beside its parents */

    /* blend */
    int layer_count, mixture_count;
    enum layer layers[LAYER_COUNT];
    struct mixture *mixtures;

    /* optimize; the random seed is each case's own */
    struct clip clip;
    struct perceptual perceptual;
    struct optimize_settings settings;
    struct image seed_image; /* of SEED_FILE */
    char seed_sha256[SHA256_HEX];
    struct outcome **outcomes; /* [cases]; NULL until a case is measured */
};

/* Opens and checks every input of the run and plans the cells of its record. On failure
 * the plan is closed. */
bool plan_make(struct plan *p, const struct run *run, struct err *e);

/* Accepts a zeroed or half-built plan. */
void plan_close(struct plan *p);

/* Numbers of cells in the record. */
int plan_parent_cell(const struct plan *p, int64_t index_case, int index_model);
int plan_result_cell(const struct plan *p, int64_t index_case, int result);
int plan_mixture_cell(const struct plan *p, int64_t index_case, int index_layer,
                      int index_mixture);
int plan_cell_count(const struct plan *p);

/* Whether all parents of a case are published; all pictures of a model; all results of a
 * case with what is said of them; those of all cases. */
bool plan_has_parents(const struct plan *p, int64_t index_case);
bool plan_model_is_done(const struct plan *p, int index_model);
bool plan_case_is_done(const struct plan *p, int64_t index_case);
bool plan_results_are_done(const struct plan *p);
int plan_cells_done(const struct plan *p);

/* Reports the pictures that a run before this one has made: the results of a case, or,
 * where parents are the results, those by a model. */
void plan_announce(const struct plan *p, int64_t index_case);
void plan_announce_parents(const struct plan *p, int index_model);

/* Networks that have nothing left to do in a run that is gone on with are not read. */
void plan_keep_networks(const struct plan *p);

/* An upper bound for what is still to be written, in bytes. */
uint64_t plan_bytes_to_write(const struct plan *p);

/* ERR_OUTPUT where the disk has no room for what is still to be made. */
bool plan_check_disk(const struct plan *p, struct err *e);

/* The number of a case in the whole run. */
int64_t plan_whole_index(const struct plan *p, int64_t index_case);

/* optimize: the random seed of a case, the epochs before preview `result`, the name of a
 * case's table of losses in the run directory (written into `out`). */
uint64_t plan_case_seed(const struct plan *p, int64_t index_case);
int plan_preview_epoch(const struct plan *p, int result);
const char *plan_losses_file(const struct plan *p, int64_t index_case, char *out,
                             size_t size);

/* Animations of a case: one for each layer, or one of its optimisation; 0: none are asked
 * for. The name of one in the run directory, written into `out`. */
int plan_animations(const struct plan *p);
const char *plan_animation_file(const struct plan *p, int64_t index_case, int index_layer,
                                char *out, size_t size);

/* "preconv", "prequant", "postquant" */
const char *plan_layer_name(enum layer layer);

#endif
