/* optimize.h: one picture that all parents agree on, found by moving a latent of the
 * VQGAN down a loss (CLIP distance of crops, perceptual distance) to every parent. Knows
 * no files but its own state; what a run publishes, and when, is the caller's:
 *
 *   optimize_open -> { optimize_epoch, now and then optimize_picture or optimize_save }
 *   -> optimize_report -> optimize_close */
#ifndef DIFFENS_OPTIMIZE_H
#define DIFFENS_OPTIMIZE_H

#include "diffens/image.h"
#include "diffens/progress.h"
#include "diffens/stages.h"

struct clip;
struct perceptual;
struct str;

#define OPTIMIZE_MAX_PARENTS 32
#define OPTIMIZE_MAX_TOGETHER 64 /* cases */
#define CROPS_MAX_GROUPS 8
#define CROPS_MAX_COUNT 1024 /* windows of one group in one epoch */

/* `count` square windows whose side is `scale` of the picture's short side. */
struct crop_group {
    int count;    /* 1..CROPS_MAX_COUNT */
    double scale; /* above 0, at most 1 */
};

struct crop_spec {
    int group_count;
    struct crop_group group[CROPS_MAX_GROUPS];
};

/* "1x1,8x0.25,16x0.125": count x scale, 1 to CROPS_MAX_GROUPS of them. ERR_USAGE names
 * the part that is wrong. */
bool crop_spec_parse(struct crop_spec *spec, const char *text, struct err *e);

enum optimize_seed { SEED_NOISE, SEED_GAUSSIAN, SEED_INPUT, SEED_FILE };
enum perceptual_kind { PERCEPTUAL_LPIPS, PERCEPTUAL_L2 };

struct optimize_settings {
    enum optimize_seed seed;        /* default SEED_NOISE */
    const struct image *seed_image; /* of SEED_FILE; needed until optimize_open() ends */
    uint64_t random_seed;           /* default 42 */
    int64_t epochs;                 /* 1 and more; default 800 */
    double rate;                    /* Adam's; default 0.35 */
    double decay;                   /* default 0.9: the rate is rate * */
    int64_t decay_every;            /*   decay^floor(epoch / decay_every); default 100 */
    double clip_weight;             /* default 1; 0 leaves the loss out */
    double perceptual_weight;       /* default 0.1; 0 leaves the loss out */
    int share_count;                /* 0: every parent counts 1/M; else M of them */
    double shares[OPTIMIZE_MAX_PARENTS]; /* how much a parent counts, in both losses */
    enum layer layer;                    /* where the candidate lives; default PREQUANT */
    struct crop_spec crops;              /* default 1x1,8x0.25,16x0.125 */
    enum crop_pairing pairing;           /* default PAIRING_ALIGNED */
    enum clip_distance distance;         /* default CLIP_SPHERICAL */
    enum perceptual_kind perceptual;     /* default PERCEPTUAL_LPIPS, which needs heads */
    unsigned augment;                    /* enum augment_bit; default 0 */
    double tv_weight;                    /* of the picture's total variation; default 0 */
    double average; /* what a step counts of the next in an average of the candidate, of
                       which the pictures then are; below 1; 0, the default: none */
    int pool;       /* windows to draw from in every epoch, 1..65536; default 512 */
    int crop_batch; /* crops encoded at a time; 0, the default: all */
};

/* The defaults above. */
struct optimize_settings optimize_defaults(void);

/* All loaded, on one device, with one dtype: f32 or f64. */
struct optimize_networks {
    const struct vqgan *vqgan;
    const struct clip *clip;
    const struct perceptual *perceptual;
};

/* A loss without its weight is still listed by parent; a loss of weight 0 is not computed
 * and listed as 0. */
struct optimize_losses {
    double total;
    double variation; /* (x[i+1]-x[i])^2 across + down, in [0,1], mean over the picture */
    double clip[OPTIMIZE_MAX_PARENTS];
    double perceptual[OPTIMIZE_MAX_PARENTS];
};

/* What one epoch did: the losses are those of the candidate before its step. */
struct optimize_row {
    int64_t epoch; /* from 0 */
    double rate;
    struct optimize_losses losses;
    bool skipped;  /* a loss or gradient was not finite: no step was taken */
    bool restored; /* after too many of those: back to an earlier state, at half the rate
                    */
    bool best;     /* the smallest total so far */
};

struct optimize;

/* Encodes `parents` at height x width (multiples of the VQGAN's factor), takes their
 * embeddings and features, and starts the candidate. Everything on the device is owned by
 * a scope inside `up`. NULL on failure: ERR_USAGE for settings that cannot be, otherwise
 * what the device said. */
struct optimize *optimize_open(tc_scope *up, const struct optimize_networks *networks,
                               const struct optimize_settings *settings, int parent_count,
                               const struct image *parents, int64_t height, int64_t width,
                               const struct progress *progress, struct err *e);

/* Accepts NULL. */
void optimize_close(struct optimize *o);

/* Epochs done, or settings.epochs when it is finished. */
int64_t optimize_epochs_done(const struct optimize *o);

/* One epoch: losses, gradient, step. False on failure; ERR_NONFINITE when losses stayed
 * non-finite at half the rate too: optimize_picture() still gives the best so far. When
 * memory runs out the crops are encoded in ever smaller batches before it gives up.
 * ERR_STOPPED, with the state as it was before, when it takes long and the program is
 * asked to stop meanwhile (base/stop.h). */
bool optimize_epoch(struct optimize *o, struct optimize_row *row, struct err *e);

/* One epoch of up to OPTIMIZE_MAX_TOGETHER cases, computed together: the same, up to
 * rounding, as optimize_epoch() of each. They were opened below one root, with settings
 * that differ in the random seed only. Cases of which optimize_failure() is not NULL,
 * then or before, are left as they are; only other failures make it false. When memory
 * runs out fewer cases are computed at a time. */
bool optimize_epochs(int count, struct optimize *const *cases, struct optimize_row *rows,
                     struct err *e);

/* Why a case has come to an end before its last epoch (ERR_NONFINITE), or NULL. */
const struct err *optimize_failure(const struct optimize *o);

/* Steps that were skipped so far. */
int64_t optimize_skipped(const struct optimize *o);

enum optimize_which { OPTIMIZE_LATEST, OPTIMIZE_BEST };

/* The decoded candidate, or the one with the smallest total so far; where an average is
 * asked for, the average at that time. The caller frees it. */
bool optimize_picture(struct optimize *o, enum optimize_which which,
                      struct image *picture, struct err *e);

/* Makes what OPTIMIZE_LATEST is now OPTIMIZE_BEST, too. */
void optimize_keep_latest(struct optimize *o);

/* Losses on one set of windows, the same for all, that no epoch draws. */
struct optimize_report {
    int parents;
    struct optimize_losses latest, best; /* the candidate */
    struct optimize_losses average;      /* of the parents' pixels, by their shares */
    struct optimize_losses blend;        /* stage_blend() at the layer, by the shares */
    struct optimize_losses reconstruction[OPTIMIZE_MAX_PARENTS]; /* each parent's */
    const char *best_baseline; /* "average", "blend" or "reconstruction" */
    int best_parent;           /* the parent of that reconstruction */
    double lowest_baseline;    /* its total */
};

bool optimize_report(struct optimize *o, struct optimize_report *report, struct err *e);

/* Saves everything that the epochs to come depend on, complete or not at all. A file that
 * was there becomes `path`.previous. `identity` stands for the options and inputs of the
 * run: its hash, say; `text` is whatever the caller wants to find again. */
bool optimize_save(struct optimize *o, const char *path, const char *identity,
                   const struct str *text, struct err *e);

/* Goes on from a saved state of the same identity, after which the epochs give the same
 * numbers as in a run that was not stopped. A damaged file is passed over, with a
 * warning, for `path`.previous. `text` becomes the one that was saved. *found is false,
 * and nothing has changed, where there is neither. */
bool optimize_restore(struct optimize *o, const char *path, const char *identity,
                      struct str *text, bool *found, const struct progress *progress,
                      struct err *e);

#endif
