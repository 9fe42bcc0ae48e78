/* stages.h: the stages of a run and what passes between them:
 *
 *   prompts -> generate -> image tensor -> encode -> latents -> blend -> decode ->
 * picture
 *
 * Knows networks by their loaded forms; leaves files of the run to src/run and the
 * command line to src/cli. */
#ifndef DIFFENS_STAGES_H
#define DIFFENS_STAGES_H

#include "diffens/image.h"
#include "diffens/options.h"
#include "diffens/progress.h"
#include "diffens/tc.h"

struct ensemble;
struct prompts;
struct record;
struct vqgan;

/* One run: what is asked for, resolved. Filled and owned by src/cli. */
struct run {
    const struct options *options;
    const struct progress *progress;
    const struct ensemble *ensemble; /* its diffusers are those of the run, in order */
    const struct prompts *prompts;   /* NULL with --images */
    struct record *record;           /* open, nothing planned yet */
    const struct err *unwritable;    /* why nothing can be written to its directory, in
                                        which only a finished run is confirmed; or NULL */
};

/* Does all that is asked for: plans, opens the device, makes parents, mixtures and the
 * figure, completes the record. Cells whose picture is not made of finite numbers are
 * left out and recorded; the others are made. */
bool pipeline_run(const struct run *run, struct err *e);

/* What one parent is at each layer: E(x), C(E(x)), Q(C(E(x))); [1,C,h,w]. */
struct latents {
    tc_tensor *at[LAYER_COUNT];
};

/* Bytes [H,W,3] -> [1,3,height,width] in [-1,1], in f32: resized (bicubic, antialiased)
 * where the size differs. */
tc_tensor *stage_picture(tc_scope *s, const struct image *picture, int64_t height,
                         int64_t width);

/* Resizes a parent to height x width (bicubic, antialiased), maps [0,255] to [-1,1] and
 * encodes it. The latents are owned by `s`. */
struct latents stage_encode(tc_scope *s, const struct vqgan *v,
                            const struct image *parent, int64_t height, int64_t width);

/* sum_m shares[m] * parents[m] at `layer`, taken from there through the codebook; a
 * mix at postquant once more where `requantize` -> `postquant` latent [1,C,h,w]. A parent
 * of weight 1 among zeros and a mix of equal parents with shares that add up to 1 come
 * out unchanged, bit for bit. */
tc_tensor *stage_blend(tc_scope *s, const struct vqgan *v, enum layer layer, int count,
                       const double *shares, const struct latents *parents,
                       bool requantize);

/* D(P(z)) -> `picture`, clamped, then rounded; the caller frees it. ERR_NONFINITE when it
 * is not made of finite numbers. */
bool stage_decode(tc_scope *s, const struct vqgan *v, tc_tensor *z, struct image *picture,
                  struct err *e);

#endif
