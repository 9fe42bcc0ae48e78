/* ensemble_find.c: where ensembles lie, and which one is the default. Leaves what is in
 * their files to ensemble.c. */
#include "models/ensemble.h"

#include "base/str.h"
#include "io/file.h"
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

/* Takes `path` over; one that is there gets its shortest name. */
static void places_add(struct places *p, char *path)
{
    char *shortest = path ? realpath(path, NULL) : NULL;
    if (shortest) {
        free(path);
        path = shortest;
    }
    if (path)
        p->path[p->count++] = path;
}

static struct places places_find(void)
{
    struct places p = {0};
    const char *from_user = getenv("DIFFENS_MODELS");
    if (from_user && *from_user)
        places_add(&p, str_dup(from_user));
    char *folder = executable_folder();
    if (folder) {
        places_add(&p, str_path(folder, "../share/diffens/models"));
        places_add(&p, str_path(folder, "../models"));
    }
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
            str_addf(names, "%s%s", names->size ? ", " : "", STR_SHOW(entry->d_name));
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
        str_addf(&searched, "%s%s", i ? ", " : "", STR_SHOW(p->path[i]));
    }
    err_set(e, ERR_INPUT, "found no ensemble \"%s\", expected one of: %s (searched %s)",
            STR_SHOW(name), names.size ? str_text(&names) : "none is installed",
            str_text(&searched));
    str_free(&names);
    str_free(&searched);
    return err_hint(e, "--ensemble takes the path of an ensemble.json as well");
}

/* Whether "demo" of ".../demo/ensemble.json" is the same in both. */
static bool same_folder(const char *file, const char *other)
{
    const char *name = file + strlen(file) - strlen("/ensemble.json");
    const char *other_name = other + strlen(other) - strlen("/ensemble.json");
    while (name > file && name[-1] != '/')
        name--;
    while (other_name > other && other_name[-1] != '/')
        other_name--;
    return strcmp(name, other_name) == 0;
}

/* Takes `file` over, unless its name is on the list already. */
static bool list_add(struct ensemble_files *f, char *file, struct err *e)
{
    for (int i = 0; i < f->count; i++) {
        if (same_folder(f->path[i], file)) {
            free(file);
            return true;
        }
    }
    char **paths = realloc(f->path, ((size_t)f->count + 1) * sizeof *paths);
    if (!paths) {
        free(file);
        return ensemble_no_memory(e);
    }
    f->path = paths;
    f->path[f->count++] = file;
    return true;
}

static int is_candidate(const struct dirent *entry)
{
    return safe_name(entry->d_name);
}

static bool list_place(struct ensemble_files *f, const char *place, struct err *e)
{
    struct dirent **entries;
    int count = scandir(place, &entries, is_candidate, alphasort);
    bool ok = true;
    for (int i = 0; i < count; i++) {
        char *file = ensemble_file(place, entries[i]->d_name);
        if (ok && ensemble_path_exists(file))
            ok = list_add(f, file, e);
        else
            free(file);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    return ok;
}

bool ensemble_list(struct ensemble_files *f, struct err *e)
{
    struct places p = places_find();
    bool ok = true;
    for (int i = 0; ok && i < p.count; i++)
        ok = list_place(f, p.path[i], e);
    places_free(&p);
    if (!ok)
        ensemble_files_free(f);
    return ok;
}

void ensemble_files_free(struct ensemble_files *f)
{
    for (int i = 0; i < f->count; i++)
        free(f->path[i]);
    free(f->path);
    *f = (struct ensemble_files){0};
}

static bool is_path(const char *name)
{
    return strchr(name, '/') || str_ends_with(name, ".json");
}

static bool open_file(struct ensemble *s, const char *file, struct err *e)
{
    return ensemble_read(s, file, e) ||
           file_hint_missing(file,
                             "--ensemble takes the path of an ensemble.json, or a name "
                             "that diffens models list shows",
                             e);
}

static bool open_path(struct ensemble *s, const char *path, struct err *e)
{
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode))
        return open_file(s, path, e);
    char *file = str_path(path, "ensemble.json");
    bool ok = file ? open_file(s, file, e) : ensemble_no_memory(e);
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
