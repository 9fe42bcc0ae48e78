/* model_dir.c: looks through a diffusers directory. Leaves the contents of the files to
 * configs.c and tensor_file.h. */
#include "models/model_dir.h"

#include "base/str.h"
#include "io/config.h"
#include "io/limits.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { NAMES_SHOWN = 8 }; /* of a directory without an index */

struct part {
    const char *name, *class_name;
};

/* The parts of a pipeline that the program uses; schedulers have many classes and their
 * own reader. */
static const struct part parts[] = {
    {"text_encoder", "CLIPTextModel"},
    {"tokenizer", "CLIPTokenizer"},
    {"unet", "UNet2DConditionModel"},
    {"vae", "AutoencoderKL"},
    {"scheduler", NULL},
};

/* ["transformers", "CLIPTextModel"] */
static bool check_part(const struct json *index, const struct part *part, struct err *e)
{
    const struct json *pair;
    const char *class_name;
    if (!config_need_array(index, part->name, 2, 2, &pair, e) ||
        !config_as_string(pair->child->next, &class_name, e))
        return false;
    /* transformers saves its fast tokenizer under another name and in the same files. */
    if (strcmp(class_name, "CLIPTokenizerFast") == 0)
        class_name = "CLIPTokenizer";
    if (part->class_name && strcmp(class_name, part->class_name) != 0)
        return json_fail(pair->child->next, e, "found \"%s\", expected %s",
                         STR_SHOW(class_name), part->class_name);
    return true;
}

static bool check_folder(const char *directory, const char *name, struct err *e)
{
    char *path = str_path(directory, name);
    if (!path)
        return err_set(e, ERR_MEMORY, "%s: no host memory for a path",
                       STR_SHOW(directory));
    struct stat status;
    bool there = stat(path, &status) == 0;
    const char *problem = there ? "a file is there" : strerror(errno);
    bool ok = there && S_ISDIR(status.st_mode);
    if (!ok)
        err_set(e, ERR_INPUT,
                "%s: found no such folder (%s), expected the %s that model_index.json "
                "names",
                STR_SHOW(path), problem, name);
    free(path);
    return ok;
}

static bool check_index(const struct json *index, const char *directory, struct err *e)
{
    const char *class_name;
    if (!config_as_object(index, e) ||
        !config_need_string(index, "_class_name", &class_name, e))
        return false;
    if (strcmp(class_name, "StableDiffusionPipeline") != 0)
        return json_fail(json_get(index, "_class_name"), e,
                         "found \"%s\", expected StableDiffusionPipeline",
                         STR_SHOW(class_name));
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!check_part(index, &parts[i], e) ||
            !check_folder(directory, parts[i].name, e))
            return false;
    return true;
}

static int visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* Says what is there instead of model_index.json. */
static bool fail_no_index(const char *directory, struct err *e)
{
    struct dirent **entries = NULL;
    struct str names = {0};
    int count = scandir(directory, &entries, visible, alphasort);
    for (int i = 0; i < count; i++) {
        if (i < NAMES_SHOWN)
            str_addf(&names, "%s%s", i ? ", " : "", STR_SHOW(entries[i]->d_name));
        free(entries[i]);
    }
    free(entries);
    err_set(e, ERR_INPUT,
            "%s: found %s%s%s, expected a diffusers directory: model_index.json, "
            "text_encoder/, tokenizer/, unet/, vae/, scheduler/",
            STR_SHOW(directory), count > 0 ? "no model_index.json but " : "nothing in it",
            str_text(&names), count > NAMES_SHOWN ? ", ..." : "");
    str_free(&names);
    return false;
}

bool model_dir_check(const char *directory, struct err *e)
{
    struct stat status;
    if (stat(directory, &status) != 0)
        return err_set(e, ERR_INPUT, "%s: %s, expected a diffusers directory",
                       STR_SHOW(directory), strerror(errno));
    if (!S_ISDIR(status.st_mode))
        return err_set(e, ERR_INPUT, "%s: found a file, expected a diffusers directory",
                       STR_SHOW(directory));
    char *path = str_path(directory, "model_index.json");
    if (!path)
        return err_set(e, ERR_MEMORY, "%s: no host memory for a path",
                       STR_SHOW(directory));
    struct json_document index = {0};
    bool ok =
        (lstat(path, &status) == 0 || errno != ENOENT || fail_no_index(directory, e)) &&
        json_read(&index, path, LIMIT_JSON_CONFIG, e) &&
        check_index(index.root, directory, e);
    json_free(&index);
    free(path);
    return ok;
}

/* `directory`/`stem``ending` where something lies there; *path is NULL where nothing
 * does.
 */
static bool find_file(const char *directory, const char *stem, const char *ending,
                      char **path, struct err *e)
{
    struct str name = {0};
    struct stat status;
    str_addf(&name, "%s/%s%s", directory, stem, ending);
    *path = str_take(&name);
    if (!*path)
        return err_set(e, ERR_MEMORY, "%s: no host memory for a path",
                       STR_SHOW(directory));
    if (lstat(*path, &status) == 0)
        return true;
    free(*path);
    *path = NULL;
    return true;
}

bool model_dir_find_weights(const char *directory, const char *stem, char **path,
                            struct err *e)
{
    static const char *const endings[] = {
        ".safetensors",
        ".safetensors.index.json",
        ".fp16.safetensors",
        ".safetensors.index.fp16.json",
        ".bin",
        ".bin.index.json",
        ".fp16.bin",
        ".bin.index.fp16.json",
        ".pth",
        ".pt",
        ".ckpt",
    };
    *path = NULL;
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        /* transformers: SAFE_WEIGHTS_NAME, WEIGHTS_NAME */
        bool renamed = strcmp(stem, "model") == 0 && strstr(endings[i], ".bin");
        if (!find_file(directory, renamed ? "pytorch_model" : stem, endings[i], path, e))
            return false;
        if (*path)
            return true;
    }
    return true;
}

bool model_dir_weights(const char *directory, const char *stem, char **path,
                       struct err *e)
{
    return model_dir_find_weights(directory, stem, path, e) &&
           (*path || err_set(e, ERR_INPUT,
                             "%s: found no weights, expected %s.safetensors or another "
                             "of its forms (.safetensors.index.json, .fp16, .bin)",
                             STR_SHOW(directory), stem));
}
