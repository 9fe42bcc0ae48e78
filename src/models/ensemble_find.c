/* ensemble_find.c: where ensembles lie, and which one is the default. Leaves what is in
 * their files to ensemble.c. */
#include "models/ensemble.h"

#include "base/str.h"
#include "models/ensemble_internal.h"
#include "models/safe_name.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PLACES 3

/* Folders that hold ensembles, in the order in which they are searched. */
struct places {
    char *path[PLACES];
    int count;
};

static void places_free(struct places *p)
{
    for (int i = 0; i < p->count; i++)
        free(p->path[i]);
}

/* The folder of the executable; NULL where it cannot be told. */
static char *executable_folder(void)
{
    char path[PATH_MAX];
    ssize_t size = readlink("/proc/self/exe", path, sizeof path - 1);
    if (size <= 0)
        return NULL;
    path[size] = '\0';
    char *slash = strrchr(path, '/');
    if (!slash)
        return NULL;
    *slash = '\0';
    return str_dup(path);
}

static struct places places_find(void)
{
    struct places p = {0};
    const char *from_user = getenv("DIFFENS_MODELS");
    if (from_user && *from_user && (p.path[p.count] = str_dup(from_user)))
        p.count++;
    char *folder = executable_folder();
    if (folder && (p.path[p.count] = str_path(folder, "../share/diffens/models")))
        p.count++;
    if (folder && (p.path[p.count] = str_path(folder, "../models")))
        p.count++;
    free(folder);
    return p;
}

/* PLACE/NAME/ensemble.json; NULL for want of memory. */
static char *ensemble_file(const char *place, const char *name)
{
    char *folder = str_path(place, name);
    char *file = folder ? str_path(folder, "ensemble.json") : NULL;
    free(folder);
    return file;
}

/* The file of the first ensemble of that name, owned by the caller, or NULL. */
static char *find_named(const struct places *p, const char *name)
{
    for (int i = 0; i < p->count; i++) {
        char *file = ensemble_file(p->path[i], name);
        if (ensemble_path_exists(file))
            return file;
        free(file);
    }
    return NULL;
}

static void add_ensembles(struct str *names, const char *place)
{
    DIR *folder = opendir(place);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        char *file = ensemble_file(place, entry->d_name);
        if (safe_name(entry->d_name) && ensemble_path_exists(file))
            str_addf(names, "%s%s", names->size ? ", " : "", entry->d_name);
        free(file);
    }
    if (folder)
        closedir(folder);
}

static bool fail_unknown(const struct places *p, const char *name, struct err *e)
{
    struct str names = {0}, searched = {0};
    for (int i = 0; i < p->count; i++) {
        add_ensembles(&names, p->path[i]);
        str_addf(&searched, "%s%s", i ? ", " : "", p->path[i]);
    }
    err_set(e, ERR_INPUT, "found no ensemble \"%s\", expected one of: %s (searched %s)",
            STR_SHOW(name), names.size ? str_text(&names) : "none is installed",
            str_text(&searched));
    str_free(&names);
    str_free(&searched);
    return err_hint(e, "--ensemble takes the path of an ensemble.json as well");
}

static bool is_path(const char *name)
{
    return strchr(name, '/') || str_ends_with(name, ".json");
}

static bool open_path(struct ensemble *s, const char *path, struct err *e)
{
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode))
        return ensemble_read(s, path, e);
    char *file = str_path(path, "ensemble.json");
    bool ok = file ? ensemble_read(s, file, e) : ensemble_no_memory(e);
    free(file);
    return ok;
}

static bool open_named(struct ensemble *s, const struct places *p, const char *name,
                       struct err *e)
{
    char *file = safe_name(name) ? find_named(p, name) : NULL;
    bool ok = file ? ensemble_read(s, file, e) : fail_unknown(p, name, e);
    free(file);
    return ok;
}

static bool is_installed(const struct ensemble *s)
{
    for (int i = 0; i < s->count; i++)
        if (!ensemble_path_exists(s->diffusers[i].path))
            return false;
    const struct ensemble_network *networks[] = {&s->vqgan, &s->clip, &s->perceptual};
    for (int i = 0; i < 3; i++)
        if (networks[i]->path && !ensemble_path_exists(networks[i]->path))
            return false;
    return true;
}

/* "paper" where it is installed, else "demo". */
static bool open_default(struct ensemble *s, const struct places *p,
                         const struct progress *progress, struct err *e)
{
    char *paper = find_named(p, "paper");
    bool ok = !paper || ensemble_read(s, paper, e);
    bool installed = ok && paper && is_installed(s);
    if (ok && !installed) {
        ensemble_close(s);
        ok = open_named(s, p, "demo", e);
    }
    if (ok)
        progress_note(progress, NOTE_INFO, "ensemble: %s%s", s->name,
                      installed ? ""
                                : " (paper is used once its weights are installed: "
                                  "scripts/fetch-models)");
    free(paper);
    return ok;
}

bool ensemble_open(struct ensemble *s, const char *name, const struct progress *progress,
                   struct err *e)
{
    struct places p = places_find();
    bool ok;
    if (!name)
        ok = open_default(s, &p, progress, e);
    else if (is_path(name))
        ok = open_path(s, name, e);
    else
        ok = open_named(s, &p, name, e);
    places_free(&p);
    return ok;
}
