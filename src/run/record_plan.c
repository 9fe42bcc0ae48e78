/* record_plan.c: what a run consists of: its machine, networks, cells and files, as they
 * are planned. Leaves what becomes of them to record.c. */
#include "run/record_internal.h"

#include "base/str.h"
#include "run/directory.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

bool record_no_memory(struct err *e)
{
    return err_set(e, ERR_MEMORY, "record: out of memory");
}

/* A copy of `text`, which may be NULL. */
static bool copy(char **out, const char *text, struct err *e)
{
    *out = text ? str_dup(text) : NULL;
    return *out || !text || record_no_memory(e);
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
        record_no_memory(e);
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
    bool ok = (r->state || record_no_memory(e)) && copy(&r->directory, directory, e);
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
    hash_index_close(&s->index);
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
    free(s->by_name);
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

void record_set_prompts(struct record *r, char *const *given, const char *stream)
{
    r->state->prompts = given;
    r->state->stream = stream;
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

/* The slot of a name: its own, or the free one where it belongs. */
static int *name_slot(const struct record_state *s, const char *file)
{
    size_t at = str_hash(0, file, strlen(file));
    for (;; at++) {
        int *slot = &s->by_name[at & (s->by_name_size - 1)];
        if (*slot < 0 || strcmp(s->files[*slot].file, file) == 0)
            return slot;
    }
}

static bool make_room_for_names(struct record_state *s, struct err *e)
{
    size_t size = s->by_name_size ? 2 * s->by_name_size : 64;
    if (2 * ((size_t)s->file_count + 1) <= s->by_name_size)
        return true;
    int *slots = malloc(size * sizeof *slots);
    if (!slots)
        return record_no_memory(e);
    memset(slots, 0xff, size * sizeof *slots);
    free(s->by_name);
    s->by_name = slots;
    s->by_name_size = size;
    for (int i = 0; i < s->file_count; i++)
        *name_slot(s, s->files[i].file) = i;
    return true;
}

struct planned_file *record_find_file(const struct record_state *s, const char *file)
{
    int number = s->by_name_size ? *name_slot(s, file) : -1;
    return number < 0 ? NULL : &s->files[number];
}

static bool set_path(const struct record *r, const char *file, char **path, struct err *e)
{
    if (!run_directory_inside(file))
        return err_set(e, ERR_BUG, "record: found \"%s\", expected a path inside",
                       STR_SHOW(file));
    *path = str_path(r->directory, file);
    return *path || record_no_memory(e);
}

bool record_claim(const struct record *r, const struct former_run *former,
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
    bool ok =
        folder ? run_directory_make_folder(r->directory, folder, e) : record_no_memory(e);
    free(folder);
    return ok;
}

static bool copy_parents(struct record_cell *to, const struct record_cell *from,
                         struct err *e)
{
    struct record_parent *parents = calloc((size_t)from->parent_count, sizeof *parents);
    if (!parents)
        return record_no_memory(e);
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

bool record_add_file(struct record *r, const char *file, struct err *e)
{
    struct record_state *s = r->state;
    if (record_find_file(s, file))
        return true;
    struct planned_file *all = one_more(s->files, s->file_count, sizeof *all, e);
    if (!all)
        return false;
    s->files = all;
    struct planned_file *f = &all[s->file_count];
    if (!make_room_for_names(s, e) || !copy(&f->file, file, e))
        return false;
    *name_slot(s, file) = s->file_count++;
    if (!set_path(r, file, &f->path, e) || !s->begun)
        return e->code == ERR_OK;
    /* After a power cut a file that nothing lists would count as somebody else's. */
    return record_claim(r, &s->former, file, f->path, e) && record_note_file(s, f, e) &&
           journal_flush(&s->journal, e);
}

const char *record_cell_path(const struct record *r, int cell)
{
    return r->state->cells[cell].path;
}

const char *record_file_path(const struct record *r, const char *file)
{
    const struct planned_file *f = record_find_file(r->state, file);
    return f ? f->path : NULL;
}
