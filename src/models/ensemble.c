/* ensemble.c: the fields of ensemble.json, and choosing diffusers out of it. Leaves
 * finding the file to ensemble_find.c. */
#include "models/ensemble.h"

#include "base/str.h"
#include "io/config.h"
#include "io/limits.h"
#include "models/ensemble_internal.h"
#include "models/safe_name.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VQGAN_SIDE 256
#define MIN_WEIGHT 0.001
#define MAX_WEIGHT 1000

bool ensemble_no_memory(struct err *e)
{
    return err_set(e, ERR_MEMORY, "ensemble: out of memory");
}

bool ensemble_path_exists(const char *path)
{
    return path && access(path, F_OK) == 0;
}

static void free_diffuser(struct ensemble_diffuser *d)
{
    free(d->name);
    free(d->path);
    free(d->listed);
    free(d->prompt);
    free(d->prediction);
    *d = (struct ensemble_diffuser){0};
}

static void free_network(struct ensemble_network *n)
{
    free(n->path);
    free(n->listed);
}

void ensemble_close(struct ensemble *s)
{
    for (int i = 0; i < s->count; i++)
        free_diffuser(&s->diffusers[i]);
    free(s->name);
    free(s->file);
    free(s->pair[0]);
    free(s->pair[1]);
    free_network(&s->vqgan);
    free_network(&s->clip);
    free_network(&s->perceptual);
    free_network(&s->tokenizer);
    free(s->example);
    for (int i = 0; i < s->default_count; i++)
        free(s->defaults[i].text);
    *s = (struct ensemble){0};
}

/* Reading */

static bool copy(char **out, const char *text, struct err *e)
{
    *out = str_dup(text);
    return *out || ensemble_no_memory(e);
}

/* "listed" of an absolute path is its last part: records hold no absolute paths. */
static bool set_path(const char *file, const char *listed, char **path, char **shown,
                     struct err *e)
{
    size_t folder_size = (size_t)(str_file_name(file) - file);
    char *folder = strndup(file, folder_size ? folder_size - (folder_size > 1) : 0);
    *path = folder ? str_path(folder, listed) : NULL;
    *shown = str_dup(listed[0] == '/' ? str_file_name(listed) : listed);
    free(folder);
    return (*path && *shown) || ensemble_no_memory(e);
}

static bool need_path(const struct json *object, const char *file, char **path,
                      char **listed, struct err *e)
{
    const char *text;
    if (!config_need_string(object, "path", &text, e))
        return false;
    if (!*text)
        return json_fail(json_get(object, "path"), e, "found \"\", expected a path");
    return set_path(file, text, path, listed, e);
}

static bool need_safe_name(const struct json *object, const char **name, struct err *e)
{
    if (!config_need_string(object, "name", name, e))
        return false;
    if (!safe_name(*name))
        return json_fail(json_get(object, "name"), e, "found \"%s\", expected %s",
                         STR_SHOW(*name), SAFE_NAME_RULE);
    return true;
}

static const struct ensemble_diffuser *find_diffuser(const struct ensemble *s,
                                                     const char *name)
{
    for (int i = 0; i < s->count; i++)
        if (strcmp(s->diffusers[i].name, name) == 0)
            return &s->diffusers[i];
    return NULL;
}

double ensemble_weight(const struct ensemble *s, const char *name)
{
    const struct ensemble_diffuser *d = find_diffuser(s, name);
    return d ? d->weight : 1;
}

static bool read_diffuser(struct ensemble *s, const struct json *object, struct err *e)
{
    static const char *const known[] = {"name", "path", "prompt", "prediction", "weight"};
    const char *name, *prompt = "{}", *prediction = NULL;
    double weight = 1;
    struct ensemble_diffuser *d = &s->diffusers[s->count];
    if (!config_only(object, known, 5, e) || !need_safe_name(object, &name, e) ||
        !config_may_string(object, "prompt", &prompt, e) ||
        !config_may_string(object, "prediction", &prediction, e) ||
        !config_may_double(object, "weight", MIN_WEIGHT, MAX_WEIGHT, &weight, e))
        return false;
    if (find_diffuser(s, name))
        return json_fail(json_get(object, "name"), e,
                         "found \"%s\" a second time, expected different names",
                         STR_SHOW(name));
    if (!strstr(prompt, "{}"))
        return json_fail(json_get(object, "prompt"), e,
                         "found \"%s\", expected a template with {} for the prompt",
                         STR_SHOW(prompt));
    if (prediction && strcmp(prediction, "epsilon") != 0 &&
        strcmp(prediction, "v_prediction") != 0)
        return json_fail(json_get(object, "prediction"), e,
                         "found \"%s\", expected epsilon or v_prediction",
                         STR_SHOW(prediction));
    d->index = s->count++;
    d->weight = weight;
    return need_path(object, s->file, &d->path, &d->listed, e) &&
           copy(&d->name, name, e) && copy(&d->prompt, prompt, e) &&
           (!prediction || copy(&d->prediction, prediction, e));
}

static bool read_diffusers(struct ensemble *s, const struct json *root, struct err *e)
{
    const struct json *list;
    if (!config_need_array(root, "diffusers", 1, ENSEMBLE_MAX_DIFFUSERS, &list, e))
        return false;
    for (const struct json *v = list->child; v; v = v->next)
        if (!config_as_object(v, e) || !read_diffuser(s, v, e))
            return false;
    s->listed = s->count;
    return true;
}

static bool read_pair(struct ensemble *s, const struct json *root, struct err *e)
{
    const struct json *list = NULL;
    const char *name;
    if (!config_may_array(root, "pair", 2, 2, &list, e) || !list)
        return e->code == ERR_OK;
    int i = 0;
    for (const struct json *v = list->child; v; v = v->next, i++) {
        if (!config_as_string(v, &name, e))
            return false;
        if (!find_diffuser(s, name))
            return json_fail(v, e, "found \"%s\", expected the name of a diffuser",
                             STR_SHOW(name));
        if (!copy(&s->pair[i], name, e))
            return false;
    }
    if (strcmp(s->pair[0], s->pair[1]) == 0)
        return json_fail(list, e, "found \"%s\" twice, expected two diffusers",
                         STR_SHOW(s->pair[0]));
    return true;
}

static bool read_network(struct ensemble *s, const struct json *root, const char *key,
                         struct ensemble_network *out, struct err *e)
{
    static const char *const known[] = {"path"};
    const struct json *object = NULL;
    if (!config_may_object(root, key, &object, e) || !object)
        return e->code == ERR_OK;
    return config_only(object, known, 1, e) &&
           need_path(object, s->file, &out->path, &out->listed, e);
}

static bool read_vqgan(struct ensemble *s, const struct json *root, struct err *e)
{
    static const char *const known[] = {"path", "size"};
    const struct json *object = NULL, *size = NULL;
    int64_t height = VQGAN_SIDE, width = VQGAN_SIDE;
    if (!config_may_object(root, "vqgan", &object, e))
        return false;
    if (object && (!config_only(object, known, 2, e) ||
                   !need_path(object, s->file, &s->vqgan.path, &s->vqgan.listed, e) ||
                   !config_may_array(object, "size", 2, 2, &size, e)))
        return false;
    if (size && (!config_as_int(json_at(size, 0), 16, 4096, &height, e) ||
                 !config_as_int(json_at(size, 1), 16, 4096, &width, e)))
        return false;
    s->vqgan_height = (int)height;
    s->vqgan_width = (int)width;
    return true;
}

/* Its own, else the first that lies in a diffusers directory. */
static bool find_tokenizer(struct ensemble *s, const struct json *root, struct err *e)
{
    if (!read_network(s, root, "tokenizer", &s->tokenizer, e))
        return false;
    for (int i = 0; !s->tokenizer.path && i < s->count; i++) {
        char *folder = str_path(s->diffusers[i].path, "tokenizer");
        if (!folder)
            return ensemble_no_memory(e);
        if (ensemble_path_exists(folder))
            s->tokenizer.path = folder;
        else
            free(folder);
    }
    return true;
}

static bool read_root(struct ensemble *s, const struct json *root, struct err *e)
{
    static const char *const known[] = {"name",     "diffusers",  "pair",      "vqgan",
                                        "clip",     "perceptual", "tokenizer", "example",
                                        "generate", "optimize"};
    const char *name, *example = NULL;
    return config_as_object(root, e) &&
           config_only(root, known, sizeof known / sizeof *known, e) &&
           need_safe_name(root, &name, e) && copy(&s->name, name, e) &&
           read_diffusers(s, root, e) && read_pair(s, root, e) &&
           read_vqgan(s, root, e) && read_network(s, root, "clip", &s->clip, e) &&
           read_network(s, root, "perceptual", &s->perceptual, e) &&
           find_tokenizer(s, root, e) && ensemble_read_defaults(s, root, e) &&
           config_may_string(root, "example", &example, e) &&
           (!example || copy(&s->example, example, e));
}

bool ensemble_read(struct ensemble *s, const char *file, struct err *e)
{
    struct json_document d = {0};
    bool ok = copy(&s->file, file, e) && json_read(&d, file, LIMIT_JSON_CONFIG, e) &&
              read_root(s, d.root, e);
    json_free(&d);
    if (!ok)
        ensemble_close(s);
    return ok;
}

/* Choosing */

static bool fail_unknown(const struct ensemble *s, const char *name, struct err *e)
{
    const char *known[ENSEMBLE_MAX_DIFFUSERS];
    struct str names = {0};
    for (int i = 0; i < s->count; i++) {
        known[i] = s->diffusers[i].name;
        str_addf(&names, "%s%s", i ? ", " : "", known[i]);
    }
    err_set(e, ERR_USAGE, "found model \"%s\", expected one of ensemble %s: %s",
            STR_SHOW(name), s->name, str_text(&names));
    str_free(&names);
    const char *nearest = str_nearest(name, known, (size_t)s->count);
    if (nearest)
        return err_hint(e, "did you mean %s?", nearest);
    return err_hint(e, "a directory or file from elsewhere is named with a /, as ./%s",
                    STR_SHOW(name));
}

static bool copy_diffuser(struct ensemble_diffuser *out,
                          const struct ensemble_diffuser *d, struct err *e)
{
    out->index = d->index;
    out->weight = d->weight;
    return copy(&out->name, d->name, e) && copy(&out->path, d->path, e) &&
           copy(&out->listed, d->listed, e) && copy(&out->prompt, d->prompt, e) &&
           (!d->prediction || copy(&out->prediction, d->prediction, e));
}

static bool set_from_path(struct ensemble_diffuser *out, const char *path, int index,
                          struct err *e)
{
    out->index = index;
    out->weight = 1;
    if (!copy(&out->path, path, e))
        return false;
    for (size_t end = strlen(out->path); end > 1 && out->path[end - 1] == '/'; end--)
        out->path[end - 1] = '\0';
    const char *name = str_file_name(out->path);
    if (!copy(&out->name, name, e))
        return false;
    if (str_ends_with(name, ".ckpt") || str_ends_with(name, ".safetensors"))
        *strrchr(out->name, '.') = '\0';
    if (!safe_name(out->name))
        return err_set(e, ERR_USAGE, "%s: found \"%s\", expected %s", STR_SHOW(path),
                       STR_SHOW(name), SAFE_NAME_RULE);
    return copy(&out->prompt, "{}", e) &&
           copy(&out->listed, out->path[0] == '/' ? name : out->path, e);
}

static bool check_different(const struct ensemble_diffuser *d, int count, struct err *e)
{
    for (int i = 0; i < count; i++)
        for (int j = i + 1; j < count; j++)
            if (strcmp(d[i].name, d[j].name) == 0)
                return err_set(
                    e, ERR_USAGE,
                    "found two models named \"%s\" (%s, %s), expected different "
                    "names",
                    STR_SHOW(d[i].name), STR_SHOW(d[i].path), STR_SHOW(d[j].path));
    return true;
}

bool ensemble_select(struct ensemble *s, char *const *names, int count, struct err *e)
{
    struct ensemble_diffuser chosen[ENSEMBLE_MAX_DIFFUSERS] = {0};
    int elsewhere = s->listed;
    bool ok = count <= ENSEMBLE_MAX_DIFFUSERS ||
              err_set(e, ERR_USAGE, "found %d models, expected at most %d", count,
                      ENSEMBLE_MAX_DIFFUSERS);
    for (int i = 0; ok && i < count; i++) {
        const struct ensemble_diffuser *d = find_diffuser(s, names[i]);
        if (d)
            ok = copy_diffuser(&chosen[i], d, e);
        else if (strchr(names[i], '/'))
            ok = set_from_path(&chosen[i], names[i], elsewhere++, e);
        else
            ok = fail_unknown(s, names[i], e);
    }
    ok = ok && check_different(chosen, count, e);
    struct ensemble_diffuser *unwanted = ok ? s->diffusers : chosen;
    for (int i = 0; i < ENSEMBLE_MAX_DIFFUSERS; i++)
        free_diffuser(&unwanted[i]);
    if (!ok)
        return false;
    memcpy(s->diffusers, chosen, sizeof chosen);
    s->count = count;
    return true;
}

bool ensemble_select_pair(struct ensemble *s, struct err *e)
{
    if (s->pair[0]) {
        char *const pair[2] = {s->pair[0], s->pair[1]};
        return ensemble_select(s, pair, 2, e);
    }
    if (s->count == 2)
        return true;
    err_set(e, ERR_USAGE, "ensemble %s: found %d models and no pair, expected --pair A,B",
            s->name, s->count);
    return err_hint(e, "or give a weight for each with --weights");
}

/* Files */

static bool check_path(const struct ensemble *s, const char *what, const char *name,
                       const char *path, struct err *e)
{
    if (ensemble_path_exists(path))
        return true;
    err_set(e, ERR_INPUT, "%s: %s%s%s: found nothing at %s (%s), expected its weights",
            STR_SHOW(s->file), what, *name ? " " : "", name, STR_SHOW(path),
            strerror(errno));
    if (strcmp(s->name, "paper") == 0)
        err_hint(e, "scripts/fetch-models fetches the weights of this ensemble");
    return false;
}

static bool check_network(const struct ensemble *s, const char *role,
                          const struct ensemble_network *n, const char *purpose,
                          struct err *e)
{
    if (!n->path)
        return err_set(e, ERR_INPUT, "%s: $: found no %s, expected one to %s with",
                       STR_SHOW(s->file), role, purpose);
    return check_path(s, role, "", n->path, e);
}

bool ensemble_check_files(const struct ensemble *s, unsigned needs, struct err *e)
{
    for (int i = 0; (needs & NEED_DIFFUSERS) && i < s->count; i++) {
        const struct ensemble_diffuser *d = &s->diffusers[i];
        if (d->index >= s->listed && !ensemble_path_exists(d->path))
            return err_set(e, ERR_INPUT,
                           "%s: found nothing there (%s), expected a diffusers directory "
                           "or a single-file checkpoint",
                           STR_SHOW(d->path), strerror(errno));
        if (!check_path(s, "diffuser", d->name, d->path, e))
            return false;
    }
    if ((needs & NEED_VQGAN) && !check_network(s, "vqgan", &s->vqgan, "mix", e))
        return false;
    return !(needs & NEED_CRITICS) ||
           (check_network(s, "clip", &s->clip, "compare pictures", e) &&
            check_network(s, "perceptual", &s->perceptual, "compare pictures", e));
}
