/* plan.c: works a run out: parents, sizes, mixtures. Leaves the opening of diffusers to
 * generate.c, of pictures to import.c, the settings of an optimisation to
 * plan_optimize.c and the record's cells to plan_record.c. */
#include "stages/plan.h"

#include "base/str.h"
#include "models/ensemble.h"
#include "stages/generate.h"
#include "stages/plan_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *plan_layer_name(enum layer layer)
{
    static const char *const names[] = {"preconv", "prequant", "postquant"};
    return names[layer];
}

/* Parents from pictures */

static int imported_index(const struct import *i, const char *name)
{
    for (int m = 0; m < i->models; m++)
        if (strcmp(i->model_names[m], name) == 0)
            return m;
    return -1;
}

static bool choose_imported(struct plan *p, const char *const *names, int count,
                            struct err *e)
{
    for (int m = 0; m < count; m++) {
        int index = imported_index(&p->import, names[m]);
        if (index < 0)
            return err_set(e, ERR_USAGE,
                           "%s: found no pictures of a model \"%s\", expected "
                           "one of the %d there, \"%s\" the first",
                           STR_SHOW(p->import.path), STR_SHOW(names[m]), p->import.models,
                           STR_SHOW(p->import.model_names[0]));
        p->import_index[m] = index;
        p->model_names[m] = p->import.model_names[index];
    }
    p->models = count;
    return true;
}

/* Which of the imported models are mixed: --models or --pair, else all of them where any
 * number will do, else the ensemble's pair, else the two that there are. */
static bool choose_models(struct plan *p, struct err *e)
{
    const struct options *o = p->run->options;
    char *const *pair = p->run->ensemble->pair;
    const struct import *i = &p->import;
    if (o->pair.count > 0)
        return choose_imported(p, (const char *const *)o->pair.name, 2, e);
    if (o->models.count > 0)
        return choose_imported(p, (const char *const *)o->models.name, o->models.count,
                               e);
    bool two = o->command == COMMAND_BLEND && o->weights.count == 0;
    bool has_pair =
        pair[0] && imported_index(i, pair[0]) >= 0 && imported_index(i, pair[1]) >= 0;
    if (two && i->models != 2) {
        if (has_pair)
            return choose_imported(p, (const char *const *)pair, 2, e);
        return err_set(e, ERR_USAGE,
                       "%s: found pictures of %d models, expected --pair A,B or "
                       "--weights w1,...,w%d to say how to mix them",
                       STR_SHOW(i->path), i->models, i->models);
    }
    return choose_imported(p, (const char *const *)i->model_names, i->models, e);
}

static bool plan_import(struct plan *p, struct err *e)
{
    if (!import_open(&p->import, p->run->options->images, e) || !choose_models(p, e))
        return false;
    const struct option_shard *shard = &p->run->options->shard;
    if (shard->count > 0)
        import_keep_shard(&p->import, shard->index, shard->count);
    p->cases = p->import.cases;
    p->total = p->import.total;
    p->case_names = (const char *const *)p->import.case_names;
    p->height = p->import.height;
    p->width = p->import.width;
    return true;
}

/* Mixtures */

static void gamma_mixture(struct mixture *mixture, double gamma)
{
    mixture->shares[0] = 1 - gamma;
    mixture->shares[1] = gamma;
    snprintf(mixture->name, sizeof mixture->name, "g%.6g", gamma);
    snprintf(mixture->label, sizeof mixture->label, "γ %.6g", gamma);
}

bool plan_shares(const struct plan *p, const struct option_weights *set, double *shares,
                 struct err *e)
{
    bool normalize = p->run->options->normalize;
    double sum = 0;
    for (int m = 0; m < set->count; m++)
        sum += set->value[m];
    if (set->count != p->models)
        return err_set(e, ERR_USAGE,
                       "--weights: found %d numbers, expected %d, one for each "
                       "parent",
                       set->count, p->models);
    if (!(sum > 0))
        return err_set(e, ERR_USAGE,
                       "--weights: found a sum of 0, expected one above it");
    if (!normalize && fabs(sum - 1) > 1e-6)
        progress_note(p->run->progress, NOTE_WARNING,
                      "--weights: the sum is %.6g, not 1; "
                      "--normalize divides by it",
                      sum);
    for (int m = 0; m < set->count; m++)
        shares[m] = set->value[m] / (normalize ? sum : 1);
    return true;
}

static bool weights_mixture(const struct plan *p, struct mixture *mixture,
                            const struct option_weights *set, int number, struct err *e)
{
    if (!plan_shares(p, set, mixture->shares, e))
        return false;
    struct str name = {0}, label = {0};
    for (int m = 0; m < set->count; m++) {
        str_addf(&name, "%s%.4g", m ? "-" : "w", set->value[m]);
        str_addf(&label, "%s%.4g", m ? " : " : "", mixture->shares[m]);
    }
    if (name.size >= 100) { /* file names end at 255 bytes */
        str_clear(&name);
        str_addf(&name, "w%d", number + 1);
    }
    snprintf(mixture->name, sizeof mixture->name, "%s", str_text(&name));
    snprintf(mixture->label, sizeof mixture->label, "%s", str_text(&label));
    str_free(&name);
    str_free(&label);
    return true;
}

bool plan_mixtures(struct plan *p, struct err *e)
{
    const struct options *o = p->run->options;
    for (int layer = 0; layer < LAYER_COUNT; layer++)
        if (o->layers & 1u << layer)
            p->layers[p->layer_count++] = (enum layer)layer;
    p->mixture_count = o->weights.count > 0 ? o->weights.count : o->gamma.count;
    p->mixtures = calloc((size_t)p->mixture_count, sizeof *p->mixtures);
    if (!p->mixtures)
        return err_set(e, ERR_MEMORY, "no host memory for %d mixtures", p->mixture_count);
    if (o->weights.count == 0 && p->models != 2)
        return err_set(e, ERR_USAGE,
                       "--gamma: found %d parents, expected 2; choose them with "
                       "--pair, or mix all with --weights",
                       p->models);
    for (int k = 0; k < p->mixture_count; k++) {
        if (o->weights.count == 0)
            gamma_mixture(&p->mixtures[k], o->gamma.value[k]);
        else if (!weights_mixture(p, &p->mixtures[k], &o->weights.set[k], k, e))
            return false;
    }
    p->results = p->layer_count * p->mixture_count;
    return true;
}

/* The size the VQGAN works at: multiples of its factor, the parents' aspect, the short
 * side as in the ensemble. */
static bool plan_vq_size(struct plan *p, struct err *e)
{
    const struct option_size *asked = &p->run->options->vq_size;
    const struct ensemble *s = p->run->ensemble;
    int64_t factor = vqgan_factor(&p->vqgan.config);
    if (asked->height > 0) {
        if (asked->height % factor != 0 || asked->width % factor != 0)
            return err_set(e, ERR_USAGE,
                           "--vq-size: found %dx%d, expected multiples of %lld, "
                           "the VQGAN's factor",
                           asked->height, asked->width, (long long)factor);
        p->vq_height = asked->height;
        p->vq_width = asked->width;
        return true;
    }
    int shortest = s->vqgan_height < s->vqgan_width ? s->vqgan_height : s->vqgan_width;
    double scale =
        (double)shortest / (double)(p->height < p->width ? p->height : p->width);
    p->vq_height = factor * llround(scale * (double)p->height / (double)factor);
    p->vq_width = factor * llround(scale * (double)p->width / (double)factor);
    return (p->vq_height > 0 && p->vq_width > 0) ||
           err_set(e, ERR_INPUT, "%s: vqgan: size: found %d x %d, expected at least %lld",
                   STR_SHOW(s->file), s->vqgan_height, s->vqgan_width, (long long)factor);
}

/* What becomes of the parents. */
static bool plan_results(struct plan *p, struct err *e)
{
    enum command_bit command = p->run->options->command;
    if (command == COMMAND_GENERATE)
        return true;
    return vqgan_open(&p->vqgan, p->run->ensemble->vqgan.path, p->run->progress, e) &&
           plan_vq_size(p, e) &&
           (command == COMMAND_BLEND ? plan_mixtures(p, e) : plan_optimize(p, e));
}

int64_t plan_whole_index(const struct plan *p, int64_t index_case)
{
    const struct option_shard *shard = &p->run->options->shard;
    return shard->count > 0 ? index_case * shard->count + shard->index : index_case;
}

/* A shard without cases would have nothing to write, and its run could not be joined. */
static bool check_shard(const struct plan *p, struct err *e)
{
    const struct option_shard *shard = &p->run->options->shard;
    return shard->count <= p->total ||
           err_set(e, ERR_USAGE,
                   "--shard: found %d/%d, expected at most %lld shards, as many as there "
                   "are cases",
                   shard->index, shard->count, (long long)p->total);
}

bool plan_make(struct plan *p, const struct run *run, struct err *e)
{
    p->run = run;
    bool ok = (run->options->images ? plan_import(p, e) : generate_open(p, e)) &&
              check_shard(p, e) && plan_results(p, e) && plan_check_extras(p, e) &&
              plan_record(p, e);
    if (!ok)
        plan_close(p);
    return ok;
}

void plan_close(struct plan *p)
{
    for (int64_t n = 0; p->outcomes && n < p->cases; n++)
        free(p->outcomes[n]);
    free(p->outcomes);
    generate_close(p);
    import_close(&p->import);
    vqgan_close(&p->vqgan);
    clip_close(&p->clip);
    perceptual_close(&p->perceptual);
    image_free(&p->seed_image);
    free(p->mixtures);
    *p = (struct plan){0};
}
