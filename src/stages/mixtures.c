/* mixtures.c: takes every case through the VQGAN. Leaves the arithmetic to encode.c,
 * blend.c and decode.c. */
#include "stages/mixtures.h"

#include "base/stop.h"
#include "run/record.h"

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
        if (!image_tensor_read(images, n, m, &picture, e))
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

/* One mixture at one layer. A picture that is not finite is recorded as such. */
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
    progress_note(p->run->progress, NOTE_WARNING, "%s", failure.message);
    record_cell_failed(p->run->record, cell, "nonfinite");
    return true;
}

static void skip_case(const struct plan *p, int64_t n)
{
    for (int l = 0; l < p->layer_count; l++)
        for (int k = 0; k < p->mixture_count; k++)
            record_cell_failed(p->run->record, plan_mixture_cell(p, n, l, k),
                               "no parent");
}

static bool is_done(const struct plan *p, int64_t n, int l, int k)
{
    return record_cell_is_done(p->run->record, plan_mixture_cell(p, n, l, k));
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

/* The VQGAN computes in fp32 unless --dtype names another type. */
static enum tc_dtype choose_dtype(const struct plan *p)
{
    enum dtype_mode asked = p->run->options->dtype;
    return asked == DTYPE_FP16 ? TC_F16 : asked == DTYPE_BF16 ? TC_BF16 : TC_F32;
}

bool mixtures_make(struct plan *p, tc_scope *root, const struct image_tensor *images,
                   struct err *e)
{
    bool done = plan_results_are_done(p);
    bool ok = done || vqgan_load(&p->vqgan, root, choose_dtype(p), e);
    for (int64_t n = 0; ok && n < p->cases; n++) {
        report(p, n, 0, NULL);
        plan_announce(p, n);
        if (plan_case_is_done(p, n))
            continue;
        if (plan_has_parents(p, n))
            ok = make_case(p, root, n, images, e);
        else
            skip_case(p, n);
    }
    vqgan_unload(&p->vqgan);
    tc_empty_cache(root);
    return ok;
}
