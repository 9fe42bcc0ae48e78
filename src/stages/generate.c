/* generate.c: prompts to image tensor, one diffuser on the device at a time. Leaves the
 * making of one batch to src/diffusion/sampler.c. */
#include "stages/generate.h"

#include "base/stop.h"
#include "base/str.h"
#include "diffusion/sampler.h"
#include "models/ensemble.h"
#include "models/prompts.h"
#include "run/record.h"
#include "stages/parents.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BATCH_MAX 64

/* Before anything is on the device */

/* Warns of what a diffuser will not see of a prompt. */
static bool check_prompt(const struct plan *p, int64_t n, int m, const char *prompt,
                         struct err *e)
{
    const struct tokenizer *t = p->diffusers[m].tokenizer;
    int length = tokenizer_max_length(t);
    int64_t *ids = calloc((size_t)length, sizeof *ids);
    struct token_info info = {0};
    if (!ids)
        return err_set(e, ERR_MEMORY, "no host memory for %d tokens", length);
    bool ok = tokenizer_encode(t, prompt, ids, length, &info, e);
    if (ok && info.dropped) {
        if (p->run->options->strict_tokens)
            ok = err_set(e, ERR_INPUT,
                         "case %s: prompt for %s: found %zu tokens, expected at "
                         "most %d: \"%s\" does not fit",
                         p->case_names[n], p->model_names[m], info.count, length - 2,
                         STR_SHOW(info.dropped));
        else
            progress_note(
                p->run->progress, NOTE_WARNING,
                "case %s: prompt for %s: %zu tokens, at most %d fit; cut: \"%s\"",
                p->case_names[n], p->model_names[m], info.count, length - 2,
                STR_SHOW(info.dropped));
    }
    free(info.dropped);
    free(ids);
    return ok;
}

static bool check_prompts(const struct plan *p, struct err *e)
{
    const struct prompts *prompts = p->run->prompts;
    for (int64_t n = 0; n < p->cases; n++)
        for (int m = 0; m < p->models; m++)
            if (!check_prompt(p, n, m, prompts_text(prompts, n, m), e) ||
                !check_prompt(p, n, m, prompts->negative[n], e))
                return false;
    return true;
}

/* --size, or the models' own size, on which they must agree. */
static bool choose_size(struct plan *p, struct err *e)
{
    const struct option_size *asked = &p->run->options->size;
    for (int m = 0; m < p->models; m++) {
        const struct diffuser *d = &p->diffusers[m];
        int64_t factor = diffuser_factor(d), own = d->unet.sample_size * factor;
        if (asked->height % factor != 0 || asked->width % factor != 0)
            return err_set(e, ERR_USAGE,
                           "--size: found %dx%d, expected multiples of %lld for "
                           "%s",
                           asked->height, asked->width, (long long)factor, d->name);
        if (asked->height == 0 && m > 0 && own != p->height)
            return err_set(e, ERR_USAGE,
                           "--size: found models that draw %lld x %lld (%s) and "
                           "%lld x %lld (%s), expected a size for all",
                           (long long)p->height, (long long)p->width,
                           p->diffusers[0].name, (long long)own, (long long)own, d->name);
        p->height = asked->height ? asked->height : own;
        p->width = asked->width ? asked->width : own;
    }
    return true;
}

bool generate_open(struct plan *p, struct err *e)
{
    const struct ensemble *s = p->run->ensemble;
    p->diffusers = calloc((size_t)s->count, sizeof *p->diffusers);
    if (!p->diffusers)
        return err_set(e, ERR_MEMORY, "no host memory for %d diffusers", s->count);
    p->cases = p->run->prompts->cases;
    p->case_names = (const char *const *)p->run->prompts->names;
    for (; p->models < s->count; p->models++) {
        const struct ensemble_diffuser *d = &s->diffusers[p->models];
        p->model_names[p->models] = d->name;
        if (!diffuser_open(&p->diffusers[p->models], d->name, d->path,
                           p->run->options->scheduler, p->run->progress, e))
            return false;
    }
    return choose_size(p, e) && check_prompts(p, e);
}

void generate_close(struct plan *p)
{
    for (int m = 0; p->diffusers && m < p->models; m++)
        diffuser_close(&p->diffusers[m]);
    free(p->diffusers);
    p->diffusers = NULL;
}

uint64_t generate_noise_seed(const struct plan *p, int64_t index_case, int index_model)
{
    return prompts_noise_seed(p->run->prompts, index_case,
                              p->run->options->noise == NOISE_INDEPENDENT,
                              p->run->ensemble->diffusers[index_model].index);
}

/* Drawing */

/* One diffuser at work. */
struct drawing {
    const struct plan *p;
    int m;
    tc_scope *root;
    struct diffuser_weights weights;
    struct image_tensor *images;
    int64_t n; /* first case of the present batch */
    int count; /* its size */
    struct image pictures[BATCH_MAX];
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
static int choose_batch(const struct plan *p, int m, const tc_scope *root)
{
    if (p->run->options->batch > 0)
        return p->run->options->batch < BATCH_MAX ? p->run->options->batch : BATCH_MAX;
    const struct diffuser *d = &p->diffusers[m];
    int64_t factor = diffuser_factor(d);
    int64_t positions = (p->height / factor) * (p->width / factor);
    int64_t picture = 2 * 40 * 4 * positions * d->unet.block_out_channels[0];
    int64_t fits = tc_memory_stats(root).free / 2 / picture;
    int most = tc_is_cpu(root) ? 8 : 16; /* more gains nothing in speed */
    return fits < 1 ? 1 : fits < most ? (int)fits : most;
}

static void report_loading(const struct drawing *d)
{
    const struct plan *p = d->p;
    progress_at(p->run->progress,
                &(struct progress_at){.stage = "generate",
                                      .model = p->model_names[d->m],
                                      .steps = p->run->options->steps,
                                      .done = (int64_t)d->m * p->cases,
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
                                      .cell = p->case_names[d->n],
                                      .cells = d->count,
                                      .step = done,
                                      .steps = total,
                                      .done = (int64_t)d->m * p->cases + d->n,
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
    struct sampler_cell cells[BATCH_MAX];
    for (int i = 0; i < d->count; i++)
        cells[i] = (struct sampler_cell){
            .prompt = prompts_text(p->run->prompts, d->n + i, d->m),
            .negative = p->run->prompts->negative[d->n + i],
            .noise_seed = generate_noise_seed(p, d->n + i, d->m),
        };
    struct sampler_settings settings = {.steps = p->run->options->steps,
                                        .guidance = p->run->options->guidance,
                                        .height = p->height,
                                        .width = p->width};
    return sampler_run(d->root, &p->diffusers[d->m], &d->weights, &settings, cells,
                       d->count, report_step, d, d->pictures, e);
}

static void free_pictures(struct drawing *d)
{
    for (int i = 0; i < d->count; i++)
        image_free(&d->pictures[i]);
}

/* One batch, drawn and published. What went wrong in it is in `e`. */
static bool draw_batch(struct drawing *d, struct err *e)
{
    struct timespec start;
    clock_gettime(CLOCK_MONOTONIC, &start);
    bool ok = sample(d, e);
    double seconds = seconds_since(&start) / d->count;
    for (int i = 0; ok && i < d->count; i++)
        ok =
            parents_publish(d->p, d->n + i, d->m, &d->pictures[i], seconds, d->images, e);
    free_pictures(d);
    return ok;
}

static bool is_done(const struct plan *p, int64_t n, int m)
{
    return record_cell_is_done(p->run->record, plan_parent_cell(p, n, m));
}

/* Cases from the present one on, up to the next that a run before this one has made. */
static int64_t left_to_draw(const struct drawing *d)
{
    int64_t n = d->n;
    while (n < d->p->cases && !is_done(d->p, n, d->m))
        n++;
    return n - d->n;
}

/* All cases, with smaller batches where memory is short; a batch in which a picture is
 * not finite is drawn one by one, to find which. */
static bool draw_cases(struct drawing *d, struct err *e)
{
    const struct plan *p = d->p;
    int batch = choose_batch(p, d->m, d->root), retry = 0;
    for (d->n = 0; d->n < p->cases;) {
        if (!stop_check(e))
            return false;
        if (is_done(p, d->n, d->m)) {
            d->n++;
            continue;
        }
        int64_t left = left_to_draw(d);
        d->count = retry > 0 ? 1 : left < batch ? (int)left : batch;
        struct err failure = {0};
        if (draw_batch(d, &failure)) {
            d->n += d->count;
            retry -= retry > 0;
            continue;
        }
        bool memory = failure.code == ERR_MEMORY && d->count > 1;
        bool nonfinite = failure.code == ERR_NONFINITE;
        if (!memory && !nonfinite) {
            *e = failure;
            return false;
        }
        tc_recover(d->root);
        tc_empty_cache(d->root);
        if (memory) {
            batch = d->count / 2;
            progress_note(p->run->progress, NOTE_WARNING,
                          "out of memory: batches of %d from "
                          "now on",
                          batch);
        } else if (d->count > 1) {
            retry = d->count;
        } else {
            progress_note(p->run->progress, NOTE_WARNING, "case %s: %s",
                          p->case_names[d->n], failure.message);
            record_cell_failed(p->run->record, plan_parent_cell(p, d->n, d->m),
                               "nonfinite");
            d->n++;
            retry -= retry > 0;
        }
    }
    return true;
}

bool generate_parents(const struct plan *p, tc_scope *root, struct image_tensor *images,
                      struct err *e)
{
    enum tc_dtype dtype = choose_dtype(p, root);
    for (int m = 0; m < p->models; m++) {
        struct drawing d = {.p = p, .m = m, .root = root, .images = images};
        plan_announce_parents(p, m);
        if (plan_model_is_done(p, m))
            continue;
        report_loading(&d);
        bool ok = diffuser_load(&d.weights, root, &p->diffusers[m], dtype, e) &&
                  draw_cases(&d, e);
        diffuser_unload(&d.weights);
        tc_empty_cache(root);
        if (!ok)
            return false;
    }
    return true;
}
