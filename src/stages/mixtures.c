/* mixtures.c: takes every case through the VQGAN. Leaves the arithmetic to encode.c,
 * blend.c and decode.c. */
#include "stages/mixtures.h"

#include "base/stop.h"
#include "run/record.h"
#include "stages/relief.h"

#include <string.h>
#include <time.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* A case goes through the VQGAN once for each parent and each mixture. */
static void report(const struct plan *p, int64_t n, int passed, const char *detail)
{
    progress_at(p->run->progress, &(struct progress_at){.stage = "blend",
                                                        .cell = p->case_names[n],
                                                        .step = passed,
                                                        .steps = p->models + p->results,
                                                        .done = n,
                                                        .total = p->cases,
                                                        .unit = "pictures",
                                                        .units = p->results,
                                                        .detail = detail});
}

static bool encode_parents(const struct plan *p, tc_scope *s, int64_t n,
                           const struct image_tensor *images, struct latents *parents,
                           struct err *e)
{
    for (int m = 0; m < p->models; m++) {
        struct image picture = {0};
        if (!stop_check(e) || !image_tensor_read(images, n, m, &picture, e))
            return false;
        parents[m] = stage_encode(s, &p->vqgan, &picture, p->vq_height, p->vq_width);
        image_free(&picture);
        report(p, n, m + 1, p->model_names[m]);
    }
    return tc_check(s, e);
}

static bool publish(const struct plan *p, int cell, const struct image *picture,
                    double seconds, struct err *e)
{
    struct record *r = p->run->record;
    const struct image_text *texts;
    int count = record_cell_texts(r, cell, &texts, e);
    bool ok = count > 0 &&
              image_write_png(picture, record_cell_path(r, cell), texts, count, e) &&
              record_cell_done(r, cell, NULL, seconds, e);
    if (ok)
        progress_made(p->run->progress, record_cell_path(r, cell));
    return ok;
}

/* One mixture at one layer. A picture that is not finite in fp32 is recorded as such; one
 * that is not in a shorter type is left to be made again. */
static bool make_one(const struct plan *p, tc_scope *up, int64_t n, int l, int k,
                     const struct latents *parents, struct err *e)
{
    tc_scope *s = tc_push(up);
    double start = now();
    int cell = plan_mixture_cell(p, n, l, k);
    struct image picture = {0};
    struct err failure = {0};
    tc_context(s, "case %s, %s %s", p->case_names[n], plan_layer_name(p->layers[l]),
               p->mixtures[k].name);
    tc_tensor *z =
        stage_blend(s, &p->vqgan, p->layers[l], p->models, p->mixtures[k].shares, parents,
                    p->run->options->requantize);
    bool ok = stage_decode(s, &p->vqgan, z, &picture, &failure) &&
              publish(p, cell, &picture, now() - start, &failure);
    image_free(&picture);
    tc_pop(s, NULL);
    if (ok)
        return true;
    if (failure.code != ERR_NONFINITE) {
        *e = failure;
        return false;
    }
    tc_recover(up);
    if (p->vqgan.dtype == TC_F32) {
        progress_note(p->run->progress, NOTE_WARNING, "%s", failure.message);
        record_cell_failed(p->run->record, cell, "nonfinite");
    }
    return true;
}

static bool is_done(const struct plan *p, int64_t n, int l, int k)
{
    return record_cell_is_done(p->run->record, plan_mixture_cell(p, n, l, k));
}

static void skip_case(const struct plan *p, int64_t n)
{
    for (int l = 0; l < p->layer_count; l++)
        for (int k = 0; k < p->mixture_count; k++)
            record_cell_failed(p->run->record, plan_mixture_cell(p, n, l, k),
                               "no parent");
}

static bool make_case(const struct plan *p, tc_scope *root, int64_t n,
                      const struct image_tensor *images, struct err *e)
{
    struct latents parents[OPTIONS_MAX_MODELS];
    tc_scope *s = tc_push(root);
    bool ok = encode_parents(p, s, n, images, parents, e);
    for (int l = 0; ok && l < p->layer_count; l++)
        for (int k = 0; ok && k < p->mixture_count; k++) {
            ok = stop_check(e) &&
                 (is_done(p, n, l, k) || make_one(p, s, n, l, k, parents, e));
            report(p, n, p->models + l * p->mixture_count + k + 1, p->mixtures[k].label);
        }
    tc_pop(s, NULL);
    return ok;
}

/* The same, tried again in other ways while memory runs out. */
static bool make_case_in_memory(const struct plan *p, struct relief *relief, int64_t n,
                                const struct image_tensor *images, struct err *e)
{
    struct err failure = {0};
    while (!make_case(p, relief->root, n, images, &failure)) {
        if (!relief_try(relief, &failure)) {
            *e = failure;
            return relief_hint(e);
        }
        failure = (struct err){0};
    }
    relief_worked(relief);
    return true;
}

/* The VQGAN computes in fp32 unless --dtype names another type. */
static enum tc_dtype choose_dtype(const struct plan *p)
{
    enum dtype_mode asked = p->run->options->dtype;
    return asked == DTYPE_FP16 ? TC_F16 : asked == DTYPE_BF16 ? TC_BF16 : TC_F32;
}

static bool load(struct plan *p, struct relief *relief, enum tc_dtype dtype,
                 struct err *e)
{
    struct err failure = {0};
    while (!vqgan_load(&p->vqgan, relief->root, dtype, &failure)) {
        if (!relief_empty_cache(relief, &failure)) {
            *e = failure;
            return relief_hint(e);
        }
        failure = (struct err){0};
    }
    return true;
}

static bool make_all(struct plan *p, struct relief *relief,
                     const struct image_tensor *images, enum tc_dtype dtype, bool again,
                     struct err *e)
{
    bool ok = plan_results_are_done(p) || load(p, relief, dtype, e);
    for (int64_t n = 0; ok && n < p->cases; n++) {
        report(p, n, 0, NULL);
        if (!again)
            plan_announce(p, n);
        if (plan_case_is_done(p, n))
            continue;
        if (plan_has_parents(p, n))
            ok = make_case_in_memory(p, relief, n, images, e);
        else
            skip_case(p, n);
    }
    vqgan_unload(&p->vqgan);
    tc_empty_cache(relief->root);
    return ok;
}

/* Mixtures whose parents are there and that are not. */
static int count_missing(const struct plan *p)
{
    int missing = 0;
    for (int64_t n = 0; n < p->cases; n++)
        for (int l = 0; l < p->layer_count && plan_has_parents(p, n); l++)
            for (int k = 0; k < p->mixture_count; k++)
                missing += !is_done(p, n, l, k);
    return missing;
}

bool mixtures_make(struct plan *p, tc_scope *root, const struct image_tensor *images,
                   struct err *e)
{
    struct relief relief = {.root = root, .progress = p->run->progress};
    enum tc_dtype dtype = choose_dtype(p);
    if (!make_all(p, &relief, images, dtype, false, e))
        return false;
    int missing = dtype == TC_F32 ? 0 : count_missing(p);
    if (missing == 0)
        return true;
    progress_note(p->run->progress, NOTE_WARNING,
                  "%d of %d mixtures not finite in %s: made again in fp32", missing,
                  p->results * (int)p->cases, dtype == TC_F16 ? "fp16" : "bf16");
    return make_all(p, &relief, images, TC_F32, true, e);
}
