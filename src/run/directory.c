/* directory.c: makes and finds the folder of a run. Leaves what is in it to former.c. */
#include "run/directory.h"

#include "base/str.h"

#include <dirent.h>
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

bool run_directory_fail(struct err *e, const char *path, const char *what)
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
        return run_directory_fail(e, RUNS_FOLDER, "make the folder");
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
            return run_directory_fail(e, *path, "make the folder");
        }
        free(*path);
        *path = NULL;
    }
    return err_set(e, ERR_OUTPUT, "%s: found %d runs, expected fewer", RUNS_FOLDER,
                   RUNS_MAX);
}

/* The number of "COMMAND-NUMBER"; -1 for other names. */
static int number_of(const char *name, const char *command)
{
    size_t length = strlen(command);
    if (strncmp(name, command, length) != 0 || name[length] != '-')
        return -1;
    const char *digits = name + length + 1;
    size_t count = strspn(digits, "0123456789");
    return count >= 3 && count <= 6 && !digits[count] ? atoi(digits) : -1;
}

static bool has_record(const char *directory)
{
    char *record = str_path(directory, RUN_RECORD);
    bool has = record && access(record, F_OK) == 0;
    free(record);
    return has;
}

static bool holds_run(const char *name)
{
    struct str directory = {0};
    str_addf(&directory, RUNS_FOLDER "/%s", name);
    bool holds = !directory.failed && has_record(str_text(&directory));
    str_free(&directory);
    return holds;
}

/* *path stays NULL where there is none. */
static bool find_last(const char *command, char **path, struct err *e)
{
    DIR *runs = opendir(RUNS_FOLDER);
    if (!runs)
        return errno == ENOENT || run_directory_fail(e, RUNS_FOLDER, "look at");
    struct str last = {0};
    int highest = -1;
    struct dirent *entry;
    while ((entry = readdir(runs))) {
        int number = number_of(entry->d_name, command);
        if (number <= highest || !holds_run(entry->d_name))
            continue;
        highest = number;
        str_clear(&last);
        str_addf(&last, RUNS_FOLDER "/%s", entry->d_name);
    }
    closedir(runs);
    bool ok = true;
    if (highest >= 0) {
        *path = str_take(&last);
        ok = *path || no_memory(e);
    }
    str_free(&last);
    return ok;
}

/* A folder that is given */

static bool fail_to_make(struct err *e, const char *path)
{
    bool no_parent = errno == ENOENT;
    run_directory_fail(e, path, "make the folder");
    return no_parent &&
           err_hint(e, "the folder that is to hold it is not there; mkdir -p "
                       "makes it");
}

static bool make_given(const char *out, bool resume, char **path, bool *made,
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
        return fail_to_make(e, *path);
    if (stat(*path, &st) != 0)
        return run_directory_fail(e, *path, "look at");
    if (!S_ISDIR(st.st_mode)) {
        errno = ENOTDIR;
        return run_directory_fail(e, *path, "write there");
    }
    /* Of a finished run there may be nothing to write. */
    return access(*path, W_OK | X_OK) == 0 || (resume && has_record(*path)) ||
           run_directory_fail(e, *path, "write there");
}

bool run_directory_make(const char *out, const char *command, bool resume, char **path,
                        bool *made, struct err *e)
{
    *path = NULL;
    *made = false;
    if (!out && resume) {
        if (!find_last(command, path, e))
            return false;
        if (*path)
            return true;
    }
    *made = !out;
    bool ok = out ? make_given(out, resume, path, made, e) : make_next(command, path, e);
    if (!ok) {
        free(*path);
        *path = NULL;
    }
    return ok;
}

bool run_directory_check_new(const char *directory, struct err *e)
{
    struct stat st;
    char *record = str_path(directory, RUN_RECORD);
    if (!record)
        return no_memory(e);
    bool there = lstat(record, &st) == 0;
    bool ok = there || errno == ENOENT || run_directory_fail(e, record, "look at");
    free(record);
    if (!there)
        return ok;
    err_set(e, ERR_INPUT, "%s: found another run, expected a new directory",
            STR_SHOW(directory));
    return err_hint(e, "--resume goes on with it; --force removes what it made and "
                       "starts over");
}

/* The folder that would hold it must be there and let it be made. */
static bool check_parents(const char *path, struct err *e)
{
    char *folder = str_dup(path);
    if (!folder)
        return no_memory(e);
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = '\0';
    const char *parent = slash ? folder : ".";
    bool ok = access(parent, W_OK | X_OK) == 0 || fail_to_make(e, path);
    free(folder);
    return ok;
}

static bool foresee_next(const char *command, char **path, struct err *e)
{
    struct stat st;
    bool first = stat(RUNS_FOLDER, &st) != 0;
    for (int number = 1; number < RUNS_MAX; number++) {
        struct str name = {0};
        str_addf(&name, "%s/%s-%03d", RUNS_FOLDER, command, number);
        *path = str_take(&name);
        if (!*path)
            return no_memory(e);
        bool there = lstat(*path, &st) == 0;
        if (!there && check_parents(first ? RUNS_FOLDER : *path, e))
            return true;
        free(*path);
        *path = NULL;
        if (!there)
            return false;
    }
    return err_set(e, ERR_OUTPUT, "%s: found %d runs, expected fewer", RUNS_FOLDER,
                   RUNS_MAX);
}

bool run_directory_foresee(const char *out, const char *command, bool resume, char **path,
                           struct err *e)
{
    struct stat st;
    *path = NULL;
    if (!out && resume && !find_last(command, path, e))
        return false;
    if (*path)
        return true;
    if (!out)
        return foresee_next(command, path, e);
    if (stat(out, &st) != 0 && !check_parents(out, e))
        return false;
    *path = str_dup(out);
    return *path || no_memory(e);
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
    bool ok = mkdir(path, 0777) == 0 || errno == EEXIST ||
              run_directory_fail(e, path, "make the folder");
    if (ok && (lstat(path, &st) != 0 || !S_ISDIR(st.st_mode)))
        ok =
            err_set(e, ERR_OUTPUT, "%s: found a file, expected a folder", STR_SHOW(path));
    free(path);
    return ok;
}
