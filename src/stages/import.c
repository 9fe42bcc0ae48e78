/* import.c: finds the cases and models of pictures from elsewhere and reads them. Leaves
 * decoding to image.h. */
#include "stages/import.h"

#include "base/stop.h"
#include "base/str.h"
#include "io/config.h"
#include "io/limits.h"
#include "models/safe_name.h"
#include "run/directory.h"
#include "run/former.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CASES_MAX 100000

static bool no_memory(struct err *e)
{
    return err_set(e, ERR_MEMORY, "no host memory for the names of pictures");
}

bool import_stamp(const struct import *i, struct sha256 *digest,
                  struct file_stamp *newest)
{
    int64_t count = i->files ? i->cases * i->models : 1;
    *newest = (struct file_stamp){.changed = INT64_MIN};
    for (int64_t f = 0; f < count; f++) {
        struct file_stamp stamp;
        if (!file_stamp_take(i->files ? i->files[f] : i->path, &stamp))
            return false;
        sha256_add(digest, &stamp, sizeof stamp);
        if (stamp.changed > newest->changed)
            *newest = stamp;
    }
    return true;
}

void import_close(struct import *i)
{
    struct err ignored = {0};
    for (int64_t n = 0; i->case_names && n < i->cases; n++)
        free(i->case_names[n]);
    for (int64_t f = 0; i->files && f < i->cases * i->models; f++)
        free(i->files[f]);
    for (int m = 0; m < i->models; m++)
        free(i->model_names[m]);
    free(i->case_names);
    free(i->files);
    image_tensor_close(&i->tensor, &ignored);
    *i = (struct import){0};
}

/* An .npy */

static char *numbered(const char *prefix, int64_t number, int digits)
{
    struct str name = {0};
    str_addf(&name, "%s%0*lld", prefix, digits, (long long)number);
    return str_take(&name);
}

static bool open_tensor(struct import *i, struct err *e)
{
    if (!image_tensor_open(&i->tensor, i->path, e))
        return false;
    if (i->tensor.models > OPTIONS_MAX_MODELS || i->tensor.cases > CASES_MAX)
        return err_set(e, ERR_INPUT,
                       "%s: found %lld cases and %lld models, expected at most "
                       "%d and %d",
                       STR_SHOW(i->path), (long long)i->tensor.cases,
                       (long long)i->tensor.models, CASES_MAX, OPTIONS_MAX_MODELS);
    i->height = i->tensor.height;
    i->width = i->tensor.width;
    i->case_names = calloc((size_t)i->tensor.cases, sizeof *i->case_names);
    if (!i->case_names)
        return no_memory(e);
    for (; i->cases < i->tensor.cases; i->cases++)
        if (!(i->case_names[i->cases] = numbered("", i->cases, 3)))
            return no_memory(e);
    for (; i->models < i->tensor.models; i->models++)
        if (!(i->model_names[i->models] = numbered("model", i->models, 1)))
            return no_memory(e);
    return true;
}

/* Lists of files */

/* The place of `name` among the first *count of `names`, added at the end where it is
 * new; -1 when memory is out. The place found last and the next one are looked at first,
 * since names come in runs. */
static int64_t place_of(char **names, int64_t *count, int64_t last, const char *name)
{
    for (int64_t k = last; k < *count && k < last + 2; k++)
        if (strcmp(names[k], name) == 0)
            return k;
    for (int64_t k = *count - 1; k >= 0; k--)
        if (strcmp(names[k], name) == 0)
            return k;
    names[*count] = str_dup(name);
    return names[*count] ? (*count)++ : -1;
}

/* Takes the size of all pictures from the first. */
static bool measure(struct import *i, struct err *e)
{
    for (int64_t f = 0; f < i->cases * i->models; f++) {
        int64_t height, width;
        if (!stop_check(e) || !image_measure(i->files[f], &width, &height, e))
            return false;
        if (f == 0) {
            i->height = height;
            i->width = width;
        }
        if (height != i->height || width != i->width)
            return err_set(e, ERR_INPUT,
                           "%s: found %lld x %lld pixels, expected %lld x %lld as the "
                           "first picture has",
                           STR_SHOW(i->files[f]), (long long)width, (long long)height,
                           (long long)i->width, (long long)i->height);
    }
    return true;
}

/* A run directory */

struct recorded_cell {
    const char *case_name, *model, *file;
};

/* A parent among the cells of a record; `model` stays NULL for other cells. */
static bool read_cell(const struct json *cell, struct recorded_cell *out, struct err *e)
{
    *out = (struct recorded_cell){0};
    if (!config_as_object(cell, e))
        return false;
    if (config_has(cell, "layer"))
        return true;
    const struct json *file;
    if (!config_need_string(cell, "case", &out->case_name, e) ||
        !config_need_string(cell, "model", &out->model, e) ||
        !config_need(cell, "file", &file, e) || !config_as_string(file, &out->file, e))
        return false;
    if (!safe_name(out->case_name) || !safe_name(out->model))
        return json_fail(
            cell, e,
            "found case \"%s\" and model \"%s\", expected each to be " SAFE_NAME_RULE,
            STR_SHOW(out->case_name), STR_SHOW(out->model));
    if (!run_directory_inside(out->file))
        return json_fail(file, e,
                         "found \"%s\", expected a path inside the run directory",
                         STR_SHOW(out->file));
    return true;
}

/* Names and counts; then the files in their places. */
static bool read_parents(struct import *i, const struct json *cells, struct err *e)
{
    struct recorded_cell cell;
    int64_t models = 0, n = 0;
    i->case_names = calloc(cells->size + 1, sizeof *i->case_names);
    if (!i->case_names)
        return no_memory(e);
    for (const struct json *c = cells->child; c; c = c->next) {
        if (!read_cell(c, &cell, e))
            return false;
        if (!cell.model)
            continue;
        if ((n = place_of(i->case_names, &i->cases, n, cell.case_name)) < 0 ||
            place_of(i->model_names, &models, 0, cell.model) < 0)
            return no_memory(e);
        i->models = (int)models;
        if (models > OPTIONS_MAX_MODELS)
            return json_fail(c, e, "found more than %d models, expected at most that",
                             OPTIONS_MAX_MODELS);
    }
    if (i->cases == 0)
        return json_fail(cells, e, "found no parents among the cells, expected some");
    i->files = calloc((size_t)i->cases * (size_t)i->models, sizeof *i->files);
    if (!i->files)
        return no_memory(e);
    n = 0;
    for (const struct json *c = cells->child; c; c = c->next) {
        if (!read_cell(c, &cell, e))
            return false;
        if (!cell.model)
            continue;
        n = place_of(i->case_names, &i->cases, n, cell.case_name);
        int64_t m = place_of(i->model_names, &models, 0, cell.model);
        free(i->files[n * models + m]);
        if (!(i->files[n * models + m] = str_path(i->path, cell.file)))
            return no_memory(e);
    }
    return true;
}

/* A run that was stopped lacks pictures that its record lists. */
static bool check_complete(const struct import *i, const struct json *record,
                           struct err *e)
{
    int64_t count = i->cases * i->models, there = 0;
    const char *state = NULL;
    if (!config_may_string(record, "state", &state, e))
        return false;
    for (int64_t f = 0; f < count; f++)
        there += i->files[f] && access(i->files[f], F_OK) == 0;
    if (there == count || !state ||
        (strcmp(state, "running") != 0 && strcmp(state, "stopped") != 0))
        return true;
    err_set(e, ERR_INPUT, "%s: found %lld of %lld pictures, expected a finished run",
            STR_SHOW(i->path), (long long)there, (long long)count);
    return err_hint(e,
                    "finish it first: the command that it was made with, --resume "
                    "and --out %s",
                    STR_SHOW(i->path));
}

static bool open_run(struct import *i, const char *record, struct err *e)
{
    struct json_document d = {0};
    const struct json *cells;
    bool ok = json_read(&d, record, LIMIT_JSON_RECORD, e) &&
              config_as_object(d.root, e) && former_run_check_format(d.root, e) &&
              config_need_array(d.root, "cells", 1, SIZE_MAX, &cells, e) &&
              read_parents(i, cells, e) && check_complete(i, d.root, e);
    for (int64_t f = 0; ok && f < i->cases * i->models; f++)
        if (!i->files[f])
            ok = json_fail(
                cells, e, "found no picture of case \"%s\" by model \"%s\", expected one",
                i->case_names[f / i->models], i->model_names[f % i->models]);
    json_free(&d);
    return ok && measure(i, e);
}

/* CASE/MODEL.png */

static int visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static void free_entries(struct dirent **entries, int count)
{
    for (int k = 0; k < count; k++)
        free(entries[k]);
    free(entries);
}

/* How much of the name comes before .png, .jpg or .jpeg; 0 for other files. */
static size_t stem_length(const char *name)
{
    static const char *const endings[] = {".png", ".jpg", ".jpeg",
                                          ".PNG", ".JPG", ".JPEG"};
    for (size_t k = 0; k < sizeof endings / sizeof *endings; k++)
        if (str_ends_with(name, endings[k]))
            return strlen(name) - strlen(endings[k]);
    return 0;
}

/* A picture of the latest case. The first case says which models there are. */
static bool add_picture(struct import *i, const char *folder, const char *file,
                        const char *stem, struct err *e)
{
    bool known = false;
    int64_t models = i->models;
    for (int m = 0; m < i->models; m++)
        known = known || strcmp(i->model_names[m], stem) == 0;
    if (!known && (i->cases > 1 || models == OPTIONS_MAX_MODELS || !safe_name(stem)))
        return err_set(e, ERR_INPUT,
                       "%s: found a picture \"%s\", expected those that the first case "
                       "has, at most %d, each under " SAFE_NAME_RULE,
                       STR_SHOW(folder), STR_SHOW(stem), OPTIONS_MAX_MODELS);
    int64_t m = place_of(i->model_names, &models, 0, stem);
    i->models = (int)models;
    if (m < 0)
        return no_memory(e);
    char **place = &i->files[(i->cases - 1) * i->models + m];
    if (*place)
        return err_set(e, ERR_INPUT,
                       "%s: found %s and %s, expected one picture of a name",
                       STR_SHOW(folder), STR_SHOW(str_file_name(*place)), STR_SHOW(file));
    *place = str_path(folder, file);
    return *place || no_memory(e);
}

static bool add_case(struct import *i, const char *folder, struct err *e)
{
    struct dirent **entries = NULL;
    int count = scandir(folder, &entries, visible, alphasort);
    if (count < 0)
        return err_set(e, ERR_INPUT, "%s: %s", STR_SHOW(folder), strerror(errno));
    bool ok = true;
    for (int k = 0; ok && k < count; k++) {
        const char *file = entries[k]->d_name;
        size_t length = stem_length(file);
        char *stem = length > 0 ? strndup(file, length) : NULL;
        if (length > 0)
            ok = stem ? add_picture(i, folder, file, stem, e) : no_memory(e);
        free(stem);
    }
    free_entries(entries, count);
    return ok;
}

/* Makes room for `cases` of as many models as the first case has. */
static bool make_room(struct import *i, size_t cases, struct err *e)
{
    size_t models = (size_t)i->models;
    char **files = calloc(cases * models + 1, sizeof *files);
    if (!files)
        return no_memory(e);
    memcpy(files, i->files, models * sizeof *files);
    free(i->files);
    i->files = files;
    return true;
}

static bool check_files(const struct import *i, struct err *e)
{
    for (int64_t f = 0; f < i->cases * i->models; f++)
        if (!i->files[f])
            return err_set(e, ERR_INPUT,
                           "%s/%s: found no picture %s.png, expected one by every model",
                           STR_SHOW(i->path), i->case_names[f / i->models],
                           i->model_names[f % i->models]);
    return true;
}

static bool open_folder(struct import *i, struct err *e)
{
    struct dirent **entries = NULL;
    int count = scandir(i->path, &entries, visible, alphasort);
    if (count < 0)
        return err_set(e, ERR_INPUT, "%s: %s", STR_SHOW(i->path), strerror(errno));
    i->case_names = calloc((size_t)count + 1, sizeof *i->case_names);
    i->files = calloc(OPTIONS_MAX_MODELS, sizeof *i->files); /* of the first case */
    bool ok = (i->case_names && i->files) || no_memory(e);
    for (int k = 0; ok && k < count; k++) {
        struct stat status;
        const char *name = entries[k]->d_name;
        char *folder = str_path(i->path, name);
        ok = folder || no_memory(e);
        if (ok && safe_name(name) && stat(folder, &status) == 0 &&
            S_ISDIR(status.st_mode)) {
            i->case_names[i->cases++] = str_dup(name);
            ok = (i->case_names[i->cases - 1] || no_memory(e)) &&
                 add_case(i, folder, e) &&
                 (i->cases > 1 || make_room(i, (size_t)count, e));
        }
        free(folder);
    }
    free_entries(entries, count);
    if (ok && (i->cases == 0 || i->models == 0))
        ok = err_set(e, ERR_INPUT,
                     "%s: found %lld cases and %d models, expected a run "
                     "directory or pictures CASE/MODEL.png",
                     STR_SHOW(i->path), (long long)i->cases, i->models);
    return ok && check_files(i, e) && measure(i, e);
}

/* Any of them */

static bool open_directory(struct import *i, struct err *e)
{
    char *record = str_path(i->path, RUN_RECORD);
    if (!record)
        return no_memory(e);
    bool ok = access(record, F_OK) == 0 ? open_run(i, record, e) : open_folder(i, e);
    free(record);
    return ok;
}

bool import_open(struct import *i, const char *path, struct err *e)
{
    struct stat status;
    i->path = path;
    bool ok;
    if (stat(path, &status) != 0)
        ok = err_set(e, ERR_INPUT, "%s: found nothing there (%s), expected pictures",
                     STR_SHOW(path), strerror(errno));
    else
        ok = S_ISDIR(status.st_mode) ? open_directory(i, e) : open_tensor(i, e);
    if (!ok && e->code == ERR_INPUT && !e->hint[0])
        err_hint(e,
                 "--images takes a run directory, an .npy file of shape N,M,H,W,3, or a "
                 "directory with pictures CASE/MODEL.png");
    if (!ok)
        import_close(i);
    i->total = i->cases;
    i->shards = 1;
    return ok;
}

void import_keep_shard(struct import *i, int index, int count)
{
    int64_t cases = i->cases;
    i->shard = index;
    i->shards = count;
    if (i->files)
        str_keep_rows(i->files, cases, i->models, index, count);
    i->cases = str_keep_rows(i->case_names, cases, 1, index, count);
}

bool import_read(const struct import *i, int64_t index_case, int index_model,
                 struct image *picture, bool *had_alpha, struct err *e)
{
    *had_alpha = false;
    if (!i->files)
        return image_tensor_read(&i->tensor, index_case * i->shards + i->shard,
                                 index_model, picture, e);
    const char *file = i->files[index_case * i->models + index_model];
    if (!image_read(picture, file, had_alpha, e))
        return false;
    if (picture->height == i->height && picture->width == i->width)
        return true;
    err_set(e, ERR_INPUT, "%s: found another size than before, expected it unchanged",
            STR_SHOW(file));
    image_free(picture);
    return false;
}
