/* journal.c: appends lines, and reads what a run that was stopped has left of them. */
#include "run/journal.h"

#include "base/str.h"
#include "io/file.h"
#include "io/json_scan.h"
#include "io/limits.h"
#include "run/directory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool no_memory(struct err *e)
{
    return err_set(e, ERR_MEMORY, "journal: out of memory");
}

static bool fail(const struct journal *j, const char *doing, int error, struct err *e)
{
    return err_set(e, ERR_OUTPUT, "%s: %s: %s", STR_SHOW(j->path), doing,
                   strerror(error));
}

bool journal_begin(struct journal *j, const char *directory, struct err *e)
{
    journal_close(j);
    j->fd = -1;
    j->path = str_path(directory, RUN_JOURNAL);
    if (!j->path)
        return no_memory(e);
    if (unlink(j->path) != 0 && errno != ENOENT)
        return fail(j, "remove", errno, e);
    do
        j->fd = open(j->path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0666);
    while (j->fd < 0 && errno == EINTR);
    return j->fd >= 0 || fail(j, "create", errno, e);
}

bool journal_add(struct journal *j, const char *line, struct err *e)
{
    struct str text = {0};
    str_addf(&text, "%s\n", line);
    bool ok = !text.failed || no_memory(e);
    for (size_t done = 0; ok && done < text.size;) {
        ssize_t put = write(j->fd, text.bytes + done, text.size - done);
        if (put > 0)
            done += (size_t)put;
        else if (put == 0 || (errno != EINTR && errno != EAGAIN))
            ok = fail(j, "write", put == 0 ? ENOSPC : errno, e);
    }
    str_free(&text);
    return ok;
}

bool journal_flush(struct journal *j, struct err *e)
{
    int status;
    do
        status = fsync(j->fd);
    while (status != 0 && errno == EINTR);
    return status == 0 || fail(j, "flush", errno, e);
}

void journal_remove(struct journal *j)
{
    if (j->path)
        unlink(j->path);
    journal_close(j);
}

void journal_close(struct journal *j)
{
    if (j->path && j->fd >= 0)
        close(j->fd);
    free(j->path);
    *j = (struct journal){.fd = -1};
}

/* Reading */

/* The scanner decodes in place: it gets a copy. */
static bool is_json(const char *line, size_t size)
{
    char *copy = strndup(line, size);
    struct json_scan s;
    struct json_token token;
    struct err ignored = {0};
    bool ok = copy && strlen(copy) == size;
    if (ok) {
        json_scan_begin(&s, copy, size);
        ok = json_scan_next(&s, &token, &ignored) &&
             token.kind == JSON_TOKEN_OPEN_OBJECT &&
             json_scan_skip(&s, &token, &ignored) &&
             json_scan_next(&s, &token, &ignored) && token.kind == JSON_TOKEN_END;
    }
    free(copy);
    return ok;
}

static void add_lines(struct str *array, const char *text, size_t size, int *dropped)
{
    str_add(array, "[");
    for (size_t at = 0; at < size;) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t length = end ? (size_t)(end - text) - at : size - at;
        bool whole = end && is_json(text + at, length);
        if (whole) {
            str_add(array, array->size > 1 ? "," : "");
            str_add_bytes(array, text + at, length);
        }
        *dropped += !whole;
        at += length + 1;
    }
    str_add(array, "]");
}

bool journal_read(struct json_document *lines, const char *directory, int *dropped,
                  struct err *e)
{
    char *text = NULL;
    size_t size = 0;
    struct stat st;
    struct str array = {0};
    char *path = str_path(directory, RUN_JOURNAL);
    if (!path)
        return no_memory(e);
    bool there = lstat(path, &st) == 0;
    bool ok = !there || file_read_all(path, LIMIT_JSON_RECORD, &text, &size, e);
    if (ok) {
        add_lines(&array, text, size, dropped);
        ok = array.failed ? no_memory(e)
                          : json_parse(lines, path, str_text(&array), array.size, e);
    }
    str_free(&array);
    free(text);
    free(path);
    return ok;
}
