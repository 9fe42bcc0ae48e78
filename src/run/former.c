/* former.c: reads what a run says of itself, and removes what it made. Leaves writing to
 * record.c and journal.c. */
#include "run/former.h"

#include "base/str.h"
#include "io/config.h"
#include "io/limits.h"
#include "run/directory.h"
#include "run/journal.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CELLS_MAX 100000000

static bool no_memory(struct err *e)
{
    return err_set(e, ERR_MEMORY, "run directory: out of memory");
}

/* run.json */

/* Records from before there was a format are of the first. */
bool former_run_check_format(const struct json *record, struct err *e)
{
    int64_t format = RECORD_FORMAT;
    if (!config_may_int(record, "format", 1, INT32_MAX, &format, e))
        return false;
    return format <= RECORD_FORMAT ||
           json_fail(json_get(record, "format"), e,
                     "found %d, expected at most %d: made by a newer diffens",
                     (int)format, RECORD_FORMAT);
}

static bool as_inside(const struct json *value, const char **file, struct err *e)
{
    if (!config_as_string(value, file, e))
        return false;
    return run_directory_inside(*file) ||
           json_fail(value, e, "found \"%s\", expected a path inside the directory",
                     STR_SHOW(*file));
}

/* "" where it is not there. */
static bool may_hash(const struct json *object, const char *key, const char **hash,
                     struct err *e)
{
    *hash = "";
    if (!config_may_string(object, key, hash, e))
        return false;
    bool is_hash = strlen(*hash) == 64 && strspn(*hash, "0123456789abcdef") == 64;
    return !**hash || is_hash ||
           json_fail(json_get(object, key), e,
                     "found \"%s\", expected 64 hexadecimal digits", STR_SHOW(*hash));
}

static bool read_cell(const struct json *v, struct former_cell *c, struct err *e)
{
    const struct json *file;
    c->planned = v;
    return config_as_object(v, e) && config_need(v, "file", &file, e) &&
           as_inside(file, &c->file, e) && config_need_string(v, "state", &c->state, e) &&
           may_hash(v, "sha256", &c->sha256, e) &&
           may_hash(v, "pixels_sha256", &c->pixels_sha256, e) &&
           config_may_double(v, "seconds", 0, INFINITY, &c->seconds, e);
}

static bool read_cells(struct former_run *f, struct err *e)
{
    const struct json *cells = NULL;
    if (!config_may_array(f->record.root, "cells", 0, CELLS_MAX, &cells, e) || !cells)
        return e->code == ERR_OK;
    f->cells = calloc(cells->size + 1, sizeof *f->cells);
    if (!f->cells)
        return no_memory(e);
    for (const struct json *v = cells->child; v; v = v->next)
        if (!read_cell(v, &f->cells[f->cell_count++], e))
            return false;
    return true;
}

static bool read_cases(struct former_run *f, struct err *e)
{
    const struct json *cases = NULL;
    if (!config_may_array(f->record.root, "cases", 0, CELLS_MAX, &cases, e) || !cases)
        return e->code == ERR_OK;
    f->case_names = calloc(cases->size + 1, sizeof *f->case_names);
    f->outcomes = calloc(cases->size + 1, sizeof *f->outcomes);
    if (!f->case_names || !f->outcomes)
        return no_memory(e);
    for (const struct json *v = cases->child; v; v = v->next)
        if (!as_inside(v, &f->case_names[f->case_count++], e))
            return false;
    return true;
}

/* They stand in the order of the cases, with some of them left out. */
static bool read_outcomes(struct former_run *f, struct err *e)
{
    const struct json *all = NULL;
    const char *name;
    int64_t n = 0;
    if (!config_may_array(f->record.root, "optimize", 0, CELLS_MAX, &all, e) || !all)
        return e->code == ERR_OK;
    for (const struct json *v = all->child; v; v = v->next, n++) {
        if (!config_as_object(v, e) || !config_need_string(v, "case", &name, e))
            return false;
        while (n < f->case_count && strcmp(f->case_names[n], name) != 0)
            n++;
        if (n == f->case_count)
            return json_fail(v, e,
                             "found case \"%s\", expected one that is listed, in "
                             "the same order",
                             STR_SHOW(name));
        f->outcomes[n] = v;
    }
    return true;
}

/* The journal */

static struct former_file *add_file(struct former_run *f, const char *file,
                                    const char *sha256)
{
    struct former_file *added = &f->files[f->file_count++];
    *added = (struct former_file){file, sha256};
    return added;
}

static bool read_cell_line(struct former_run *f, const struct json *line, struct err *e)
{
    int64_t cell;
    struct former_cell read = {0};
    if (!config_need_int(line, "cell", 0, INT32_MAX, &cell, e) ||
        !may_hash(line, "sha256", &read.sha256, e) ||
        !may_hash(line, "pixels_sha256", &read.pixels_sha256, e) ||
        !config_may_double(line, "seconds", 0, INFINITY, &read.seconds, e) ||
        cell >= f->cell_count || !*read.sha256)
        return false;
    struct former_cell *c = &f->cells[cell];
    read.planned = c->planned;
    read.file = c->file;
    read.state = "done";
    *c = read;
    return true;
}

static bool read_line(struct former_run *f, const struct json *line, struct err *e)
{
    const struct json *value;
    const char *file, *hash;
    int64_t n;
    if (json_get(line, "cell"))
        return read_cell_line(f, line, e);
    if ((value = json_get(line, "outcome"))) {
        bool ok = config_as_object(value, e) &&
                  config_need_int(line, "case", 0, f->case_count - 1, &n, e);
        if (ok)
            f->outcomes[n] = value;
        return ok;
    }
    if (json_get(line, "weights")) /* looked up when asked for */
        return may_hash(line, "sha256", &hash, e);
    if (!config_need(line, "file", &value, e) || !as_inside(value, &file, e) ||
        !may_hash(line, "sha256", &hash, e))
        return false;
    add_file(f, file, hash);
    return true;
}

static void read_lines(struct former_run *f)
{
    for (const struct json *v = f->journal.root->child; v; v = v->next) {
        struct err ignored = {0};
        f->dropped += v->kind != JSON_OBJECT || !read_line(f, v, &ignored);
    }
}

/* Files */

/* A mention with a hash after those without. */
static int by_name_and_place(const void *a, const void *b)
{
    const struct former_file *p = a, *q = b;
    int order = strcmp(p->file, q->file);
    return order ? order : (*p->sha256 != 0) - (*q->sha256 != 0);
}

static int by_name(const void *a, const void *b)
{
    const struct former_file *p = a, *q = b;
    return strcmp(p->file, q->file);
}

static bool read_files(struct former_run *f, struct err *e)
{
    const struct json *files, *sums = NULL;
    const char *file;
    if (!config_need_array(f->record.root, "files", 0, CELLS_MAX, &files, e) ||
        !config_may_object(f->record.root, "sums", &sums, e))
        return false;
    size_t most = files->size + (sums ? sums->size : 0) + f->journal.root->size;
    f->files = calloc(most + 1, sizeof *f->files);
    if (!f->files)
        return no_memory(e);
    for (const struct json *v = files->child; v; v = v->next) {
        if (!as_inside(v, &file, e))
            return false;
        add_file(f, file, "");
    }
    for (const struct json *v = sums ? sums->child : NULL; v; v = v->next) {
        struct former_file *added = add_file(f, v->key, "");
        if (!run_directory_inside(v->key))
            return json_fail(v, e,
                             "found a path that leads outside the directory, expected "
                             "one inside");
        if (!may_hash(sums, v->key, &added->sha256, e))
            return false;
    }
    return true;
}

static void sort_files(struct former_run *f)
{
    qsort(f->files, (size_t)f->file_count, sizeof *f->files, by_name_and_place);
    int kept = 0;
    for (int i = 0; i < f->file_count; i++) {
        bool again = kept > 0 && strcmp(f->files[kept - 1].file, f->files[i].file) == 0;
        f->files[kept - again] = f->files[i];
        kept += !again;
    }
    f->file_count = kept;
}

/* All of it */

static bool read_all(struct former_run *f, const char *directory, const char *record,
                     struct err *e)
{
    f->state = "running";
    if (!json_read(&f->record, record, LIMIT_JSON_RECORD, e) ||
        !config_as_object(f->record.root, e) ||
        !former_run_check_format(f->record.root, e) ||
        !journal_read(&f->journal, directory, &f->dropped, e) ||
        !config_may_string(f->record.root, "state", &f->state, e) || !read_cells(f, e) ||
        !read_cases(f, e) || !read_outcomes(f, e) || !read_files(f, e))
        return false;
    read_lines(f);
    sort_files(f);
    return true;
}

bool former_run_open(struct former_run *f, const char *directory, struct err *e)
{
    struct stat st;
    char *record = str_path(directory, RUN_RECORD);
    if (!record)
        return no_memory(e);
    bool there = lstat(record, &st) == 0;
    bool ok = there || errno == ENOENT ||
              err_set(e, ERR_INPUT, "%s: cannot look at: %s", STR_SHOW(record),
                      strerror(errno));
    if (there)
        ok = read_all(f, directory, record, e);
    free(record);
    if (!ok)
        former_run_close(f);
    return ok;
}

const struct former_file *former_run_file(const struct former_run *f, const char *file)
{
    const struct former_file wanted = {.file = file};
    if (f->file_count == 0)
        return NULL;
    return bsearch(&wanted, f->files, (size_t)f->file_count, sizeof *f->files, by_name);
}

const char *former_run_weights(const struct former_run *f, int network, int file)
{
    const char *hash = "";
    struct err ignored = {0};
    const struct json *v = json_get(f->record.root, "ensemble");
    v = v ? json_get(v, "networks") : NULL;
    v = v ? json_at(v, (size_t)network) : NULL;
    v = v ? json_get(v, "files") : NULL;
    v = v ? json_at(v, (size_t)file) : NULL;
    if (v && may_hash(v, "sha256", &hash, &ignored) && *hash)
        return hash;
    for (v = f->journal.root->child; v; v = v->next) {
        int64_t number, inside;
        ignored = (struct err){0};
        if (v->kind == JSON_OBJECT && json_get(v, "weights") &&
            config_need_int(v, "weights", 0, INT32_MAX, &number, &ignored) &&
            config_need_int(v, "file", 0, INT32_MAX, &inside, &ignored) &&
            number == network && inside == file &&
            may_hash(v, "sha256", &hash, &ignored) && *hash)
            return hash;
    }
    return "";
}

void former_run_close(struct former_run *f)
{
    free(f->case_names);
    free(f->outcomes);
    free(f->cells);
    free(f->files);
    json_free(&f->record);
    json_free(&f->journal);
    *f = (struct former_run){0};
}

/* Removing */

/* No part of the path below `directory` may be a symbolic link: it could lead outside. */
static bool is_plain(const char *directory, const char *file)
{
    for (const char *slash = strchr(file, '/'); slash; slash = strchr(slash + 1, '/')) {
        struct stat st;
        char *folder = strndup(file, (size_t)(slash - file));
        char *path = folder ? str_path(directory, folder) : NULL;
        bool plain = path && lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
        free(folder);
        free(path);
        if (!plain)
            return false;
    }
    return true;
}

/* Removes one file, and its folder where that becomes empty. */
static bool remove_listed(const char *directory, const char *file, struct err *e)
{
    if (!is_plain(directory, file))
        return true;
    char *path = str_path(directory, file);
    if (!path)
        return no_memory(e);
    bool ok =
        unlink(path) == 0 || errno == ENOENT || run_directory_fail(e, path, "remove");
    char *slash = strrchr(path, '/');
    if (ok && strchr(file, '/')) {
        *slash = '\0';
        rmdir(path);
    }
    free(path);
    return ok;
}

static bool remove_checkpoints(const struct former_run *f, const char *directory,
                               struct err *e)
{
    bool ok = true;
    for (int64_t n = 0; ok && n < f->case_count; n++) {
        struct str file = {0};
        str_addf(&file, RUN_CHECKPOINTS "/%s.safetensors", f->case_names[n]);
        ok = remove_listed(directory, str_text(&file), e);
        str_add(&file, ".previous");
        ok = ok && (!file.failed || no_memory(e)) &&
             remove_listed(directory, str_text(&file), e);
        str_free(&file);
    }
    return ok;
}

bool former_run_remove(const struct former_run *f, const char *directory, struct err *e)
{
    if (!f->state)
        return true;
    for (int i = 0; i < f->file_count; i++)
        if (!remove_listed(directory, f->files[i].file, e))
            return false;
    return remove_checkpoints(f, directory, e) &&
           remove_listed(directory, RUN_JOURNAL, e) &&
           remove_listed(directory, RUN_HASHES, e) &&
           remove_listed(directory, RUN_RECORD, e);
}
