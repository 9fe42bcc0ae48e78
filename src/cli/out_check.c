/* out_check.c: compares --out and --log with what a command reads. Leaves removing what a
 * run made to run/former.h. */
#include "cli/out_check.h"

#include "base/str.h"
#include "run/former.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_at(const char *path, const struct stat *place)
{
    struct stat st;
    return stat(path, &st) == 0 && st.st_dev == place->st_dev &&
           st.st_ino == place->st_ino;
}

/* What a path without links is called inside a directory; NULL where it is elsewhere. */
static const char *name_inside(char *path, const struct stat *directory)
{
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        bool inside = is_at(path, directory);
        *slash = '/';
        if (inside)
            return slash + 1;
    }
    return NULL;
}

/* The file of that name, or one in the folder of that name. */
static bool lists_file(const char *directory, const char *name)
{
    struct former_run run = {0};
    struct err ignored = {0}; /* where a record cannot be read, nothing is removed */
    size_t size = strlen(name);
    bool listed = false;
    former_run_open(&run, directory, &ignored);
    for (int i = 0; i < run.file_count && !listed; i++) {
        const char *file = run.files[i].file;
        listed = strncmp(file, name, size) == 0 && (!file[size] || file[size] == '/');
    }
    former_run_close(&run);
    return listed;
}

/* By its place: a file with another name elsewhere, as merge links them, is kept there.
 */
static bool is_made_by_run(const char *path, const char *directory,
                           const struct stat *place)
{
    char *real = realpath(path, NULL);
    const char *name = real ? name_inside(real, place) : NULL;
    bool made = name && lists_file(directory, name);
    free(real);
    return made;
}

bool out_check_inputs(const struct options *o, struct err *e)
{
    const char *const files[][2] = {{"images", o->images},
                                    {"prompts", o->prompts},
                                    {"config", o->config},
                                    {"seed", o->optimize.seed}};
    struct stat out;
    if (!o->out || stat(o->out, &out) != 0)
        return true;
    if (o->images && is_at(o->images, &out))
        return err_set(e, ERR_USAGE,
                       "--out: found the directory that --images reads, expected "
                       "another");
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (files[i][1] && is_made_by_run(files[i][1], o->out, &out))
            return err_set(e, ERR_USAGE,
                           "--out: found the directory whose run made what --%s reads, "
                           "expected another",
                           files[i][0]);
    return true;
}

bool out_check_shards(const struct options *o, struct err *e)
{
    struct stat out;
    if (stat(o->out, &out) != 0)
        return true;
    for (int i = 0; i < o->operand_count; i++)
        if (is_at(o->operands[i], &out))
            return err_set(e, ERR_USAGE,
                           "--out: found a directory that is to be merged, expected "
                           "another");
    return true;
}

/* The log */

static bool fail_log(struct err *e, const char *option)
{
    return err_set(e, ERR_USAGE,
                   "--log: found the file that --%s reads, expected another", option);
}

static bool is_ensemble(const char *given, const struct stat *log)
{
    char *file = given ? str_path(given, "ensemble.json") : NULL;
    bool is = given && (is_at(given, log) || (file && is_at(file, log)));
    free(file);
    return is;
}

/* Runs give no file such a name. */
static bool is_named_log(const char *path)
{
    size_t size = strlen(path);
    return size >= 4 && strcmp(path + size - 4, ".log") == 0;
}

static bool check_log_outside(const char *log, const char *directory, const char *word,
                              struct err *e)
{
    struct stat place;
    if (!directory || stat(directory, &place) != 0 || !S_ISDIR(place.st_mode))
        return true;
    char *real = realpath(log, NULL);
    bool ok = !real || is_named_log(real) || !name_inside(real, &place);
    free(real);
    if (ok)
        return true;
    err_set(e, ERR_USAGE,
            "--log: found a file in the directory %s, expected another place", word);
    return err_hint(e, "a name that ends in .log may be there");
}

bool out_check_log(const struct options *o, const struct stat *log, struct err *e)
{
    const char *const files[][2] = {{"images", o->images},
                                    {"prompts", o->prompts},
                                    {"config", o->config},
                                    {"seed", o->optimize.seed}};
    struct stat input;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (files[i][1] && is_at(files[i][1], log))
            return fail_log(e, files[i][0]);
    if (o->prompts && strcmp(o->prompts, "-") == 0 && fstat(STDIN_FILENO, &input) == 0 &&
        input.st_dev == log->st_dev && input.st_ino == log->st_ino)
        return fail_log(e, "prompts");
    if (is_ensemble(o->ensemble, log))
        return fail_log(e, "ensemble");
    bool ok = check_log_outside(o->log, o->out, "of --out", e) &&
              check_log_outside(o->log, o->images, "of --images", e);
    for (int i = 0; ok && i < o->operand_count; i++)
        ok = check_log_outside(o->log, o->operands[i], "of a run", e);
    return ok;
}
