/* plan.h: what a run will make, worked out and checked before anything is on the device:
 * cases, models, sizes, mixtures, and the record's cells in this order: parent (n, m),
 * then mixture (n, layer, k). Leaves making it to the stages. */
#ifndef DIFFENS_PLAN_H
#define DIFFENS_PLAN_H

#include "diffens/stages.h"
#include "diffusion/diffuser.h"
#include "models/vqgan.h"
#include "stages/import.h"

/* One way to mix the parents of a case. */
struct mixture {
    char name[128];  /* in file names: "g0.3", "w0.5-0.2-0.3" */
    char label[128]; /* in figures */
    double shares[OPTIONS_MAX_MODELS];
};

/* Start from `{0}`. */
struct plan {
    const struct run *run;
    int64_t cases; /* N */
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
    int layer_count, mixture_count;
    enum layer layers[LAYER_COUNT];
    struct mixture *mixtures;
};

/* Opens and checks every input of the run and plans the cells of its record. On failure
 * the plan is closed. */
bool plan_make(struct plan *p, const struct run *run, struct err *e);

/* Accepts a zeroed or half-built plan. */
void plan_close(struct plan *p);

/* Numbers of cells in the record. */
int plan_parent_cell(const struct plan *p, int64_t index_case, int index_model);
int plan_mixture_cell(const struct plan *p, int64_t index_case, int index_layer,
                      int index_mixture);

/* "preconv", "prequant", "postquant" */
const char *plan_layer_name(enum layer layer);

#endif
