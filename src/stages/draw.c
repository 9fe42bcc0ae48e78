/* draw.c: draws every case with every diffuser: in batches, with less memory where it
 * runs out, once more in fp32 where numbers break. Leaves the making of one batch to
 * src/diffusion/sampler.c and what is drawn to generate.c. */
#include "stages/generate.h"

#include "base/host_memory.h"
#include "base/stop.h"
#include "base/str.h"
#include "io/read_ahead.h"
#include "models/prompts.h"
#include "run/record.h"
#include "stages/encoded_prompts.h"
#include "stages/parents.h"
#include "stages/relief.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BATCH_MAX 64

/* What has become of a case with the present diffuser. */
enum cell_state { CELL_TO_DRAW = 0, CELL_DONE, CELL_BROKEN };

/* The diffusers at work, one after another. */
struct drawing {
    const struct plan *p;
    tc_scope *root;
    struct image_tensor *images;
    struct relief relief;
    int batch_limit; /* less than BATCH_MAX once memory ran out */
    int m;           /* the present diffuser */
    int evaluations; /* of its UNet for a picture */
    enum tc_dtype dtype;
    struct diffuser_weights weights;
    struct encoded_prompts prompts;
    unsigned char *states; /* of each case: enum cell_state; 0 where it is to be drawn */
    int64_t settled;       /* cases that are no longer CELL_TO_DRAW */
    int count;             /* the present batch */
    bool last;             /* no case is left for another */
    int64_t cases[BATCH_MAX];
    struct sampler_picture pictures[BATCH_MAX];
};

static enum tc_dtype choose_dtype(const struct plan *p, const tc_scope *root)
{
    switch (p->run->options->dtype) {
    case DTYPE_FP16:
        return TC_F16;
    case DTYPE_BF16:
        return TC_BF16;
    case DTYPE_FP32:
        return TC_F32;
    case DTYPE_AUTO:
        break;
    }
    return tc_is_cpu(root) ? TC_F32 : TC_F16;
}

/* Half the free memory, at what a UNet's widest activations take by experience: some
 * forty of them per picture, twice under guidance. */
static int choose_batch(const struct drawing *d)
{
    const struct plan *p = d->p;
    if (p->run->options->batch > 0)
        return p->run->options->batch;
    const struct diffuser *diffuser = &p->diffusers[d->m];
    int64_t factor = diffuser_factor(diffuser);
    int64_t positions = (p->height / factor) * (p->width / factor);
    int64_t size = (int64_t)tc_dtype_size(d->dtype);
    int64_t picture = 2 * 40 * size * positions * diffuser->unet.block_out_channels[0];
    int64_t fits = tc_memory_stats(d->root).free / 2 / picture;
    int most = tc_is_cpu(d->root) ? 8 : 16; /* more gains nothing in speed */
    return fits < 1 ? 1 : fits < most ? (int)fits : most;
}

static void report_loading(const struct drawing *d)
{
    const struct plan *p = d->p;
    progress_at(p->run->progress,
                &(struct progress_at){.stage = "generate",
                                      .model = p->model_names[d->m],
                                      .steps = d->evaluations,
                                      .done = (int64_t)d->m * p->cases + d->settled,
                                      .total = (int64_t)p->models * p->cases,
                                      .detail = "loading"});
}

static void report_step(void *user, int done, int total)
{
    const struct drawing *d = user;
    const struct plan *p = d->p;
    progress_at(p->run->progress,
                &(struct progress_at){.stage = "generate",
                                      .model = p->model_names[d->m],
                                      .cell = p->case_names[d->cases[0]],
                                      .cells = d->count,
                                      .step = done,
                                      .steps = total,
                                      .done = (int64_t)d->m * p->cases + d->settled,
                                      .total = (int64_t)p->models * p->cases,
                                      .unit = "images",
                                      .units = 1,
                                      .memory = tc_memory_stats(d->root).live});
}

static double seconds_since(const struct timespec *start)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - start->tv_sec) +
           1e-9 * (double)(now.tv_nsec - start->tv_nsec);
}

static bool sample(struct drawing *d, struct err *e)
{
    const struct plan *p = d->p;
    struct sampler_settings settings = generate_settings(p);
    settings.last = d->last;
    struct sampler_cell cells[BATCH_MAX];
    memset(d->pictures, 0, sizeof d->pictures);
    tc_scope *s = tc_push(d->root);
    tc_context(s, "%s", p->model_names[d->m]);
    bool ok = true;
    for (int i = 0; ok && i < d->count; i++) {
        int64_t n = d->cases[i];
        cells[i].noise_seed = generate_noise_seed(p, n, d->m);
        ok = encoded_prompts_of(&d->prompts, s, p, n, d->m, &d->weights, &cells[i], e);
    }
    ok = ok && sampler_run(d->root, &d->weights, &settings, cells, d->count, report_step,
                           d, d->pictures, e);
    tc_pop(s, NULL);
    return ok;
}

/* A picture that is finite is published; the others are broken. */
static bool settle(struct drawing *d, int i, double seconds, struct err *e)
{
    const struct plan *p = d->p;
    int64_t n = d->cases[i];
    const struct sampler_picture *picture = &d->pictures[i];
    if (picture->upcast)
        progress_note(p->run->progress, NOTE_DETAIL,
                      "case %s, %s: the VAE overflowed: decoded in fp32",
                      STR_SHOW(p->case_names[n]), p->model_names[d->m]);
    if (picture->finite &&
        !parents_publish(p, n, d->m, &picture->image, seconds, d->images, e))
        return false;
    d->states[n] = picture->finite ? CELL_DONE : CELL_BROKEN;
    d->settled++;
    return true;
}

/* The present batch, drawn and published. What went wrong in it is in `e`: a picture that
 * cannot be written before a lack of memory, for which there are remedies. */
static bool draw_batch(struct drawing *d, struct err *e)
{
    struct timespec start;
    clock_gettime(CLOCK_MONOTONIC, &start);
    struct err unsampled = {0};
    bool sampled = sample(d, &unsampled), ok = true;
    double seconds = seconds_since(&start) / d->count;
    for (int i = 0; i < d->count; i++) {
        /* Elsewhere a batch is whole or not at all: so it is made up alike by --resume.
         */
        if (sampled || (unsampled.code == ERR_MEMORY && d->pictures[i].image.rgb))
            ok = ok && settle(d, i, seconds, e);
        image_free(&d->pictures[i].image);
    }
    return ok && (sampled || err_from(e, &unsampled, NULL));
}

/* The next cases to draw, from *n on, which moves; false when there are none. */
static bool take_batch(struct drawing *d, int most, int64_t *n)
{
    if (most > d->batch_limit)
        most = d->batch_limit;
    for (d->count = 0; d->count < most && *n < d->p->cases; ++*n)
        if (d->states[*n] == CELL_TO_DRAW)
            d->cases[d->count++] = *n;
    d->last = true;
    for (int64_t after = *n; d->last && after < d->p->cases; after++)
        d->last = d->states[after] != CELL_TO_DRAW;
    return d->count > 0;
}

/* Memory that runs out */

static void use_one_part(struct drawing *d)
{
    progress_note(d->p->run->progress, NOTE_WARNING,
                  "out of memory: one part of %s at a time, which is slower",
                  d->p->model_names[d->m]);
    diffuser_keep_one_part(&d->weights);
}

/* What comes first: the prompts, then the UNet. The VAE follows with the first picture.
 */
static bool begin(struct drawing *d, struct err *e)
{
    return encoded_prompts_make(&d->prompts, d->p, d->m, d->states, &d->weights, e) &&
           diffuser_need(&d->weights, PART_UNET, e);
}

static bool load(struct drawing *d, struct err *e)
{
    struct err failure = {0};
    d->weights = diffuser_weights_new(d->root, &d->p->diffusers[d->m], d->dtype);
    while (!begin(d, &failure)) {
        if (!relief_empty_cache(&d->relief, &failure)) {
            if (failure.code != ERR_MEMORY || d->weights.one_part) {
                *e = failure;
                return relief_hint(e);
            }
            use_one_part(d);
        }
        failure = (struct err){0};
    }
    return true;
}

/* The next remedy, the mildest first, after which the batch is tried again. False when
 * there is none left, or `failure` is another. */
static bool relieve(struct drawing *d, const struct err *failure)
{
    if (relief_empty_cache(&d->relief, failure))
        return true;
    if (failure->code != ERR_MEMORY)
        return false;
    if (d->count > 1) {
        d->batch_limit = d->count / 2;
        progress_note(d->p->run->progress, NOTE_WARNING,
                      "out of memory: batches of %d from now on", d->batch_limit);
    } else if (!relief_slice(&d->relief)) {
        if (d->weights.one_part)
            return false;
        use_one_part(d);
    }
    return true;
}

static bool draw_cases(struct drawing *d, struct err *e)
{
    int most = choose_batch(d);
    for (int64_t n = 0; take_batch(d, most, &n);) {
        if (!stop_check(e))
            return false;
        struct err failure = {0};
        if (draw_batch(d, &failure)) {
            relief_worked(&d->relief);
        } else if (relieve(d, &failure)) {
            n = d->cases[0];
        } else {
            *e = failure;
            return relief_hint(e);
        }
    }
    return true;
}

/* Numbers that break */

/* Broken cases are to be drawn again; returns how many there are. */
static int64_t return_broken(struct drawing *d)
{
    int64_t count = 0;
    for (int64_t n = 0; n < d->p->cases; n++) {
        if (d->states[n] == CELL_BROKEN) {
            d->states[n] = CELL_TO_DRAW;
            count++;
        }
    }
    d->settled -= count;
    return count;
}

static void give_up_broken(struct drawing *d)
{
    const struct plan *p = d->p;
    for (int64_t n = 0; n < p->cases; n++) {
        if (d->states[n] != CELL_BROKEN)
            continue;
        progress_note(p->run->progress, NOTE_WARNING,
                      "case %s, %s: not finite in fp32: left out",
                      STR_SHOW(p->case_names[n]), p->model_names[d->m]);
        record_cell_failed(p->run->record, plan_parent_cell(p, n, d->m), "nonfinite");
    }
}

/* What comes after the present diffuser: the next one, else the networks that mix. Half
 * of the memory is left for the present one's activations. */
static struct read_ahead *read_next_ahead(const struct drawing *d)
{
    const struct plan *p = d->p;
    const struct tensor_file *files[4];
    int m = d->m + 1, count = 0;
    while (m < p->models && plan_model_is_done(p, m))
        m++;
    if (m < p->models) {
        count = diffuser_files(&p->diffusers[m], files);
    } else {
        files[count++] = &p->vqgan.network.file;
        files[count++] = &p->clip.network.file;
        files[count++] = &p->perceptual.vgg_network.file;
        files[count++] = &p->perceptual.heads_network.file;
    }
    return read_ahead_begin(files, count, host_memory_read("").available / 2);
}

static bool draw_in(struct drawing *d, enum tc_dtype dtype, struct err *e)
{
    d->dtype = dtype;
    report_loading(d);
    bool ok = load(d, e);
    struct read_ahead *ahead = ok ? read_next_ahead(d) : NULL;
    ok = ok && draw_cases(d, e);
    read_ahead_end(ahead);
    encoded_prompts_free(&d->prompts);
    diffuser_unload(&d->weights);
    tc_empty_cache(d->root);
    return ok;
}

/* One diffuser: what breaks in a short type is drawn once more in fp32. */
static bool draw_model(struct drawing *d, enum tc_dtype dtype, struct err *e)
{
    plan_announce_parents(d->p, d->m);
    if (plan_model_is_done(d->p, d->m))
        return true;
    if (!generate_count_evaluations(d->p, &d->p->diffusers[d->m], &d->evaluations, e))
        return false;
    d->settled = 0;
    for (int64_t n = 0; n < d->p->cases; n++) {
        bool done =
            record_cell_is_done(d->p->run->record, plan_parent_cell(d->p, n, d->m));
        d->states[n] = done ? CELL_DONE : CELL_TO_DRAW;
        d->settled += done;
    }
    if (!draw_in(d, dtype, e))
        return false;
    int64_t broken = dtype == TC_F32 ? 0 : return_broken(d);
    if (broken > 0) {
        progress_note(d->p->run->progress, NOTE_WARNING,
                      "%s: %lld of %lld pictures not finite in %s: drawn again in fp32",
                      d->p->model_names[d->m], (long long)broken, (long long)d->p->cases,
                      dtype == TC_F16 ? "fp16" : "bf16");
        if (!draw_in(d, TC_F32, e))
            return false;
    }
    give_up_broken(d);
    return true;
}

bool generate_parents(const struct plan *p, tc_scope *root, struct image_tensor *images,
                      struct err *e)
{
    struct drawing d = {.p = p,
                        .root = root,
                        .images = images,
                        .relief = {.root = root, .progress = p->run->progress},
                        .batch_limit = BATCH_MAX,
                        .states = malloc((size_t)p->cases)};
    bool ok = d.states || err_set(e, ERR_MEMORY, "no host memory for %lld cases",
                                  (long long)p->cases);
    for (; ok && d.m < p->models; d.m++)
        ok = draw_model(&d, choose_dtype(p, root), e);
    free(d.states);
    return ok;
}
