/* plan_optimize.c: the settings and networks of an optimisation, from options to what
 * optimize.h takes. Leaves the VQGAN and sizes to plan.c. */
#include "stages/plan_internal.h"

#include "base/str.h"
#include "io/file.h"
#include "models/ensemble.h"
#include "models/prompts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_PREVIEWS 10000 /* a case */

uint64_t plan_case_seed(const struct plan *p, int64_t index_case)
{
    if (p->run->prompts)
        return prompts_noise_seed(p->run->prompts, index_case, false, 0);
    return p->run->options->random_seed + (uint64_t)plan_whole_index(p, index_case);
}

int plan_preview_epoch(const struct plan *p, int result)
{
    return (result - RESULT_PREVIEW) * p->run->options->optimize.save_every;
}

const char *plan_losses_file(const struct plan *p, int64_t index_case, char *out,
                             size_t size)
{
    snprintf(out, size, "optimize/%s_losses.csv", p->case_names[index_case]);
    return out;
}

/* A word, or the path of an image. */
static bool choose_seed(struct plan *p, struct err *e)
{
    static const char *const words[] = {"noise", "gaussian", "input"};
    const char *seed = p->run->options->optimize.seed;
    for (int i = 0; i < SEED_FILE; i++) {
        if (strcmp(words[i], seed) == 0) {
            p->settings.seed = (enum optimize_seed)i;
            return true;
        }
    }
    p->settings.seed = SEED_FILE;
    if (image_read(&p->seed_image, seed, NULL, e) &&
        file_sha256(seed, p->seed_sha256, e)) {
        p->settings.seed_image = &p->seed_image;
        return true;
    }
    return file_hint_missing(
        seed, "--seed takes noise, gaussian, input or the path of an image", e);
}

static bool choose_perceptual(struct plan *p, struct err *e)
{
    const char *asked = p->run->options->optimize.perceptual;
    bool heads = p->perceptual.has_heads;
    if (asked && strcmp(asked, "lpips") == 0 && !heads)
        return err_set(e, ERR_USAGE,
                       "--perceptual: found lpips, expected l2: the perceptual network "
                       "of ensemble %s has no LPIPS heads",
                       STR_SHOW(p->run->ensemble->name));
    bool lpips = asked ? strcmp(asked, "lpips") == 0 : heads;
    p->settings.perceptual = lpips ? PERCEPTUAL_LPIPS : PERCEPTUAL_L2;
    return true;
}

static bool choose_shares(struct plan *p, struct err *e)
{
    const struct options *o = p->run->options;
    double *shares = p->settings.shares, sum = 0;
    bool paper = o->optimize.preset && strcmp(o->optimize.preset, "paper") == 0;
    p->settings.share_count = p->models;
    for (int m = 0; m < p->models; m++)
        shares[m] = paper ? 1 : ensemble_weight(p->run->ensemble, p->model_names[m]);
    for (int m = 0; m < p->models; m++)
        sum += shares[m];
    for (int m = 0; m < p->models; m++)
        shares[m] /= sum;
    return o->weights.count == 0 || plan_shares(p, &o->weights.set[0], shares, e);
}

static bool choose_settings(struct plan *p, struct err *e)
{
    const struct option_optimize *o = &p->run->options->optimize;
    struct optimize_settings *t = &p->settings;
    *t = optimize_defaults();
    t->epochs = o->epochs;
    t->rate = o->rate;
    t->decay = o->decay;
    t->decay_every = o->decay_every;
    t->clip_weight = o->clip_weight;
    t->perceptual_weight = o->perceptual_weight;
    t->layer = o->layer;
    t->pairing = o->pairing;
    t->distance = o->distance;
    t->crop_batch = o->crop_batch;
    t->augment = o->augment;
    t->tv_weight = o->tv_weight;
    t->average = o->average;
    if (t->clip_weight == 0 && t->perceptual_weight == 0)
        return err_set(e, ERR_USAGE,
                       "found --clip-weight 0 and --perceptual-weight 0, expected one of "
                       "them above 0");
    return crop_spec_parse(&t->crops, o->crops, e) && choose_seed(p, e) &&
           choose_perceptual(p, e) && choose_shares(p, e);
}

/* The final and the best picture, and those of every so many epochs, the start first. */
static bool choose_results(struct plan *p, struct err *e)
{
    const struct option_optimize *o = &p->run->options->optimize;
    int previews = o->save_every > 0 ? (o->epochs - 1) / o->save_every + 1 : 0;
    p->results = RESULT_PREVIEW + previews;
    return previews <= MAX_PREVIEWS ||
           err_set(e, ERR_USAGE,
                   "--save-every: found %d, expected at least %d for %d epochs, or 0: "
                   "more than %d previews a case",
                   o->save_every, (o->epochs - 1) / MAX_PREVIEWS + 1, o->epochs,
                   MAX_PREVIEWS);
}

bool plan_optimize(struct plan *p, struct err *e)
{
    const struct ensemble *s = p->run->ensemble;
    if (p->models > OPTIMIZE_MAX_PARENTS) {
        err_set(e, ERR_USAGE, "optimize: found %d models, expected 1..%d", p->models,
                OPTIMIZE_MAX_PARENTS);
        return err_hint(e, "choose some with --models");
    }
    if (!clip_open(&p->clip, s->clip.path, p->run->progress, e) ||
        !perceptual_open(&p->perceptual, s->perceptual.path, p->run->progress, e) ||
        !choose_settings(p, e) || !choose_results(p, e))
        return false;
    p->outcomes = calloc((size_t)p->cases, sizeof *p->outcomes);
    return p->outcomes ||
           err_set(e, ERR_MEMORY, "no host memory for %lld cases", (long long)p->cases);
}
