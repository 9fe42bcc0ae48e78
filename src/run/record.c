/* record.c: keeps account of a run. Leaves the shape of the JSON to record_write.c. */
#include "run/record.h"

#include "base/str.h"
#include "io/file.h"
#include "io/publish.h"
#include "run/directory.h"
#include "run/record_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool no_memory(struct err *e)
{
    return err_set(e, ERR_MEMORY, "record: out of memory");
}

/* A copy of `text`, which may be NULL. */
static bool copy(char **out, const char *text, struct err *e)
{
    *out = text ? str_dup(text) : NULL;
    return *out || !text || no_memory(e);
}

/* Room for one more element at the end of an array; NULL with ERR_MEMORY. The element is
 * zeroed and not counted yet. */
static void *one_more(void *array, int count, size_t size, struct err *e)
{
    /* Powers of two only: adding a million cells must not copy them a million times. */
    bool full = (count & (count - 1)) == 0;
    size_t room = count ? (size_t)count * 2 : 1;
    char *grown = full ? reallocarray(array, room, size) : array;
    if (!grown) {
        no_memory(e);
        return NULL;
    }
    memset(grown + (size_t)count * size, 0, size);
    return grown;
}

/* Opening and closing */

bool record_open(struct record *r, const char *directory,
                 const struct record_about *about, struct err *e)
{
    *r = (struct record){0};
    r->state = calloc(1, sizeof *r->state);
    bool ok = (r->state || no_memory(e)) && copy(&r->directory, directory, e);
    if (ok) {
        r->state->about = *about;
        r->state->state = "running";
        r->state->hashes = weight_hashes_new(e);
        ok = r->state->hashes != NULL;
    }
    if (!ok)
        record_close(r);
    return ok;
}

static void free_cell(struct planned_cell *c)
{
    for (int i = 0; c->is.parents && i < c->is.parent_count; i++) {
        free((char *)c->is.parents[i].model);
        free((char *)c->is.parents[i].prompt);
        free((char *)c->is.parents[i].negative);
        free((char *)c->is.parents[i].scheduler);
    }
    free((struct record_parent *)c->is.parents);
    free((char *)c->is.case_name);
    free((char *)c->is.file);
    free((char *)c->is.layer);
    free(c->path);
}

static void free_network(struct network_entry *n)
{
    for (int i = 0; i < n->file_count; i++) {
        free(n->files[i].inside);
        free(n->files[i].path);
    }
    free(n->files);
    free(n->role);
    free(n->name);
    free(n->listed);
}

void record_close(struct record *r)
{
    struct record_state *s = r->state;
    free(r->directory);
    *r = (struct record){0};
    if (!s)
        return;
    weight_hashes_free(s->hashes);
    journal_close(&s->journal);
    former_run_close(&s->former);
    free(s->kept);
    for (int64_t n = 0; s->outcomes && n < s->case_count; n++)
        free(s->outcomes[n]);
    free(s->outcomes);
    for (int i = 0; i < s->cell_count; i++)
        free_cell(&s->cells[i]);
    for (int i = 0; i < s->network_count; i++)
        free_network(&s->networks[i]);
    for (int i = 0; i < s->file_count; i++) {
        free(s->files[i].file);
        free(s->files[i].path);
    }
    free(s->cells);
    free(s->networks);
    free(s->files);
    free(s->device);
    free(s->dtype);
    str_free(&s->json);
    str_free(&s->parameters);
    free(s);
}

/* What the run consists of */

bool record_set_machine(struct record *r, const char *device, const char *dtype,
                        int threads, struct err *e)
{
    struct record_state *s = r->state;
    free(s->device);
    free(s->dtype);
    s->dtype = NULL;
    s->threads = threads;
    return copy(&s->device, device, e) && copy(&s->dtype, dtype, e);
}

void record_set_axes(struct record *r, int64_t cases, char *const *case_names, int models,
                     const char *const *model_names)
{
    r->state->case_count = cases;
    r->state->case_names = case_names;
    r->state->model_count = models;
    r->state->model_names = model_names;
}

void record_set_shard(struct record *r, struct option_shard shard, int64_t total)
{
    r->state->shard = shard;
    r->state->total = total;
}

void record_set_prompts(struct record *r, char *const *given)
{
    r->state->prompts = given;
}

int record_add_network(struct record *r, const char *role, const char *name,
                       const char *listed, struct err *e)
{
    struct record_state *s = r->state;
    struct network_entry *all = one_more(s->networks, s->network_count, sizeof *all, e);
    if (!all)
        return -1;
    s->networks = all;
    struct network_entry *n = &all[s->network_count++];
    bool ok =
        copy(&n->role, role, e) && copy(&n->name, name, e) && copy(&n->listed, listed, e);
    return ok ? s->network_count - 1 : -1;
}

bool record_add_weights(struct record *r, int network, const char *path,
                        const char *inside, struct err *e)
{
    struct network_entry *n = &r->state->networks[network];
    for (int i = 0; i < n->file_count; i++)
        if (strcmp(n->files[i].inside, inside) == 0)
            return true;
    struct stat st;
    if (stat(path, &st) != 0)
        return err_set(e, ERR_INPUT, "%s: %s", STR_SHOW(path), strerror(errno));
    struct weight_file *files = one_more(n->files, n->file_count, sizeof *files, e);
    if (!files)
        return false;
    n->files = files;
    struct weight_file *f = &files[n->file_count++];
    f->number = -1;
    f->size = (uint64_t)st.st_size;
    return copy(&f->inside, inside, e) && copy(&f->path, path, e);
}

bool record_add_known_weights(struct record *r, int network, const char *inside,
                              uint64_t size, const char *sha256, struct err *e)
{
    struct network_entry *n = &r->state->networks[network];
    struct weight_file *files = one_more(n->files, n->file_count, sizeof *files, e);
    if (!files)
        return false;
    n->files = files;
    struct weight_file *f = &files[n->file_count++];
    f->number = -1;
    f->size = size;
    snprintf(f->sha256, sizeof f->sha256, "%s", sha256);
    return copy(&f->inside, inside, e);
}

static struct planned_file *find_file(const struct record_state *s, const char *file)
{
    for (int i = 0; i < s->file_count; i++)
        if (strcmp(s->files[i].file, file) == 0)
            return &s->files[i];
    return NULL;
}

static bool set_path(const struct record *r, const char *file, char **path, struct err *e)
{
    if (!run_directory_inside(file))
        return err_set(e, ERR_BUG, "record: found \"%s\", expected a path inside",
                       STR_SHOW(file));
    *path = str_path(r->directory, file);
    return *path || no_memory(e);
}

/* Nothing that was there before may be lost: a file of the same name that no record lists
 * is somebody else's. Makes the folder of a new one. */
static bool claim(const struct record *r, const struct former_run *former,
                  const char *file, const char *path, struct err *e)
{
    struct stat st;
    if (lstat(path, &st) == 0 && !former_run_file(former, file))
        return err_set(e, ERR_INPUT, "%s: found a file that is no run's, expected none",
                       STR_SHOW(path));
    const char *slash = strchr(file, '/');
    if (!slash)
        return true;
    char *folder = strndup(file, (size_t)(slash - file));
    bool ok = folder ? run_directory_make_folder(r->directory, folder, e) : no_memory(e);
    free(folder);
    return ok;
}

static bool copy_parents(struct record_cell *to, const struct record_cell *from,
                         struct err *e)
{
    struct record_parent *parents = calloc((size_t)from->parent_count, sizeof *parents);
    if (!parents)
        return no_memory(e);
    to->parents = parents;
    to->parent_count = from->parent_count;
    for (int i = 0; i < from->parent_count; i++) {
        const struct record_parent *p = &from->parents[i];
        parents[i].outside = p->outside;
        parents[i].seed = p->seed;
        parents[i].weight = p->weight;
        parents[i].height = p->height;
        parents[i].width = p->width;
        if (!copy((char **)&parents[i].model, p->model, e) ||
            !copy((char **)&parents[i].prompt, p->prompt, e) ||
            !copy((char **)&parents[i].negative, p->negative, e) ||
            !copy((char **)&parents[i].scheduler, p->scheduler, e))
            return false;
    }
    return true;
}

int record_add_cell(struct record *r, const struct record_cell *cell, struct err *e)
{
    struct record_state *s = r->state;
    struct planned_cell *all = one_more(s->cells, s->cell_count, sizeof *all, e);
    if (!all)
        return -1;
    s->cells = all;
    struct planned_cell *c = &all[s->cell_count++];
    c->is.case_index = cell->case_index;
    c->is.case_seed = cell->case_seed;
    c->is.height = cell->height;
    c->is.width = cell->width;
    c->is.optimized = cell->optimized;
    snprintf(c->state, sizeof c->state, "planned");
    bool ok = copy((char **)&c->is.case_name, cell->case_name, e) &&
              copy((char **)&c->is.file, cell->file, e) &&
              copy((char **)&c->is.layer, cell->layer, e) &&
              copy_parents(&c->is, cell, e) && set_path(r, cell->file, &c->path, e);
    return ok ? s->cell_count - 1 : -1;
}

/* In the journal, so that the file is known as this run's should run.json never say so.
 */
static bool note_file(struct record_state *s, const struct planned_file *f, struct err *e)
{
    struct str line = {0};
    struct json_writer w = {.out = &line};
    json_write_open_object(&w);
    json_write_key(&w, "file");
    json_write_string(&w, f->file);
    if (f->sha256[0]) {
        json_write_key(&w, "sha256");
        json_write_string(&w, f->sha256);
    }
    json_write_close(&w);
    bool ok =
        (!line.failed || no_memory(e)) && journal_add(&s->journal, str_text(&line), e);
    str_free(&line);
    return ok;
}

bool record_add_file(struct record *r, const char *file, struct err *e)
{
    struct record_state *s = r->state;
    if (find_file(s, file))
        return true;
    struct planned_file *all = one_more(s->files, s->file_count, sizeof *all, e);
    if (!all)
        return false;
    s->files = all;
    struct planned_file *f = &all[s->file_count++];
    bool ok = copy(&f->file, file, e) && set_path(r, file, &f->path, e);
    if (!ok || !s->begun)
        return ok;
    return claim(r, &s->former, file, f->path, e) && note_file(s, f, e);
}

const char *record_cell_path(const struct record *r, int cell)
{
    return r->state->cells[cell].path;
}

const char *record_file_path(const struct record *r, const char *file)
{
    const struct planned_file *f = find_file(r->state, file);
    return f ? f->path : NULL;
}

/* Records inside pictures */

int record_cell_texts(struct record *r, int cell, const struct image_text **texts,
                      struct err *e)
{
    struct record_state *s = r->state;
    struct json_writer w = {.out = &s->json};
    str_clear(&s->json);
    str_clear(&s->parameters);
    record_write_cell(s, &s->cells[cell].is, &w);
    record_write_parameters(s, &s->cells[cell].is, &s->parameters);
    if (s->json.failed || s->parameters.failed)
        return no_memory(e);
    s->texts[0] = (struct image_text){"diffens", str_text(&s->json)};
    s->texts[1] = (struct image_text){"parameters", str_text(&s->parameters)};
    *texts = s->texts;
    return s->parameters.size ? 2 : 1;
}

int record_figure_texts(struct record *r, const struct image_text **texts, struct err *e)
{
    struct record_state *s = r->state;
    struct json_writer w = {.out = &s->json};
    str_clear(&s->json);
    record_write_figure(s, &w);
    if (s->json.failed)
        return no_memory(e);
    s->texts[0] = (struct image_text){"diffens", str_text(&s->json)};
    *texts = s->texts;
    return 1;
}

/* run.json */

static bool publish(struct record *r, struct err *e)
{
    struct str json = {0};
    struct json_writer w = {.out = &json, .indent = 1};
    record_write_all(r->state, &w);
    str_add(&json, "\n");
    char *path = str_path(r->directory, RUN_RECORD);
    bool ok = path && !json.failed ? publish_bytes(path, str_text(&json), json.size, e)
                                   : no_memory(e);
    free(path);
    str_free(&json);
    return ok;
}

static int by_file(const void *a, const void *b)
{
    const struct planned_cell *const *p = a, *const *q = b;
    return strcmp((*p)->is.file, (*q)->is.file);
}

/* Case "a_b" of model "c" and case "a" of model "b_c" would share a file. */
static bool check_different(const struct record_state *s, struct err *e)
{
    const struct planned_cell **order = calloc((size_t)s->cell_count + 1, sizeof *order);
    if (!order)
        return no_memory(e);
    for (int i = 0; i < s->cell_count; i++)
        order[i] = &s->cells[i];
    qsort(order, (size_t)s->cell_count, sizeof *order, by_file);
    bool ok = true;
    for (int i = 1; ok && i < s->cell_count; i++)
        if (by_file(&order[i - 1], &order[i]) == 0)
            ok = err_set(
                e, ERR_INPUT,
                "found two pictures with the name %s, expected names of cases and "
                "models, and mixtures, that tell them apart",
                STR_SHOW(order[i]->is.file));
    free(order);
    return ok;
}

static bool claim_all(const struct record *r, const struct former_run *former,
                      struct err *e)
{
    const struct record_state *s = r->state;
    for (int i = 0; i < s->cell_count; i++)
        if (!claim(r, former, s->cells[i].is.file, s->cells[i].path, e))
            return false;
    for (int i = 0; i < s->file_count; i++)
        if (!claim(r, former, s->files[i].file, s->files[i].path, e))
            return false;
    return true;
}

/* A new run: what a former one has made is removed. Folders that the removal leaves empty
 * are gone: the second claim makes them anew. */
static bool clear_former(struct record *r, struct err *e)
{
    struct former_run former = {0};
    bool ok = former_run_open(&former, r->directory, e) && claim_all(r, &former, e) &&
              former_run_remove(&former, r->directory, e) &&
              claim_all(r, &r->state->former, e);
    former_run_close(&former);
    return ok;
}

/* Temporaries of a run that was killed. */
static bool remove_stale(const struct record *r, struct err *e)
{
    static const char *const folders[] = {"", "images", "blend", "optimize",
                                          RUN_CHECKPOINTS};
    bool ok = true;
    for (size_t i = 0; ok && i < sizeof folders / sizeof *folders; i++) {
        struct stat st;
        char *path = str_path(r->directory, folders[i]);
        ok = path || no_memory(e);
        if (ok && lstat(path, &st) == 0 && S_ISDIR(st.st_mode))
            ok = publish_remove_stale(path, NULL, e);
        free(path);
    }
    return ok;
}

static bool begin_hashing(struct record_state *s, struct err *e)
{
    for (int i = 0; i < s->network_count; i++) {
        struct network_entry *n = &s->networks[i];
        for (int k = 0; k < n->file_count; k++) {
            struct weight_file *f = &n->files[k];
            if (n->kept && f->sha256[0])
                continue;
            f->number = weight_hashes_add(s->hashes, f->path, e);
            if (f->number < 0)
                return false;
        }
    }
    return true;
}

bool record_begin(struct record *r, struct err *e)
{
    struct record_state *s = r->state;
    s->state = "running";
    bool ok = check_different(s, e) && remove_stale(r, e) &&
              (s->resumed ? claim_all(r, &s->former, e) : clear_former(r, e)) &&
              begin_hashing(s, e) && (!s->resumed || record_check_weights(s, e)) &&
              publish(r, e) && journal_begin(&s->journal, r->directory, e);
    s->begun = ok;
    return ok;
}

/* What happens */

static bool take_hash(struct record_state *s, struct weight_file *f)
{
    return !f->sha256[0] && f->number >= 0 &&
           weight_hashes_get(s->hashes, f->number, f->sha256);
}

/* Hashes that are known by now. */
static bool note_weights(struct record_state *s, struct err *e)
{
    bool ok = true;
    for (int i = 0; i < s->network_count; i++) {
        for (int k = 0; ok && k < s->networks[i].file_count; k++) {
            struct weight_file *f = &s->networks[i].files[k];
            take_hash(s, f);
            if (!f->sha256[0] || f->noted)
                continue;
            char line[160];
            snprintf(line, sizeof line,
                     "{\"weights\": %d, \"file\": %d, \"sha256\": \"%s\"}", i, k,
                     f->sha256);
            f->noted = true;
            ok = journal_add(&s->journal, line, e);
        }
    }
    return ok;
}

bool record_cell_done(struct record *r, int cell, const char *pixels_sha256,
                      double seconds, struct err *e)
{
    struct record_state *s = r->state;
    struct planned_cell *c = &s->cells[cell];
    if (!file_sha256(c->path, c->sha256, e))
        return false;
    snprintf(c->state, sizeof c->state, "done");
    snprintf(c->pixels_sha256, sizeof c->pixels_sha256, "%s",
             pixels_sha256 ? pixels_sha256 : "");
    c->seconds = seconds;
    struct str line = {0};
    str_addf(&line,
             "{\"cell\": %d, \"sha256\": \"%s\", \"pixels_sha256\": %s%s%s, \"seconds\": "
             "%.6f}",
             cell, c->sha256, pixels_sha256 ? "\"" : "",
             pixels_sha256 ? pixels_sha256 : "null", pixels_sha256 ? "\"" : "", seconds);
    bool ok = (!line.failed || no_memory(e)) &&
              journal_add(&s->journal, str_text(&line), e) && note_weights(s, e);
    str_free(&line);
    return ok;
}

bool record_cell_is_done(const struct record *r, int cell)
{
    return strcmp(r->state->cells[cell].state, "done") == 0;
}

const char *record_cell_sha256(const struct record *r, int cell)
{
    return r->state->cells[cell].sha256;
}

const char *record_cell_pixels(const struct record *r, int cell)
{
    return r->state->cells[cell].pixels_sha256;
}

void record_cell_failed(struct record *r, int cell, const char *why)
{
    struct planned_cell *c = &r->state->cells[cell];
    snprintf(c->state, sizeof c->state, "%s", why);
}

bool record_file_done(struct record *r, const char *file, struct err *e)
{
    struct planned_file *f = find_file(r->state, file);
    if (!f)
        return err_set(e, ERR_BUG, "record: %s is not planned", STR_SHOW(file));
    return file_sha256(f->path, f->sha256, e) && note_file(r->state, f, e);
}

bool record_file_is_done(const struct record *r, const char *file)
{
    const struct planned_file *f = find_file(r->state, file);
    return f && f->sha256[0];
}

bool record_take_json(char **out, struct str *json, struct err *e)
{
    free(*out);
    *out = str_take(json);
    return *out || no_memory(e);
}

static bool room_for_outcomes(struct record_state *s, struct err *e)
{
    if (!s->outcomes)
        s->outcomes = calloc((size_t)s->case_count + 1, sizeof *s->outcomes);
    return s->outcomes || no_memory(e);
}

bool record_add_outcome(struct record *r, int64_t index_case, record_outcome_fn *write,
                        const void *user, struct err *e)
{
    struct record_state *s = r->state;
    struct str json = {0}, line = {0};
    struct json_writer w = {.out = &json};
    write(&w, user);
    bool ok =
        room_for_outcomes(s, e) && record_take_json(&s->outcomes[index_case], &json, e);
    if (ok)
        str_addf(&line, "{\"case\": %" PRId64 ", \"outcome\": %s}", index_case,
                 s->outcomes[index_case]);
    ok = ok && (!line.failed || no_memory(e)) &&
         journal_add(&s->journal, str_text(&line), e);
    str_free(&json);
    str_free(&line);
    return ok;
}

const char *record_outcome(const struct record *r, int64_t index_case)
{
    return r->state->outcomes ? r->state->outcomes[index_case] : NULL;
}

bool record_has_outcome(const struct record *r, int64_t index_case)
{
    return r->state->outcomes && r->state->outcomes[index_case];
}

/* The end */

bool record_stop(struct record *r, struct err *e)
{
    struct record_state *s = r->state;
    struct err ignored = {0};
    if (!s->begun) /* what is in the directory is not this run's yet */
        return true;
    s->state = "stopped";
    note_weights(s, &ignored);
    if (!publish(r, e))
        return false;
    journal_remove(&s->journal);
    return true;
}

bool record_await_weights(struct record_state *s, struct err *e)
{
    return weight_hashes_wait(s->hashes, e) && note_weights(s, e);
}

bool record_tidy(const struct record *r, struct err *e)
{
    char *path = str_path(r->directory, RUN_JOURNAL);
    if (!path)
        return no_memory(e);
    unlink(path);
    free(path);
    return remove_stale(r, e);
}

bool record_complete(struct record *r, struct err *e)
{
    struct record_state *s = r->state;
    s->state = "complete";
    for (int i = 0; i < s->cell_count; i++)
        if (strcmp(s->cells[i].state, "done") != 0)
            s->state = "failed";
    for (int i = 0; i < s->file_count; i++)
        if (access(s->files[i].path, F_OK) != 0)
            s->state = "failed";
    if (!record_await_weights(s, e) || !publish(r, e))
        return false;
    journal_remove(&s->journal);
    return true;
}
