/* generate.c: opens the diffusers of a run and checks all that they are to draw, before
 * anything is on the device. Leaves the drawing to draw.c. */
#include "stages/generate.h"

#include "base/str.h"
#include "diffusion/diffuser.h"
#include "models/ensemble.h"
#include "models/prompts.h"

#include <stdlib.h>

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
    p->total = p->run->prompts->total;
    p->case_names = (const char *const *)p->run->prompts->names;
    for (; p->models < s->count; p->models++) {
        const struct ensemble_diffuser *d = &s->diffusers[p->models];
        p->model_names[p->models] = d->name;
        p->diffusers[p->models].tokenizer_folder = s->tokenizer.path;
        p->diffusers[p->models].prediction = d->prediction;
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

struct sampler_settings generate_settings(const struct plan *p)
{
    const struct options *o = p->run->options;
    return (struct sampler_settings){.steps = o->steps,
                                     .guidance = o->guidance,
                                     .guided_from = o->guidance_interval.from,
                                     .guided_to = o->guidance_interval.to,
                                     .cache_interval = o->cache_interval,
                                     .height = p->height,
                                     .width = p->width};
}

bool generate_count_evaluations(const struct plan *p, const struct diffuser *d,
                                int *count, struct err *e)
{
    struct scheduler *scheduler =
        scheduler_new(d->shapes, &d->scheduler, p->run->options->steps, e);
    *count = scheduler ? scheduler_evaluations(scheduler) : 0;
    scheduler_free(scheduler);
    return *count > 0;
}

uint64_t generate_noise_seed(const struct plan *p, int64_t index_case, int index_model)
{
    return prompts_noise_seed(p->run->prompts, index_case,
                              p->run->options->noise == NOISE_INDEPENDENT,
                              p->run->ensemble->diffusers[index_model].index);
}
