/* directory.c: makes the folder of a run, and clears that of a former one. Leaves the
 * record's fields to record.c. */
#include "run/directory.h"

#include "base/str.h"
#include "io/config.h"
#include "io/limits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RUNS_FOLDER "diffens-runs"
#define RUNS_MAX 1000000

static bool no_memory(struct err *e)
{
    return err_set(e, ERR_MEMORY, "run directory: out of memory");
}

static bool fail(struct err *e, const char *path, const char *what)
{
    return err_set(e, ERR_OUTPUT, "%s: cannot %s: %s", STR_SHOW(path), what,
                   strerror(errno));
}

bool run_directory_inside(const char *path)
{
    if (!*path || *path == '/')
        return false;
    for (const char *part = path; part;) {
        const char *end = strchr(part, '/');
        size_t size = end ? (size_t)(end - part) : strlen(part);
        if (size == 0 || (size == 1 && part[0] == '.') ||
            (size == 2 && part[0] == '.' && part[1] == '.'))
            return false;
        part = end ? end + 1 : NULL;
    }
    return true;
}

/* A folder that is named by number */

static bool make_next(const char *command, char **path, struct err *e)
{
    if (mkdir(RUNS_FOLDER, 0777) != 0 && errno != EEXIST)
        return fail(e, RUNS_FOLDER, "make the folder");
    for (int number = 1; number < RUNS_MAX; number++) {
        struct str name = {0};
        str_addf(&name, "%s/%s-%03d", RUNS_FOLDER, command, number);
        *path = str_take(&name);
        if (!*path)
            return no_memory(e);
        if (mkdir(*path, 0777) == 0)
            return true;
        int cause = errno;
        if (cause != EEXIST) {
            errno = cause;
            return fail(e, *path, "make the folder");
        }
        free(*path);
        *path = NULL;
    }
    return err_set(e, ERR_OUTPUT, "%s: found %d runs, expected fewer", RUNS_FOLDER,
                   RUNS_MAX);
}

/* A former run */

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
    bool ok = unlink(path) == 0 || errno == ENOENT || fail(e, path, "remove");
    char *slash = strrchr(path, '/');
    if (ok && strchr(file, '/')) {
        *slash = '\0';
        rmdir(path);
    }
    free(path);
    return ok;
}

static bool check_files(const struct json *files, struct err *e)
{
    const char *file;
    for (const struct json *v = files->child; v; v = v->next) {
        if (!config_as_string(v, &file, e))
            return false;
        if (!run_directory_inside(file))
            return json_fail(v, e, "found \"%s\", expected a path inside the directory",
                             STR_SHOW(file));
    }
    return true;
}

bool former_run_open(struct former_run *f, const char *directory, struct err *e)
{
    struct stat st;
    char *record = str_path(directory, RUN_RECORD);
    if (!record)
        return no_memory(e);
    bool there = lstat(record, &st) == 0;
    bool ok = there || errno == ENOENT || fail(e, record, "look at");
    if (there)
        ok = json_read(&f->record, record, LIMIT_JSON_PROMPTS, e) &&
             config_as_object(f->record.root, e) &&
             config_need_array(f->record.root, "files", 0, LIMIT_JSON_VALUES, &f->files,
                               e) &&
             check_files(f->files, e);
    free(record);
    if (!ok)
        former_run_close(f);
    return ok;
}

bool former_run_lists(const struct former_run *f, const char *file)
{
    for (const struct json *v = f->files ? f->files->child : NULL; v; v = v->next)
        if (strcmp(v->text, file) == 0)
            return true;
    return f->files && strcmp(file, RUN_RECORD) == 0;
}

bool former_run_remove(const struct former_run *f, const char *directory, struct err *e)
{
    for (const struct json *v = f->files ? f->files->child : NULL; v; v = v->next)
        if (!remove_listed(directory, v->text, e))
            return false;
    return !f->files || remove_listed(directory, RUN_RECORD, e);
}

void former_run_close(struct former_run *f)
{
    json_free(&f->record);
    *f = (struct former_run){0};
}

/* A folder that is given */

static bool check_former(const char *directory, bool force, struct err *e)
{
    struct former_run former = {0};
    if (!former_run_open(&former, directory, e))
        return false;
    bool there = former.files != NULL;
    former_run_close(&former);
    if (!there || force)
        return true;
    err_set(e, ERR_INPUT, "%s: found another run, expected a new directory",
            STR_SHOW(directory));
    return err_hint(e, "--force removes what that run made and starts over");
}

static bool make_given(const char *out, bool force, char **path, bool *made,
                       struct err *e)
{
    struct stat st;
    *path = str_dup(out);
    if (!*path)
        return no_memory(e);
    for (size_t end = strlen(*path); end > 1 && (*path)[end - 1] == '/'; end--)
        (*path)[end - 1] = '\0';
    *made = mkdir(*path, 0777) == 0;
    if (*made)
        return true;
    if (errno != EEXIST)
        return fail(e, *path, "make the folder");
    if (stat(*path, &st) != 0)
        return fail(e, *path, "look at");
    if (!S_ISDIR(st.st_mode)) {
        errno = ENOTDIR;
        return fail(e, *path, "write there");
    }
    if (access(*path, W_OK | X_OK) != 0)
        return fail(e, *path, "write there");
    return check_former(*path, force, e);
}

bool run_directory_make(const char *out, const char *command, bool force, char **path,
                        bool *made, struct err *e)
{
    *path = NULL;
    *made = !out;
    bool ok = out ? make_given(out, force, path, made, e) : make_next(command, path, e);
    if (!ok) {
        free(*path);
        *path = NULL;
    }
    return ok;
}

void run_directory_discard(const char *path)
{
    if (rmdir(path) == 0 && strncmp(path, RUNS_FOLDER "/", sizeof RUNS_FOLDER) == 0)
        rmdir(RUNS_FOLDER);
}

bool run_directory_make_folder(const char *directory, const char *name, struct err *e)
{
    struct stat st;
    char *path = str_path(directory, name);
    if (!path)
        return no_memory(e);
    bool ok =
        mkdir(path, 0777) == 0 || errno == EEXIST || fail(e, path, "make the folder");
    if (ok && (lstat(path, &st) != 0 || !S_ISDIR(st.st_mode)))
        ok =
            err_set(e, ERR_OUTPUT, "%s: found a file, expected a folder", STR_SHOW(path));
    free(path);
    return ok;
}
