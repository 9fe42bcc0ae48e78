/* survey.c: goes through the models of an ensemble or of a path. Leaves each kind of
 * model to survey_models.c, files as such to survey_disk.c. */
#include "survey/survey.h"

#include "io/tensor_file_parts.h"
#include "survey/survey_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void survey_problem(struct survey *s, const char *format, ...)
{
    char line[1400];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    str_addf(&s->problems, "%s\n", line);
    s->problem_count += line[0] != ' ';
}

struct survey_model *survey_add_model(struct survey *s, const char *role,
                                      const char *name, const char *path, struct err *e)
{
    struct survey_model *model = &s->models[s->count++];
    model->role = role;
    model->name = str_dup(name);
    model->path = str_dup(path);
    if (model->name && model->path)
        return model;
    err_set(e, ERR_MEMORY, "no host memory for the name of a model");
    return NULL;
}

static bool look_at_diffusers(struct survey *s, struct err *e)
{
    for (int i = 0; i < s->ensemble.count; i++) {
        const struct ensemble_diffuser *d = &s->ensemble.diffusers[i];
        struct survey_model *model = survey_add_model(s, "diffuser", d->name, d->path, e);
        if (!model || !survey_diffuser(s, model, e))
            return false;
        model->prompt = d->prompt;
    }
    return true;
}

static bool look_at_networks(struct survey *s, struct err *e)
{
    const struct {
        const char *role;
        const struct ensemble_network *network;
        bool (*look)(struct survey *, struct survey_model *, struct err *);
    } networks[] = {{"vqgan", &s->ensemble.vqgan, survey_vqgan},
                    {"clip", &s->ensemble.clip, survey_clip},
                    {"perceptual", &s->ensemble.perceptual, survey_perceptual}};
    for (int i = 0; i < 3; i++) {
        if (!networks[i].network->path)
            continue;
        struct survey_model *model = survey_add_model(
            s, networks[i].role, networks[i].role, networks[i].network->path, e);
        if (!model || !networks[i].look(s, model, e))
            return false;
    }
    return true;
}

static void add_disk_bytes(struct survey *s)
{
    const char *paths[SURVEY_MODELS];
    for (int i = 0; i < s->count; i++)
        paths[i] = s->models[i].path;
    s->bytes = survey_disk_bytes(paths, s->count);
}

static char *folder_of(const char *file)
{
    size_t size = (size_t)(str_file_name(file) - file);
    return size ? strndup(file, size - (size > 1)) : str_dup(".");
}

static bool look_at_sums(struct survey *s, const char *folder, struct err *e)
{
    if (!folder)
        return err_set(e, ERR_MEMORY, "no host memory for a path");
    return !s->weights || survey_sums(s, folder, e);
}

bool survey_ensemble(struct survey *s, const char *name, struct err *e)
{
    if (!ensemble_open(&s->ensemble, name, NULL, e))
        return false;
    s->path = str_dup(s->ensemble.file);
    char *folder = folder_of(s->ensemble.file);
    bool ok = (s->path || err_set(e, ERR_MEMORY, "no host memory for a path")) &&
              look_at_diffusers(s, e) && look_at_networks(s, e) &&
              look_at_sums(s, folder, e);
    free(folder);
    add_disk_bytes(s);
    if (!ok)
        survey_close(s);
    return ok;
}

/* Paths */

/* Whether there is a file of that name in the folder. */
static bool holds(const char *folder, const char *name)
{
    char *path = str_path(folder, name);
    struct stat status;
    bool found = path && stat(path, &status) == 0;
    free(path);
    return found;
}

static bool holds_vgg(const char *folder)
{
    return holds(folder, "vgg16.safetensors") || holds(folder, "vgg16.pth") ||
           holds(folder, "vgg16-397923af.pth");
}

static bool look_at(struct survey *s, const char *path, const char *role,
                    bool (*look)(struct survey *, struct survey_model *, struct err *),
                    struct err *e)
{
    char *copy = str_dup(path);
    for (size_t end = copy ? strlen(copy) : 0; end > 1 && copy[end - 1] == '/'; end--)
        copy[end - 1] = '\0';
    struct survey_model *model =
        copy ? survey_add_model(s, role, str_file_name(copy), path, e) : NULL;
    s->path = copy;
    bool ok = model && look(s, model, e);
    add_disk_bytes(s);
    if (!ok)
        err_set(e, ERR_MEMORY, "no host memory for a path");
    return ok;
}

/* The file of the VQGAN in a folder, if that is what it holds; the caller frees it. */
static char *vqgan_file(const char *folder)
{
    struct tensor_file file = {0};
    struct err ignored = {0};
    char *path = str_path(folder, "model.safetensors");
    bool found = path && tensor_file_open(&file, path, &ignored) &&
                 tensor_file_find(&file, "quantize.embedding.weight");
    tensor_file_close(&file);
    if (!found) {
        free(path);
        path = NULL;
    }
    return path;
}

/* A CLIP, or a VQGAN, whose own kind of config.json may lie beside it. */
static bool look_at_network(struct survey *s, const char *folder, struct err *e)
{
    char *vqgan = vqgan_file(folder);
    bool ok = vqgan ? look_at(s, vqgan, "vqgan", survey_vqgan, e)
                    : look_at(s, folder, "clip", survey_clip, e);
    free(vqgan);
    return ok;
}

static bool look_at_folder(struct survey *s, const char *path, struct err *e)
{
    bool ok;
    if (holds(path, "ensemble.json"))
        return survey_ensemble(s, path, e);
    if (holds(path, "model_index.json"))
        ok = look_at(s, path, "diffuser", survey_diffuser, e);
    else if (holds_vgg(path))
        ok = look_at(s, path, "perceptual", survey_perceptual, e);
    else if (holds(path, "config.json"))
        ok = look_at_network(s, path, e);
    else
        return err_set(e, ERR_INPUT,
                       "%s: found no ensemble.json, model_index.json, config.json or "
                       "vgg16.safetensors, expected an ensemble or a model",
                       STR_SHOW(path));
    return ok && look_at_sums(s, path, e);
}

bool survey_path(struct survey *s, const char *path, struct err *e)
{
    struct stat status;
    if (stat(path, &status) != 0)
        return err_set(e, ERR_INPUT, "%s: %s, expected an ensemble or a model",
                       STR_SHOW(path), strerror(errno));
    bool ok;
    if (S_ISDIR(status.st_mode))
        ok = look_at_folder(s, path, e);
    else if (str_ends_with(path, ".json") && !tensor_index_is(path))
        return survey_ensemble(s, path, e);
    else
        ok = look_at(s, path, "file", survey_file, e);
    if (!ok)
        survey_close(s);
    return ok;
}

void survey_close(struct survey *s)
{
    for (int i = 0; i < s->count; i++) {
        for (int k = 0; k < s->models[i].network_count; k++)
            free(s->models[i].networks[k].path);
        free(s->models[i].name);
        free(s->models[i].path);
    }
    ensemble_close(&s->ensemble);
    free(s->path);
    str_free(&s->problems);
    *s = (struct survey){0};
}

bool survey_is_whole(const struct survey *s)
{
    bool whole = s->problem_count == 0 && !s->problems.failed;
    for (int i = 0; i < s->count; i++)
        whole = whole && s->models[i].whole;
    return whole;
}
