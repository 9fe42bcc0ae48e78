/* record_write.c: the shape of run.json and of the records inside pictures. Leaves the
 * account itself to record.c. */
#include "run/record_internal.h"

#include <string.h>

static const char *noise_name(const struct options *o)
{
    return o->noise == NOISE_SHARED ? "shared" : "independent";
}

/* The settings of the first stage that a parent depends on. */
static void write_drawing(struct json_writer *w, const struct options *o,
                          const struct record_cell *cell)
{
    json_member_text(w, "noise", noise_name(o));
    if (o->noise == NOISE_INDEPENDENT) {
        json_member_uint(w, "case_seed", cell->case_seed);
    }
    json_member_int(w, "steps", o->steps);
    json_member_double(w, "guidance", o->guidance);
    json_write_key(w, "guidance_interval");
    json_write_interval(w, o->guidance_interval.from, o->guidance_interval.to);
    json_member_int(w, "cache_interval", o->cache_interval);
}

/* What a mixture depends on beside its parents. */
static void write_mixing(struct json_writer *w, const struct options *o,
                         const struct record_cell *cell)
{
    static const char *const dtypes[] = {"fp32", "fp32", "fp16", "bf16"};
    if (o->command == COMMAND_BLEND)
        json_member_text(w, "mixing_dtype", dtypes[o->dtype]);
    if (!o->images)
        return;
    json_member_text(w, "images",
                     o->images[0] == '/' ? str_file_name(o->images) : o->images);
    json_member_int(w, "case_index", cell->case_index);
}

static const char *seed_name(const struct options *o, const struct record_optimized *of)
{
    return of->seed_sha256[0] ? str_file_name(o->optimize.seed) : o->optimize.seed;
}

static void write_augment(struct json_writer *w, unsigned augment)
{
    static const char *const names[] = {"flip", "affine", "perspective", "jitter",
                                        "noise"};
    json_write_key(w, "augment");
    json_write_open_array(w);
    for (int i = 0; augment >> i; i++)
        if (augment & 1u << i)
            json_write_string(w, names[i]);
    json_write_close(w);
}

/* All that an optimisation depends on beside its parents, their weights and the layer. */
static void write_optimizing(struct json_writer *w, const struct options *o,
                             const struct record_optimized *of)
{
    static const char *const pairings[] = {"aligned", "all"};
    static const char *const distances[] = {"spherical", "cosine", "mse"};
    const struct option_optimize *t = &o->optimize;
    json_write_key(w, "optimize");
    json_write_open_object(w);
    json_member_text(w, "seed", seed_name(o, of));
    json_member_text(w, "seed_sha256", of->seed_sha256[0] ? of->seed_sha256 : NULL);
    json_member_uint(w, "random_seed", of->random_seed);
    json_member_int(w, "epochs", t->epochs);
    json_member_double(w, "lr", t->rate);
    json_member_double(w, "lr_decay", t->decay);
    json_member_int(w, "lr_decay_every", t->decay_every);
    json_member_double(w, "clip_weight", t->clip_weight);
    json_member_double(w, "perceptual_weight", t->perceptual_weight);
    json_member_text(w, "crops", t->crops);
    json_member_text(w, "crop_pairing", pairings[t->pairing]);
    json_member_text(w, "clip_distance", distances[t->distance]);
    json_member_text(w, "perceptual", of->perceptual);
    write_augment(w, t->augment);
    json_member_double(w, "tv_weight", t->tv_weight);
    json_member_double(w, "average", t->average);
    json_write_close(w);
}

static void write_parent(struct json_writer *w, const struct record_parent *p)
{
    json_member_text(w, "model", p->model);
    if (p->outside)
        json_member_bool(w, "outside", true);
    if (!p->prompt)
        return;
    json_member_text(w, "prompt", p->prompt);
    json_member_text(w, "negative", p->negative);
    json_member_uint(w, "seed", p->seed);
    json_member_text(w, "scheduler", p->scheduler);
}

/* Case, and the parent or the mixture. */
static void write_cell(struct json_writer *w, const struct record_cell *cell)
{
    json_member_text(w, "case", cell->case_name);
    if (cell->optimized.which)
        json_member_text(w, "result", cell->optimized.which);
    if (cell->optimized.which && strcmp(cell->optimized.which, "preview") == 0)
        json_member_int(w, "epoch", cell->optimized.epoch);
    if (!cell->layer)
        write_parent(w, &cell->parents[0]);
    if (cell->layer) {
        json_member_text(w, "layer", cell->layer);
        json_write_key(w, "parents");
        json_write_open_array(w);
        for (int i = 0; i < cell->parent_count; i++) {
            json_write_open_object(w);
            json_member_double(w, "weight", cell->parents[i].weight);
            write_parent(w, &cell->parents[i]);
            json_member_int(w, "height", cell->parents[i].height);
            json_member_int(w, "width", cell->parents[i].width);
            json_write_close(w);
        }
        json_write_close(w);
    }
    json_member_int(w, "height", cell->height);
    json_member_int(w, "width", cell->width);
}

/* What made the numbers: not the folder, the time, the batch or the number of threads, so
 * that the same command makes the same bytes. */
static void write_maker(const struct record_state *s, struct json_writer *w)
{
    json_member_text(w, "program", "diffens");
    json_member_text(w, "version", DIFFENS_VERSION);
    json_member_text(w, "libtorch", s->about.libtorch);
    json_member_text(w, "device", s->device);
    json_member_text(w, "dtype", s->dtype);
    if (s->about.options->deterministic) {
        json_member_bool(w, "deterministic", true);
    }
    json_member_text(w, "ensemble", s->about.ensemble);
}

static const char *kind(const struct record_cell *cell)
{
    return cell->optimized.which ? "optimize" : cell->layer ? "blend" : "parent";
}

void record_write_cell(const struct record_state *s, const struct record_cell *cell,
                       struct json_writer *w)
{
    const struct options *o = s->about.options;
    json_write_open_object(w);
    write_maker(s, w);
    json_member_text(w, "kind", kind(cell));
    write_cell(w, cell);
    if (cell->parents[0].prompt)
        write_drawing(w, o, cell);
    if (cell->layer)
        write_mixing(w, o, cell);
    if (cell->optimized.which) {
        write_optimizing(w, o, &cell->optimized);
    } else if (cell->layer) {
        json_member_bool(w, "requantize",
                         o->requantize && strcmp(cell->layer, "postquant") == 0);
    }
    json_write_close(w);
}

void record_write_figure(const struct record_state *s, struct json_writer *w)
{
    json_write_open_object(w);
    write_maker(s, w);
    json_member_text(w, "kind", "figure");
    json_member_int(w, "pictures", s->cell_count);
    json_write_close(w);
}

/* The customary text */

/* As Automatic1111's web UI, whose format this is, names the samplers. */
static const char *sampler_name(const char *scheduler)
{
    static const char *const names[][2] = {
        {"pndm", "PNDM"},
        {"ddim", "DDIM"},
        {"euler", "Euler"},
        {"euler-karras", "Euler Karras"},
        {"euler-a", "Euler a"},
        {"heun", "Heun"},
        {"heun-karras", "Heun Karras"},
        {"lms", "LMS"},
        {"lms-karras", "LMS Karras"},
        {"dpm++2m", "DPM++ 2M"},
        {"dpm++2m-karras", "DPM++ 2M Karras"},
        {"unipc", "UniPC"},
        {"unipc-karras", "UniPC Karras"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i][0], scheduler) == 0)
            return names[i][1];
    return scheduler;
}

static void add_mixture(struct str *out, const struct record_cell *cell)
{
    const char *how = cell->optimized.which ? "Optimize" : "Blend";
    str_addf(out, ", %s layer: %s, %s weights: ", how, cell->layer, how);
    for (int i = 0; i < cell->parent_count; i++)
        str_addf(out, "%s%.9g", i ? " " : "", cell->parents[i].weight);
}

static void add_optimizing(struct str *out, const struct options *o,
                           const struct record_optimized *of)
{
    const struct option_optimize *t = &o->optimize;
    bool preview = strcmp(of->which, "preview") == 0;
    str_addf(out, ", Optimize seed: %s, Epochs: %d, Learning rate: %.9g",
             seed_name(o, of), preview ? of->epoch : t->epochs, t->rate);
    str_addf(out, ", CLIP weight: %.9g, Perceptual weight: %.9g, Crops: \"%s\"",
             t->clip_weight, t->perceptual_weight, t->crops);
}

/* What spares work and changes the picture; other tools know neither. */
static void add_shortcuts(struct str *out, const struct options *o)
{
    const struct option_interval *guided = &o->guidance_interval;
    if (guided->from > 0 || guided->to < 1)
        str_addf(out, ", CFG interval: %.9g-%.9g", guided->from, guided->to);
    if (o->cache_interval > 1)
        str_addf(out, ", Cache interval: %d", o->cache_interval);
}

void record_write_parameters(const struct record_state *s, const struct record_cell *cell,
                             struct str *out)
{
    const struct options *o = s->about.options;
    const struct record_parent *first = &cell->parents[0];
    if (!first->prompt)
        return;
    str_addf(out, "%s\n", first->prompt);
    if (first->negative && *first->negative)
        str_addf(out, "Negative prompt: %s\n", first->negative);
    str_addf(out, "Steps: %d", o->steps);
    if (first->scheduler)
        str_addf(out, ", Sampler: %s", sampler_name(first->scheduler));
    str_addf(out, ", CFG scale: %.9g, Seed: %llu, Size: %dx%d", o->guidance,
             (unsigned long long)first->seed, cell->width, cell->height);
    add_shortcuts(out, o);
    str_add(out, ", Model: ");
    for (int i = 0; i < cell->parent_count; i++)
        str_addf(out, "%s%s", i ? " + " : "", cell->parents[i].model);
    if (cell->layer)
        add_mixture(out, cell);
    if (cell->optimized.which)
        add_optimizing(out, o, &cell->optimized);
    str_addf(out, ", Version: diffens %s", DIFFENS_VERSION);
}

/* run.json */

static void write_network(const struct network_entry *n, struct json_writer *w)
{
    json_write_open_object(w);
    json_member_text(w, "role", n->role);
    json_member_text(w, "name", n->name);
    json_member_text(w, "path", n->listed);
    json_write_key(w, "files");
    json_write_open_array(w);
    for (int i = 0; i < n->file_count; i++) {
        const struct weight_file *f = &n->files[i];
        json_write_open_object(w);
        json_member_text(w, "file", f->inside);
        json_member_uint(w, "size", f->size);
        json_member_text(w, "sha256", f->sha256[0] ? f->sha256 : NULL);
        json_write_close(w);
    }
    json_write_close(w);
    json_write_close(w);
}

static void write_ensemble(const struct record_state *s, struct json_writer *w)
{
    json_write_key(w, "ensemble");
    json_write_open_object(w);
    json_member_text(w, "name", s->about.ensemble);
    json_write_key(w, "networks");
    json_write_open_array(w);
    for (int i = 0; i < s->network_count; i++)
        write_network(&s->networks[i], w);
    json_write_close(w);
    json_write_close(w);
}

static void write_planned(const struct planned_cell *c, struct json_writer *w)
{
    json_write_open_object(w);
    json_member_text(w, "file", c->is.file);
    write_cell(w, &c->is);
    if (c->is.optimized.seed_sha256[0])
        json_member_text(w, "seed_sha256", c->is.optimized.seed_sha256);
    json_member_text(w, "state", c->state);
    if (c->sha256[0]) {
        json_member_text(w, "sha256", c->sha256);
        if (c->pixels_sha256[0])
            json_member_text(w, "pixels_sha256", c->pixels_sha256);
        json_member_double(w, "seconds", c->seconds);
    }
    json_write_close(w);
}

/* A run that goes on plans figures and pages when it comes to them: until then those that
 * it found are listed, so that they stay its own where it is killed before. */
static void write_files(const struct record_state *s, struct json_writer *w)
{
    bool over = strcmp(s->state, "complete") == 0 || strcmp(s->state, "failed") == 0;
    json_write_key(w, "files");
    json_write_open_array(w);
    for (int i = 0; i < s->cell_count; i++)
        json_write_string(w, s->cells[i].is.file);
    for (int i = 0; i < s->file_count; i++)
        json_write_string(w, s->files[i].file);
    for (int i = 0; i < s->kept_count && !over; i++)
        json_write_string(w, s->kept[i]);
    json_write_close(w);
}

/* Hashes of files that are no pictures of cells. */
static void write_sums(const struct record_state *s, struct json_writer *w)
{
    json_write_key(w, "sums");
    json_write_open_object(w);
    for (int i = 0; i < s->file_count; i++)
        if (s->files[i].sha256[0])
            json_member_text(w, s->files[i].file, s->files[i].sha256);
    json_write_close(w);
}

static void write_outcomes(const struct record_state *s, struct json_writer *w)
{
    if (s->about.options->command != COMMAND_OPTIMIZE)
        return;
    json_write_key(w, "optimize");
    json_write_open_array(w);
    for (int64_t n = 0; s->outcomes && n < s->case_count; n++)
        if (s->outcomes[n])
            json_write_spelled(w, s->outcomes[n], strlen(s->outcomes[n]));
    json_write_close(w);
}

static void write_shard(const struct record_state *s, struct json_writer *w)
{
    if (s->shard.count == 0)
        return;
    json_write_key(w, "shard");
    json_write_open_object(w);
    json_member_int(w, "index", s->shard.index);
    json_member_int(w, "count", s->shard.count);
    json_member_int(w, "cases", s->total);
    json_write_close(w);
}

static void write_prompts(const struct record_state *s, struct json_writer *w)
{
    if (!s->prompts)
        return;
    json_write_key(w, "prompts");
    json_write_open_array(w);
    for (int64_t n = 0; n < s->case_count; n++)
        json_write_string(w, s->prompts[n]);
    json_write_close(w);
    if (s->stream)
        json_member_text(w, "standard_input", s->stream);
}

static void write_axes(const struct record_state *s, struct json_writer *w)
{
    json_write_key(w, "cases");
    json_write_open_array(w);
    for (int64_t n = 0; n < s->case_count; n++)
        json_write_string(w, s->case_names[n]);
    json_write_close(w);
    json_write_key(w, "models");
    json_write_open_array(w);
    for (int m = 0; m < s->model_count; m++)
        json_write_string(w, s->model_names[m]);
    json_write_close(w);
}

void record_write_all(const struct record_state *s, struct json_writer *w)
{
    const struct options *o = s->about.options;
    json_write_open_object(w);
    json_member_text(w, "program", "diffens");
    json_member_int(w, "format", RECORD_FORMAT);
    json_member_text(w, "version", DIFFENS_VERSION);
    json_member_text(w, "state", s->state);
    json_member_text(w, "command", s->about.command);
    json_write_key(w, "arguments");
    json_write_open_array(w);
    for (int i = 0; i < o->argument_count; i++)
        json_write_string(w, o->arguments[i]);
    json_write_close(w);
    json_write_key(w, "options");
    s->about.write_options(w, o);
    json_member_text(w, "libtorch", s->about.libtorch);
    json_member_text(w, "device", s->device);
    json_member_text(w, "dtype", s->dtype);
    json_member_int(w, "threads", s->threads);
    write_ensemble(s, w);
    write_shard(s, w);
    write_axes(s, w);
    write_prompts(s, w);
    json_write_key(w, "cells");
    json_write_open_array(w);
    for (int i = 0; i < s->cell_count; i++)
        write_planned(&s->cells[i], w);
    json_write_close(w);
    write_files(s, w);
    write_sums(s, w);
    write_outcomes(s, w);
    json_write_close(w);
}

/* --json */

void record_write_result(const struct record *r, struct json_writer *w)
{
    const struct record_state *s = r->state;
    json_write_open_object(w);
    json_member_text(w, "directory", r->directory);
    json_member_text(w, "state", s->state);
    json_write_key(w, "pictures");
    json_write_open_array(w);
    for (int i = 0; i < s->cell_count; i++)
        write_planned(&s->cells[i], w);
    json_write_close(w);
    json_write_key(w, "files");
    json_write_open_array(w);
    const struct json *former =
        s->resumed && !s->begun ? json_get(s->former.record.root, "files") : NULL;
    for (const struct json *v = former ? former->child : NULL; v; v = v->next)
        json_write_value(w, v); /* nothing was left to do: they were added by then */
    for (int i = 0; !former && i < s->file_count; i++)
        json_write_string(w, s->files[i].file);
    json_write_close(w);
    json_write_close(w);
}
