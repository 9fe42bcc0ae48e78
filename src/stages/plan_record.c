/* plan_record.c: the cells, files and networks of a planned run, as its record lists
 * them. Leaves what they are to plan.c, and what becomes of them to plan_done.c. */
#include "stages/plan_internal.h"

#include "base/checked.h"
#include "base/str.h"
#include "models/ensemble.h"
#include "models/prompts.h"
#include "run/animation.h"
#include "run/record.h"
#include "stages/animate.h"
#include "stages/generate.h"

#include <stdio.h>
#include <string.h>

int plan_parent_cell(const struct plan *p, int64_t index_case, int index_model)
{
    return (int)(index_case * p->models + index_model);
}

int plan_result_cell(const struct plan *p, int64_t index_case, int result)
{
    return (int)(p->cases * p->models + index_case * p->results + result);
}

int plan_mixture_cell(const struct plan *p, int64_t index_case, int index_layer,
                      int index_mixture)
{
    return plan_result_cell(p, index_case,
                            index_layer * p->mixture_count + index_mixture);
}

int plan_cell_count(const struct plan *p)
{
    return (int)(p->cases * (p->models + p->results));
}

int plan_animations(const struct plan *p)
{
    const struct options *o = p->run->options;
    if (o->animate == ANIMATION_NONE || p->results == 0)
        return 0;
    return o->command == COMMAND_BLEND ? p->layer_count : 1;
}

const char *plan_animation_file(const struct plan *p, int64_t index_case, int index_layer,
                                char *out, size_t size)
{
    const char *name = p->case_names[index_case];
    const char *suffix = animation_suffix(p->run->options->animate);
    if (p->run->options->command == COMMAND_BLEND)
        snprintf(out, size, "blend/%s_%s.%s", name,
                 plan_layer_name(p->layers[index_layer]), suffix);
    else
        snprintf(out, size, "optimize/%s.%s", name, suffix);
    return out;
}

/* A parent as the record describes it; the texts stay the plan's. */
static struct record_parent describe_parent(const struct plan *p, int64_t n, int m)
{
    const struct ensemble *s = p->run->ensemble;
    struct record_parent parent = {.model = p->model_names[m],
                                   .outside =
                                       p->diffusers && s->diffusers[m].index >= s->listed,
                                   .weight = 1,
                                   .height = (int)p->height,
                                   .width = (int)p->width};
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
                                   .case_index = plan_whole_index(p, n),
                                   .case_seed = plan_case_seed(p, n),
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

static bool add_mixture_cells(const struct plan *p, int64_t n,
                              struct record_parent *parents, struct err *e)
{
    for (int i = 0; i < p->layer_count * p->mixture_count; i++) {
        const struct mixture *mixture = &p->mixtures[i % p->mixture_count];
        const char *layer = plan_layer_name(p->layers[i / p->mixture_count]);
        char file[256];
        snprintf(file, sizeof file, "blend/%s_%s_%s.png", p->case_names[n], layer,
                 mixture->name);
        for (int m = 0; m < p->models; m++)
            parents[m].weight = mixture->shares[m];
        struct record_cell cell = {.case_name = p->case_names[n],
                                   .case_index = plan_whole_index(p, n),
                                   .case_seed = plan_case_seed(p, n),
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

/* "000.png", "000_best.png", "000_epoch50.png" */
static void name_result(const struct plan *p, int64_t n, int result, char *file,
                        size_t size)
{
    if (result >= RESULT_PREVIEW)
        snprintf(file, size, "optimize/%s_epoch%d.png", p->case_names[n],
                 plan_preview_epoch(p, result));
    else
        snprintf(file, size, "optimize/%s%s.png", p->case_names[n],
                 result == RESULT_BEST ? "_best" : "");
}

static bool add_optimized_cells(const struct plan *p, int64_t n,
                                struct record_parent *parents, struct err *e)
{
    static const char *const which[] = {"final", "best", "preview"};
    const struct optimize_settings *t = &p->settings;
    for (int m = 0; m < p->models; m++)
        parents[m].weight = t->shares[m];
    for (int result = 0; result < p->results; result++) {
        char file[256];
        name_result(p, n, result, file, sizeof file);
        struct record_cell cell = {
            .case_name = p->case_names[n],
            .case_index = plan_whole_index(p, n),
            .case_seed = plan_case_seed(p, n),
            .file = file,
            .height = (int)p->vq_height,
            .width = (int)p->vq_width,
            .layer = plan_layer_name(t->layer),
            .parent_count = p->models,
            .parents = parents,
            .optimized = {
                .which = which[result < RESULT_PREVIEW ? result : RESULT_PREVIEW],
                .epoch = result < RESULT_PREVIEW ? 0 : plan_preview_epoch(p, result),
                .random_seed = plan_case_seed(p, n),
                .perceptual = t->perceptual == PERCEPTUAL_LPIPS ? "lpips" : "l2"}};
        memcpy(cell.optimized.seed_sha256, p->seed_sha256, sizeof p->seed_sha256);
        if (record_add_cell(p->run->record, &cell, e) < 0)
            return false;
    }
    char name[256];
    return record_add_file(p->run->record, plan_losses_file(p, n, name, sizeof name), e);
}

static bool add_result_cells(const struct plan *p, int64_t n, struct err *e)
{
    struct record_parent parents[OPTIONS_MAX_MODELS];
    for (int m = 0; m < p->models; m++)
        parents[m] = describe_parent(p, n, m);
    return p->run->options->command == COMMAND_OPTIMIZE
               ? add_optimized_cells(p, n, parents, e)
               : add_mixture_cells(p, n, parents, e);
}

/* The parts of a network's file: itself, or its shards. */
static bool add_weights(struct record *r, int number, const struct network *n,
                        const char *folder, struct err *e)
{
    for (int i = 0; i < n->file.part_count; i++) {
        const char *path = n->file.parts[i].path;
        struct str inside = {0};
        str_addf(&inside, "%s%s%s", folder, *folder ? "/" : "", str_file_name(path));
        bool ok = inside.failed
                      ? err_set(e, ERR_MEMORY, "record: out of memory for a path")
                      : record_add_weights(r, number, path, str_text(&inside), e);
        str_free(&inside);
        if (!ok)
            return false;
    }
    return true;
}

/* A network of the ensemble, in one file or two. */
static bool add_network(const struct plan *p, const char *role, const char *listed,
                        const struct network *first, const struct network *second,
                        struct err *e)
{
    struct record *r = p->run->record;
    int number = record_add_network(r, role, role, listed, e);
    return number >= 0 && add_weights(r, number, first, "", e) &&
           (!second || add_weights(r, number, second, "", e));
}

static bool add_diffusers(const struct plan *p, struct err *e)
{
    struct record *r = p->run->record;
    for (int m = 0; p->diffusers && m < p->models; m++) {
        const struct diffuser *d = &p->diffusers[m];
        const char *listed = p->run->ensemble->diffusers[m].listed;
        int number = record_add_network(r, "diffuser", p->model_names[m], listed, e);
        if (d->single_file) {
            if (number < 0 || !add_weights(r, number, &d->unet_network, "", e))
                return false;
            continue;
        }
        if (number < 0 || !add_weights(r, number, &d->text_network, "text_encoder", e) ||
            !add_weights(r, number, &d->unet_network, "unet", e) ||
            !add_weights(r, number, &d->vae_network, "vae", e))
            return false;
    }
    return true;
}

/* The networks that the parents go through. */
static bool add_networks(const struct plan *p, struct err *e)
{
    const struct ensemble *s = p->run->ensemble;
    enum command_bit command = p->run->options->command;
    if (!add_diffusers(p, e) || command == COMMAND_GENERATE)
        return e->code == ERR_OK;
    if (!add_network(p, "vqgan", s->vqgan.listed, &p->vqgan.network, NULL, e))
        return false;
    if (command == COMMAND_BLEND)
        return true;
    return add_network(p, "clip", s->clip.listed, &p->clip.network, NULL, e) &&
           add_network(p, "perceptual", s->perceptual.listed, &p->perceptual.vgg_network,
                       &p->perceptual.heads_network, e);
}

/* Cells are counted in an int, their bytes in 64 bits. */
static bool check_count(const struct plan *p, struct err *e)
{
    uint64_t cells, results, bytes, mixed = (uint64_t)(p->vq_height * p->vq_width * 3);
    if (checked_mul_u64((uint64_t)p->cases, (uint64_t)p->models, &cells) &&
        checked_mul_u64(cells, 2 * (uint64_t)(p->height * p->width * 3), &bytes) &&
        checked_mul_u64((uint64_t)p->cases, (uint64_t)p->results, &results) &&
        checked_mul_u64(results, mixed, &mixed) &&
        checked_add_u64(bytes, mixed, &bytes) &&
        checked_add_u64(cells, results, &cells) && cells <= INT32_MAX &&
        bytes <= INT64_MAX / 2)
        return true;
    return err_set(e, ERR_USAGE,
                   "found %lld cases of %d models of %lld x %lld pixels, "
                   "expected fewer: their size overflows",
                   (long long)p->cases, p->models, (long long)p->height,
                   (long long)p->width);
}

bool plan_record(const struct plan *p, struct err *e)
{
    if (!check_count(p, e))
        return false;
    for (int64_t n = 0; n < p->cases; n++)
        if (!add_parent_cells(p, n, e))
            return false;
    for (int64_t n = 0; n < p->cases; n++)
        if (!add_result_cells(p, n, e))
            return false;
    const struct run *run = p->run;
    record_set_axes(run->record, p->cases, (char *const *)p->case_names, p->models,
                    p->model_names);
    record_set_shard(run->record, run->options->shard, p->total);
    if (run->prompts)
        record_set_prompts(run->record, run->prompts->given, run->prompts->stream);
    return record_add_file(p->run->record, "images.npy", e) && animate_plan(p, e) &&
           add_networks(p, e);
}
