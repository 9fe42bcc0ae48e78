/* survey_disk.c: files as such: how much room they take, and whether they are what
 * SHA256SUMS says. Leaves what is in them to survey_models.c. */
#include "survey/survey_internal.h"

#include "io/file.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define DEPTH 8 /* folders below each other; a model has two */

/* Files and folders counted so far: links to one count once. */
struct counted {
    struct {
        dev_t device;
        ino_t inode;
    } * files;
    size_t count, capacity;
    uint64_t bytes;
};

static bool is_new(struct counted *c, const struct stat *status)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->files[i].device == status->st_dev && c->files[i].inode == status->st_ino)
            return false;
    if (c->count == c->capacity) {
        size_t more = c->capacity ? c->capacity * 2 : 64;
        void *files = realloc(c->files, more * sizeof *c->files);
        if (!files)
            return true;
        c->files = files;
        c->capacity = more;
    }
    c->files[c->count].device = status->st_dev;
    c->files[c->count++].inode = status->st_ino;
    return true;
}

static void count_path(struct counted *c, const char *path, int depth)
{
    struct stat status;
    if (stat(path, &status) != 0 || depth == 0)
        return;
    if (!is_new(c, &status))
        return;
    if (S_ISREG(status.st_mode))
        c->bytes += (uint64_t)status.st_size;
    DIR *folder = S_ISDIR(status.st_mode) ? opendir(path) : NULL;
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        char *below = entry->d_name[0] == '.' ? NULL : str_path(path, entry->d_name);
        if (below)
            count_path(c, below, depth - 1);
        free(below);
    }
    if (folder)
        closedir(folder);
}

uint64_t survey_disk_bytes(const char *const *paths, int count)
{
    struct counted c = {0};
    for (int i = 0; i < count; i++)
        if (paths[i])
            count_path(&c, paths[i], DEPTH);
    free(c.files);
    return c.bytes;
}

/* SHA256SUMS */

/* A name that stays in the folder. */
static bool is_below(const char *name)
{
    return *name && name[0] != '/' && strncmp(name, "../", 3) != 0 &&
           !strstr(name, "/../") && !str_ends_with(name, "/..");
}

static bool check_sum(struct survey *s, const char *folder, const char *digest,
                      const char *name, struct err *e)
{
    char *path = str_path(folder, name);
    if (!path)
        return err_set(e, ERR_MEMORY, "no host memory for a path");
    char hex[SHA256_HEX];
    struct err failure = {0};
    s->sums_recorded++;
    progress_at(s->progress,
                &(struct progress_at){.stage = "checksum", .model = name, .total = 1});
    if (!file_sha256(path, hex, &failure) && failure.code != ERR_INPUT) {
        free(path);
        return err_from(e, &failure, NULL);
    }
    if (failure.code != ERR_OK) {
        s->sums_wrong++;
        survey_problem(s, "%s (SHA256SUMS has it)", failure.message);
    } else if (strcmp(hex, digest) != 0) {
        s->sums_wrong++;
        survey_problem(s, "%s: found SHA-256 %s, expected %s from SHA256SUMS",
                       STR_SHOW(path), hex, digest);
    }
    free(path);
    return true;
}

/* "<64 digits>  <name>", as sha256sum writes it. */
static bool read_line(struct survey *s, const char *folder, const char *file, char *line,
                      int number, struct err *e)
{
    size_t digits = strspn(line, "0123456789abcdef");
    bool two = digits == 64 && line[64] == ' ' && (line[65] == ' ' || line[65] == '*');
    if (!two || !is_below(line + 66)) {
        survey_problem(s, "%s: line %d: found \"%s\", expected a digest and a file below",
                       STR_SHOW(file), number, STR_SHOW(line));
        return true;
    }
    line[64] = '\0';
    line[66 + strcspn(line + 66, "\r")] = '\0'; /* written on Windows */
    return check_sum(s, folder, line, line + 66, e);
}

bool survey_sums(struct survey *s, const char *folder, struct err *e)
{
    char *path = str_path(folder, "SHA256SUMS"), *text = NULL;
    struct stat status;
    struct err failure = {0};
    size_t size;
    bool ok = path || err_set(e, ERR_MEMORY, "no host memory for a path");
    if (!ok || stat(path, &status) != 0)
        goto done;
    if (!file_read_all(path, LIMIT_JSON_CONFIG, &text, &size, &failure)) {
        survey_problem(s, "%s", failure.message);
        goto done;
    }
    int number = 1;
    for (char *line = text; ok && line < text + size; number++) {
        char *end = strchrnul(line, '\n');
        bool last = !*end;
        *end = '\0';
        if (*line)
            ok = read_line(s, folder, path, line, number, e);
        line = last ? text + size : end + 1;
    }
done:
    free(text);
    free(path);
    return ok;
}
