/* merge.c: makes the plan, record and files of a whole run out of those of its shards.
 * Leaves reading and checking the shards to run/shards.h. */
#include "stages/merge.h"

#include "base/stop.h"
#include "base/str.h"
#include "io/config.h"
#include "io/file.h"
#include "io/limits.h"
#include "io/publish.h"
#include "models/prompts.h"
#include "run/record.h"
#include "stages/animate.h"
#include "stages/parents.h"
#include "stages/plan_internal.h"
#include "stages/sheet.h"
#include "stages/summary.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SIDE_MAX 16384

struct merge {
    const struct shards *s;
    struct run run;
    struct prompts prompts; /* `given` alone, its texts the shards' */
    const char **case_names;
    struct plan p;
};

static bool no_memory(struct err *e)
{
    return err_set(e, ERR_MEMORY, "merge: out of memory");
}

/* The plan */

static bool read_size(const struct former_cell *cell, int64_t *height, int64_t *width,
                      struct err *e)
{
    return config_need_int(cell->planned, "height", 1, SIDE_MAX, height, e) &&
           config_need_int(cell->planned, "width", 1, SIDE_MAX, width, e);
}

static bool take_names(struct merge *m, struct err *e)
{
    const struct shards *s = m->s;
    m->case_names = calloc((size_t)s->cases, sizeof *m->case_names);
    m->prompts.given = calloc((size_t)s->cases, sizeof *m->prompts.given);
    if (!m->case_names || !m->prompts.given)
        return no_memory(e);
    for (int64_t n = 0; n < s->cases; n++)
        m->case_names[n] = shards_case_name(s, n);
    m->run.prompts = &m->prompts;
    for (int i = 0; i < s->count; i++) {
        const struct json *v = s->of[i].prompts ? s->of[i].prompts->child : NULL;
        if (!v)
            m->run.prompts = NULL;
        for (int64_t n = i; v; v = v->next, n += s->count)
            if (!config_as_string(v, (const char **)&m->prompts.given[n], e))
                return false;
    }
    return true;
}

static bool take_models(struct plan *p, const struct json *record, struct err *e)
{
    const struct json *models = json_get(record, "models");
    for (const struct json *v = models->child; v; v = v->next)
        if (!config_as_string(v, &p->model_names[p->models++], e))
            return false;
    return true;
}

static bool make_plan(struct merge *m, struct err *e)
{
    struct plan *p = &m->p;
    const struct shards *s = m->s;
    p->run = &m->run;
    p->cases = p->total = s->cases;
    if (!take_names(m, e) || !take_models(p, shards_record(s), e) ||
        !read_size(shards_parent(s, 0, 0), &p->height, &p->width, e) ||
        (s->results > 0 &&
         !read_size(shards_result(s, 0, 0), &p->vq_height, &p->vq_width, e)) ||
        (m->run.options->command == COMMAND_BLEND && !plan_mixtures(p, e)))
        return false;
    bool fits = m->run.options->command == COMMAND_BLEND ? p->results == s->results
                : m->run.options->command == COMMAND_OPTIMIZE
                    ? s->results >= RESULT_PREVIEW
                    : s->results == 0;
    p->case_names = m->case_names;
    p->results = s->results;
    return fits || json_fail(shards_record(s), e,
                             "cells: found %d results a case, expected those of the "
                             "options",
                             s->results);
}

/* The record */

static bool read_parent(const struct json *v, struct record_parent *parent, struct err *e)
{
    int64_t height = 0, width = 0;
    const struct json *seed = json_get(v, "seed");
    bool ok = config_as_object(v, e) &&
              config_need_string(v, "model", &parent->model, e) &&
              config_may_bool(v, "outside", &parent->outside, e) &&
              config_may_string(v, "prompt", &parent->prompt, e) &&
              config_may_string(v, "negative", &parent->negative, e) &&
              config_may_string(v, "scheduler", &parent->scheduler, e) &&
              (!seed || config_as_uint64(seed, &parent->seed, e)) &&
              config_may_double(v, "weight", 0, 1, &parent->weight, e) &&
              config_may_int(v, "height", 1, SIDE_MAX, &height, e) &&
              config_may_int(v, "width", 1, SIDE_MAX, &width, e);
    parent->height = (int)height;
    parent->width = (int)width;
    return ok;
}

static bool read_parents(const struct json *v, struct record_cell *cell,
                         struct record_parent *parents, struct err *e)
{
    const struct json *all;
    cell->parents = parents;
    cell->parent_count = 1;
    if (!cell->layer)
        return read_parent(v, &parents[0], e);
    if (!config_need_array(v, "parents", 1, OPTIONS_MAX_MODELS, &all, e))
        return false;
    cell->parent_count = (int)all->size;
    for (v = all->child; v; v = v->next)
        if (!read_parent(v, parents++, e))
            return false;
    return true;
}

static bool add_cell(const struct merge *m, int64_t n, const struct former_cell *from,
                     struct err *e)
{
    struct record_parent parents[OPTIONS_MAX_MODELS] = {{0}};
    struct record_cell cell = {
        .case_name = m->case_names[n], .case_index = n, .file = from->file};
    const struct json *v = from->planned;
    const char *seed = "";
    int64_t height, width, epoch = 0;
    if (!read_size(from, &height, &width, e) ||
        !config_may_string(v, "layer", &cell.layer, e) ||
        !config_may_string(v, "result", &cell.optimized.which, e) ||
        !config_may_int(v, "epoch", 0, INT32_MAX, &epoch, e) ||
        !config_may_string(v, "seed_sha256", &seed, e) ||
        !read_parents(v, &cell, parents, e))
        return false;
    cell.height = (int)height;
    cell.width = (int)width;
    cell.optimized.epoch = (int)epoch;
    if (strlen(seed) < sizeof cell.optimized.seed_sha256)
        memcpy(cell.optimized.seed_sha256, seed, strlen(seed) + 1);
    return record_add_cell(m->run.record, &cell, e) >= 0;
}

static bool add_cells(const struct merge *m, struct err *e)
{
    const struct shards *s = m->s;
    char name[256];
    for (int64_t n = 0; n < s->cases; n++)
        for (int i = 0; i < s->models; i++)
            if (!add_cell(m, n, shards_parent(s, n, i), e))
                return false;
    for (int64_t n = 0; n < s->cases; n++) {
        for (int i = 0; i < s->results; i++)
            if (!add_cell(m, n, shards_result(s, n, i), e))
                return false;
        if (m->run.options->command == COMMAND_OPTIMIZE &&
            !record_add_file(m->run.record, plan_losses_file(&m->p, n, name, sizeof name),
                             e))
            return false;
    }
    return record_add_file(m->run.record, "images.npy", e) && animate_plan(&m->p, e);
}

static bool add_weights(const struct merge *m, int number, const struct json *files,
                        struct err *e)
{
    const char *inside;
    int64_t size;
    int k = 0;
    for (const struct json *v = files->child; v; v = v->next, k++)
        if (!config_as_object(v, e) || !config_need_string(v, "file", &inside, e) ||
            !config_need_int(v, "size", 0, INT64_MAX, &size, e) ||
            !record_add_known_weights(m->run.record, number, inside, (uint64_t)size,
                                      former_run_weights(&m->s->of[0].run, number, k), e))
            return false;
    return true;
}

static bool add_networks(const struct merge *m, struct err *e)
{
    const struct json *ensemble, *networks, *files;
    if (!config_need_object(shards_record(m->s), "ensemble", &ensemble, e) ||
        !config_need_array(ensemble, "networks", 0, OPTIONS_MAX_MODELS + 3, &networks, e))
        return false;
    for (const struct json *v = networks->child; v; v = v->next) {
        const char *role, *name, *path = NULL;
        if (!config_as_object(v, e) || !config_need_string(v, "role", &role, e) ||
            !config_need_string(v, "name", &name, e) ||
            !config_may_string(v, "path", &path, e) ||
            !config_need_array(v, "files", 0, 100000, &files, e))
            return false;
        int number = record_add_network(m->run.record, role, name, path, e);
        if (number < 0 || !add_weights(m, number, files, e))
            return false;
        record_keep_network(m->run.record, number);
    }
    return true;
}

static bool make_record(struct merge *m, struct err *e)
{
    const struct json *from = shards_record(m->s);
    const char *device = NULL, *dtype = NULL, *stream = NULL;
    int64_t threads = 0;
    if (!config_may_string(from, "standard_input", &stream, e))
        return false;
    record_set_axes(m->run.record, m->p.cases, (char *const *)m->case_names, m->p.models,
                    m->p.model_names);
    if (m->run.prompts)
        record_set_prompts(m->run.record, m->prompts.given, stream);
    return add_cells(m, e) && add_networks(m, e) &&
           config_may_string(from, "device", &device, e) &&
           config_may_string(from, "dtype", &dtype, e) &&
           config_may_int(from, "threads", 0, INT32_MAX, &threads, e) &&
           record_set_machine(m->run.record, device, dtype, (int)threads, e);
}

/* Files */

static bool copy(const char *from, const char *to, struct err *e)
{
    char *bytes;
    size_t size;
    if (!file_read_all(from, LIMIT_IMAGE_FILE, &bytes, &size, e))
        return false;
    bool ok = publish_bytes(to, bytes, size, e);
    free(bytes);
    return ok;
}

/* A link where the file system can and nothing is in the way, else a copy. Of what a
 * symbolic link leads to: the link itself would lead elsewhere from another folder. */
static bool take_file(const char *directory, const char *file, const char *sha256,
                      const char *to, struct err *e)
{
    char hex[SHA256_HEX];
    char *from = str_path(directory, file);
    if (!from)
        return no_memory(e);
    bool ok = file_sha256(from, hex, e);
    if (ok && strcmp(hex, sha256) != 0)
        ok = err_set(e, ERR_INPUT,
                     "%s: sha256: found %s, expected %s: altered since the run made it",
                     STR_SHOW(from), hex, sha256);
    ok = ok && (linkat(AT_FDCWD, from, AT_FDCWD, to, AT_SYMLINK_FOLLOW) == 0 ||
                copy(from, to, e));
    free(from);
    return ok;
}

/* What an earlier joining brought must be what this one would bring. */
static bool check_brought(const struct record *r, int cell,
                          const struct former_cell *from, struct err *e)
{
    if (strcmp(record_cell_sha256(r, cell), from->sha256) == 0)
        return true;
    err_set(e, ERR_INPUT, "%s: sha256: found %s, expected %s: joined from other shards",
            STR_SHOW(record_cell_path(r, cell)), record_cell_sha256(r, cell),
            from->sha256);
    return err_hint(e, "--force starts over");
}

static bool take_cell(const struct merge *m, int64_t n, int cell,
                      const struct former_cell *from, struct err *e)
{
    struct record *r = m->run.record;
    const char *pixels = *from->pixels_sha256 ? from->pixels_sha256 : NULL;
    const char *directory = m->s->of[n % m->s->count].directory;
    if (record_cell_is_done(r, cell))
        return check_brought(r, cell, from, e);
    return take_file(directory, from->file, from->sha256, record_cell_path(r, cell), e) &&
           record_cell_done(r, cell, pixels, from->seconds, e);
}

static bool take_pixels(const struct merge *m, int64_t n, int i,
                        const struct image_tensor *from, struct image_tensor *images,
                        struct err *e)
{
    struct image picture = {0};
    char hex[SHA256_HEX];
    if (!image_tensor_read(from, n / m->s->count, i, &picture, e))
        return false;
    parents_hash(&picture, hex);
    const char *expected = shards_parent(m->s, n, i)->pixels_sha256;
    bool ok = strcmp(hex, expected) == 0
                  ? image_tensor_write(images, n, i, &picture, e)
                  : err_set(e, ERR_INPUT,
                            "%s: case %s, model %s: sha256: found %s, "
                            "expected %s",
                            STR_SHOW(from->path), STR_SHOW(m->case_names[n]),
                            STR_SHOW(m->p.model_names[i]), hex, expected);
    image_free(&picture);
    return ok;
}

static bool take_parents(const struct merge *m, int64_t n,
                         const struct image_tensor *from, struct image_tensor *images,
                         struct err *e)
{
    for (int i = 0; i < m->p.models; i++) {
        int cell = plan_parent_cell(&m->p, n, i);
        if ((!record_cell_is_done(m->run.record, cell) &&
             !take_pixels(m, n, i, from, images, e)) ||
            !take_cell(m, n, cell, shards_parent(m->s, n, i), e))
            return false;
    }
    return true;
}

static void write_outcome(struct json_writer *w, const void *outcome)
{
    json_write_value(w, outcome);
}

static bool take_results(const struct merge *m, int64_t n, struct err *e)
{
    struct record *r = m->run.record;
    const struct shard *shard = &m->s->of[n % m->s->count];
    for (int i = 0; i < m->p.results; i++)
        if (!take_cell(m, n, plan_result_cell(&m->p, n, i), shards_result(m->s, n, i), e))
            return false;
    if (m->run.options->command != COMMAND_OPTIMIZE || plan_case_is_done(&m->p, n))
        return true;
    char name[256];
    plan_losses_file(&m->p, n, name, sizeof name);
    const struct former_file *losses = former_run_file(&shard->run, name);
    const struct json *outcome = shard->run.outcomes[n / m->s->count];
    if (!losses || !*losses->sha256 || !outcome)
        return err_set(e, ERR_INPUT, "%s: found no losses of case %s, expected them",
                       STR_SHOW(shard->directory), STR_SHOW(m->case_names[n]));
    return take_file(shard->directory, name, losses->sha256, record_file_path(r, name),
                     e) &&
           record_file_done(r, name, e) &&
           record_add_outcome(r, n, write_outcome, outcome, e);
}

static bool open_shard(const struct merge *m, int i, struct image_tensor *t,
                       struct err *e)
{
    const struct plan *p = &m->p;
    const struct shard *shard = &m->s->of[i];
    char *path = str_path(shard->directory, "images.npy");
    bool ok = path ? image_tensor_open(t, path, e) : no_memory(e);
    if (ok && (t->cases != shard->run.case_count || t->models != p->models ||
               t->height != p->height || t->width != p->width))
        ok = err_set(e, ERR_INPUT,
                     "%s: shape: found %lld,%lld,%lld,%lld,3, expected "
                     "%lld,%d,%lld,%lld,3",
                     STR_SHOW(path), (long long)t->cases, (long long)t->models,
                     (long long)t->height, (long long)t->width,
                     (long long)shard->run.case_count, p->models, (long long)p->height,
                     (long long)p->width);
    free(path);
    return ok;
}

static bool check_tensors(const struct merge *m, struct err *e)
{
    bool ok = true;
    for (int i = 0; ok && i < m->s->count; i++) {
        struct image_tensor t = {0};
        struct err ignored = {0};
        ok = open_shard(m, i, &t, e);
        image_tensor_close(&t, &ignored);
    }
    return ok;
}

static bool take_shard(const struct merge *m, int i, struct image_tensor *images,
                       struct err *e)
{
    struct image_tensor from = {0};
    struct err ignored = {0};
    bool ok = open_shard(m, i, &from, e);
    for (int64_t n = i; ok && n < m->p.cases; n += m->s->count)
        ok = stop_check(e) && take_parents(m, n, &from, images, e) &&
             take_results(m, n, e);
    image_tensor_close(&from, &ignored);
    return ok;
}

static bool join(const struct merge *m, struct err *e)
{
    struct image_tensor images = {0};
    struct record *r = m->run.record;
    struct err failure = {0};
    bool ok = check_tensors(m, e) && plan_check_disk(&m->p, e) && record_begin(r, e) &&
              parents_open(&m->p, &images, e);
    for (int i = 0; ok && i < m->s->count; i++)
        ok = take_shard(m, i, &images, e);
    ok = ok && sheet_write(&m->p, e) && animate_make(&m->p, &failure, e) &&
         summary_write(&m->p, e);
    if (failure.code == ERR_OUTPUT)
        err_hint(&failure, "all pictures are there; the same command tries the animation "
                           "again");
    ok = parents_close(&m->p, &images, e) && ok && record_complete(r, e);
    if (ok)
        *e = failure;
    return ok && failure.code == ERR_OK;
}

static bool check_complete(const struct merge *m, struct err *e)
{
    const struct shards *s = m->s;
    for (int64_t n = 0; n < s->cases; n++) {
        for (int i = 0; i < s->models; i++)
            if (!check_brought(m->run.record, plan_parent_cell(&m->p, n, i),
                               shards_parent(s, n, i), e))
                return false;
        for (int i = 0; i < s->results; i++)
            if (!check_brought(m->run.record, plan_result_cell(&m->p, n, i),
                               shards_result(s, n, i), e))
                return false;
    }
    if (!record_tidy(m->run.record, e))
        return false;
    progress_note(m->run.progress, NOTE_INFO, "%s is complete: nothing to do",
                  m->run.record->directory);
    return true;
}

bool merge_run(const struct run *run, const struct shards *s, bool start_over,
               struct err *e)
{
    struct merge m = {.s = s, .run = *run};
    bool complete = false;
    bool ok = make_plan(&m, e) && make_record(&m, e) &&
              (start_over || record_resume(run->record, &complete, run->progress, e)) &&
              (complete ? check_complete(&m, e) : join(&m, e));
    for (int i = 0; ok && i < m.p.models; i++)
        plan_announce_parents(&m.p, i);
    for (int64_t n = 0; ok && n < m.p.cases; n++)
        plan_announce(&m.p, n);
    m.p.case_names = NULL;
    plan_close(&m.p);
    free(m.case_names);
    free(m.prompts.given);
    return ok;
}
