/* hash_index.c: remembers hashes of files by what the files look like. Leaves computing
 * them to io/file.c. */
#include "run/hash_index.h"

#include "base/str.h"
#include "io/config.h"
#include "io/json_write.h"
#include "io/publish.h"
#include "run/directory.h"

#include <stdlib.h>
#include <string.h>

#define FORMAT 1

struct hash_entry {
    char *name;
    struct file_stamp stamp;
    char sha256[SHA256_HEX];
    bool holds; /* it was looked at, and is so */
};

static int by_name(const void *a, const void *b)
{
    const struct hash_entry *p = a, *q = b;
    return strcmp(p->name, q->name);
}

/* Takes over the name. What there is no memory for is not remembered. */
static bool append(struct hash_index *x, const struct hash_entry *entry)
{
    if (x->count == x->room) {
        size_t room = x->room ? 2 * x->room : 64;
        struct hash_entry *grown = reallocarray(x->entries, room, sizeof *grown);
        if (grown)
            x->entries = grown;
        x->room = grown ? room : x->room;
    }
    bool ok = entry->name && x->count < x->room;
    if (ok)
        x->entries[x->count++] = *entry;
    else
        free(entry->name);
    return ok;
}

/* Reading */

/* [sha256, size, modified, changed, inode] under the file's name. */
static bool read_entry(const struct json *v, struct hash_entry *entry, struct err *e)
{
    const char *hex;
    struct file_stamp *s = &entry->stamp;
    if (!config_as_array(v, 5, 5, e) || !config_as_string(v->child, &hex, e) ||
        !config_as_uint64(json_at(v, 1), &s->size, e) ||
        !config_as_int(json_at(v, 2), INT64_MIN, INT64_MAX, &s->modified, e) ||
        !config_as_int(json_at(v, 3), INT64_MIN, INT64_MAX, &s->changed, e) ||
        !config_as_uint64(json_at(v, 4), &s->inode, e))
        return false;
    if (strlen(hex) != SHA256_HEX - 1)
        return json_fail(v, e, "expected 64 digits");
    memcpy(entry->sha256, hex, SHA256_HEX);
    return true;
}

/* A file that changed when the index did, or later, may have changed again within the
 * same tick of the file system's clock. */
static bool read_entries(struct hash_index *x, const struct json *files, int64_t written,
                         struct err *e)
{
    for (const struct json *v = files->child; v; v = v->next) {
        struct hash_entry entry = {0};
        if (!read_entry(v, &entry, e))
            return false;
        entry.name = entry.stamp.changed < written ? str_dup(v->key) : NULL;
        append(x, &entry);
    }
    x->found = x->count;
    if (x->found > 0)
        qsort(x->entries, x->found, sizeof *x->entries, by_name);
    return true;
}

void hash_index_open(struct hash_index *x, const char *directory)
{
    struct err ignored = {0};
    struct json_document d = {0};
    struct file_stamp own;
    const struct json *files;
    int64_t format;
    char *path = str_path(directory, RUN_HASHES);
    bool ok = path && file_stamp_take(path, &own) &&
              json_read(&d, path, LIMIT_JSON_RECORD, &ignored) &&
              config_as_object(d.root, &ignored) &&
              config_need_int(d.root, "format", FORMAT, FORMAT, &format, &ignored) &&
              config_need_object(d.root, "files", &files, &ignored) &&
              read_entries(x, files, own.changed, &ignored);
    if (!ok)
        hash_index_close(x);
    json_free(&d);
    free(path);
}

/* Asking and noting */

bool hash_index_knows(struct hash_index *x, const char *name,
                      const struct file_stamp *stamp, const char *hex)
{
    const struct hash_entry wanted = {.name = (char *)name};
    struct hash_entry *entry = NULL;
    if (x->found > 0)
        entry = bsearch(&wanted, x->entries, x->found, sizeof wanted, by_name);
    if (!entry || !file_stamp_equal(&entry->stamp, stamp) ||
        strcmp(entry->sha256, hex) != 0)
        return false;
    entry->holds = true;
    return true;
}

bool hash_index_knows_file(struct hash_index *x, const char *name, const char *path,
                           const char *expected)
{
    struct file_stamp stamp;
    return file_stamp_take(path, &stamp) && hash_index_knows(x, name, &stamp, expected);
}

void hash_index_note(struct hash_index *x, const char *name,
                     const struct file_stamp *stamp, const char *hex)
{
    struct hash_entry entry = {.name = str_dup(name), .stamp = *stamp, .holds = true};
    memcpy(entry.sha256, hex, SHA256_HEX);
    append(x, &entry);
}

/* The stamp is taken first: that of a file which changes while it is read is the old one.
 */
bool hash_index_file(struct hash_index *x, const char *name, const char *path,
                     char hex[SHA256_HEX], struct err *e)
{
    struct file_stamp stamp;
    bool there = file_stamp_take(path, &stamp);
    if (!file_sha256(path, hex, e))
        return false;
    if (there)
        hash_index_note(x, name, &stamp, hex);
    return true;
}

/* Writing */

static void write_entry(struct json_writer *w, const struct hash_entry *entry)
{
    json_write_key(w, entry->name);
    json_write_open_array(w);
    json_write_string(w, entry->sha256);
    json_write_uint(w, entry->stamp.size);
    json_write_int(w, entry->stamp.modified);
    json_write_int(w, entry->stamp.changed);
    json_write_uint(w, entry->stamp.inode);
    json_write_close(w);
}

static int by_name_and_time(const void *a, const void *b)
{
    const struct hash_entry *p = *(const struct hash_entry *const *)a;
    const struct hash_entry *q = *(const struct hash_entry *const *)b;
    int order = by_name(p, q);
    return order ? order : (p > q) - (p < q);
}

/* Of each name what was noted last; nothing of files that nobody has asked for. */
static void write_entries(const struct hash_index *x, const struct hash_entry **order,
                          struct json_writer *w)
{
    size_t count = 0;
    for (size_t i = 0; i < x->count; i++)
        if (x->entries[i].holds)
            order[count++] = &x->entries[i];
    qsort(order, count, sizeof *order, by_name_and_time);
    for (size_t i = 0; i < count; i++)
        if (i + 1 == count || by_name(order[i], order[i + 1]) != 0)
            write_entry(w, order[i]);
}

void hash_index_save(const struct hash_index *x, const char *directory)
{
    struct str json = {0};
    struct json_writer w = {.out = &json};
    struct err ignored = {0};
    if (x->count == x->found)
        return;
    const struct hash_entry **order = calloc(x->count, sizeof *order);
    char *path = str_path(directory, RUN_HASHES);
    if (order && path) {
        json_write_open_object(&w);
        json_member_int(&w, "format", FORMAT);
        json_write_key(&w, "files");
        json_write_open_object(&w);
        write_entries(x, order, &w);
        json_write_close(&w);
        json_write_close(&w);
        str_add(&json, "\n");
    }
    if (order && path && !json.failed)
        publish_bytes(path, json.bytes, json.size, &ignored);
    str_free(&json);
    free(order);
    free(path);
}

void hash_index_close(struct hash_index *x)
{
    for (size_t i = 0; i < x->count; i++)
        free(x->entries[i].name);
    free(x->entries);
    *x = (struct hash_index){0};
}
