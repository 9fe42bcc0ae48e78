/* plan.c: works a run out: sizes, mixtures, cells. Leaves the opening of diffusers to
 * generate.c and of pictures to import.c. */
#include "stages/plan.h"

#include "base/checked.h"
#include "base/str.h"
#include "models/ensemble.h"
#include "models/prompts.h"
#include "run/record.h"
#include "stages/generate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

const char *plan_layer_name(enum layer layer)
{
    static const char *const names[] = {"preconv", "prequant", "postquant"};
    return names[layer];
}

int plan_parent_cell(const struct plan *p, int64_t index_case, int index_model)
{
    return (int)(index_case * p->models + index_model);
}

int plan_mixture_cell(const struct plan *p, int64_t index_case, int index_layer,
                      int index_mixture)
{
    int64_t mixtures = (int64_t)p->layer_count * p->mixture_count;
    return (int)(p->cases * p->models + index_case * mixtures +
                 (int64_t)index_layer * p->mixture_count + index_mixture);
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

/* Which of the imported models are mixed: --models or --pair, else with --weights all of
 * them, else the ensemble's pair, else the two that there are. */
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
    bool has_pair =
        pair[0] && imported_index(i, pair[0]) >= 0 && imported_index(i, pair[1]) >= 0;
    if (o->weights.count == 0 && i->models != 2) {
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
    p->cases = p->import.cases;
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

static bool weights_mixture(const struct plan *p, struct mixture *mixture,
                            const struct option_weights *set, int number, struct err *e)
{
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
    if (!p->run->options->normalize && fabs(sum - 1) > 1e-6)
        progress_note(p->run->progress, NOTE_WARNING,
                      "--weights: the sum is %.6g, not 1; "
                      "--normalize divides by it",
                      sum);
    double divisor = p->run->options->normalize ? sum : 1;
    struct str name = {0}, label = {0};
    for (int m = 0; m < set->count; m++) {
        mixture->shares[m] = set->value[m] / divisor;
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

static bool plan_mixtures(struct plan *p, struct err *e)
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

static bool plan_blend(struct plan *p, struct err *e)
{
    return vqgan_open(&p->vqgan, p->run->ensemble->vqgan.path, p->run->progress, e) &&
           plan_mixtures(p, e) && plan_vq_size(p, e);
}

/* The record */

/* A parent as the record describes it; the texts stay the plan's. */
static struct record_parent describe_parent(const struct plan *p, int64_t n, int m)
{
    struct record_parent parent = {.model = p->model_names[m], .weight = 1};
    if (p->diffusers) {
        const struct prompts *prompts = p->run->prompts;
        parent.prompt = prompts_text(prompts, n, m);
        parent.negative = prompts->negative[n];
        parent.seed = generate_noise_seed(p, n, m);
        parent.scheduler = scheduler_config_name(&p->diffusers[m].scheduler);
    }
    return parent;
}

static bool add_parent_cells(const struct plan *p, int64_t n, struct err *e)
{
    for (int m = 0; m < p->models; m++) {
        char file[256];
        struct record_parent parent = describe_parent(p, n, m);
        snprintf(file, sizeof file, "images/%s_%s.png", p->case_names[n],
                 p->model_names[m]);
        struct record_cell cell = {.case_name = p->case_names[n],
                                   .file = file,
                                   .height = (int)p->height,
                                   .width = (int)p->width,
                                   .parent_count = 1,
                                   .parents = &parent};
        if (record_add_cell(p->run->record, &cell, e) < 0)
            return false;
    }
    return true;
}

static bool add_mixture_cells(const struct plan *p, int64_t n, struct err *e)
{
    struct record_parent parents[OPTIONS_MAX_MODELS];
    for (int m = 0; m < p->models; m++)
        parents[m] = describe_parent(p, n, m);
    for (int i = 0; i < p->layer_count * p->mixture_count; i++) {
        const struct mixture *mixture = &p->mixtures[i % p->mixture_count];
        const char *layer = plan_layer_name(p->layers[i / p->mixture_count]);
        char file[256];
        snprintf(file, sizeof file, "blend/%s_%s_%s.png", p->case_names[n], layer,
                 mixture->name);
        for (int m = 0; m < p->models; m++)
            parents[m].weight = mixture->shares[m];
        struct record_cell cell = {.case_name = p->case_names[n],
                                   .file = file,
                                   .height = (int)p->vq_height,
                                   .width = (int)p->vq_width,
                                   .layer = layer,
                                   .parent_count = p->models,
                                   .parents = parents};
        if (record_add_cell(p->run->record, &cell, e) < 0)
            return false;
    }
    return true;
}

/* The parts of a network's file: itself, or its shards. */
static bool add_weights(struct record *r, int number, const struct network *n,
                        const char *folder, struct err *e)
{
    for (int i = 0; i < n->file.part_count; i++) {
        const char *path = n->file.parts[i].path;
        struct str inside = {0};
        str_addf(&inside, "%s%s%s", folder, *folder ? "/" : "", str_file_name(path));
        bool ok = record_add_weights(r, number, path, str_text(&inside), e);
        str_free(&inside);
        if (!ok)
            return false;
    }
    return true;
}

static bool add_networks(const struct plan *p, struct err *e)
{
    struct record *r = p->run->record;
    for (int m = 0; p->diffusers && m < p->models; m++) {
        const struct diffuser *d = &p->diffusers[m];
        const char *listed = p->run->ensemble->diffusers[m].listed;
        int number = record_add_network(r, "diffuser", p->model_names[m], listed, e);
        if (number < 0 || !add_weights(r, number, &d->text_network, "text_encoder", e) ||
            !add_weights(r, number, &d->unet_network, "unet", e) ||
            !add_weights(r, number, &d->vae_network, "vae", e))
            return false;
    }
    if (p->mixture_count == 0)
        return true;
    int number =
        record_add_network(r, "vqgan", "vqgan", p->run->ensemble->vqgan.listed, e);
    return number >= 0 && add_weights(r, number, &p->vqgan.network, "", e);
}

/* An upper bound: the tensor, and every picture as if PNG saved nothing. */
static bool check_disk(const struct plan *p, struct err *e)
{
    uint64_t cells, bytes, mixed = (uint64_t)(p->vq_height * p->vq_width * 3);
    struct statvfs disk;
    if (!checked_mul_u64((uint64_t)p->cases, (uint64_t)p->models, &cells) ||
        !checked_mul_u64(cells, 2 * (uint64_t)(p->height * p->width * 3), &bytes) ||
        !checked_mul_u64((uint64_t)p->cases * (uint64_t)p->layer_count, mixed, &mixed) ||
        !checked_mul_u64(mixed, (uint64_t)p->mixture_count, &mixed) ||
        !checked_add_u64(bytes, mixed, &bytes) || cells > INT32_MAX)
        return err_set(e, ERR_USAGE,
                       "found %lld cases of %d models of %lld x %lld pixels, "
                       "expected fewer: their size overflows",
                       (long long)p->cases, p->models, (long long)p->height,
                       (long long)p->width);
    if (statvfs(p->run->record->directory, &disk) != 0)
        return true; /* a file system that cannot tell is found out by writing */
    uint64_t free_bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
    if (bytes <= free_bytes)
        return true;
    return err_set(e, ERR_OUTPUT,
                   "%s: found %llu bytes free, expected %llu for %lld cases of "
                   "%d models",
                   STR_SHOW(p->run->record->directory), (unsigned long long)free_bytes,
                   (unsigned long long)bytes, (long long)p->cases, p->models);
}

static bool plan_record(const struct plan *p, struct err *e)
{
    for (int64_t n = 0; n < p->cases; n++)
        if (!add_parent_cells(p, n, e))
            return false;
    for (int64_t n = 0; n < p->cases; n++)
        if (!add_mixture_cells(p, n, e))
            return false;
    record_set_axes(p->run->record, p->cases, (char *const *)p->case_names, p->models,
                    p->model_names);
    return record_add_file(p->run->record, "images.npy", e) && add_networks(p, e) &&
           check_disk(p, e);
}

bool plan_make(struct plan *p, const struct run *run, struct err *e)
{
    p->run = run;
    bool ok = run->options->images ? plan_import(p, e) : generate_open(p, e);
    ok = ok && (run->options->command != COMMAND_BLEND || plan_blend(p, e)) &&
         plan_record(p, e);
    if (!ok)
        plan_close(p);
    return ok;
}

void plan_close(struct plan *p)
{
    generate_close(p);
    import_close(&p->import);
    vqgan_close(&p->vqgan);
    free(p->mixtures);
    *p = (struct plan){0};
}
