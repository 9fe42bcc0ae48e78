/* tensor_file.c: tensors by name, whatever the format. Leaves each format to its reader,
 * bytes to tensor_read.c. */
#include "diffens/tensor_file.h"

#include "base/checked.h"
#include "base/str.h"
#include "io/file.h"
#include "io/limits.h"
#include "io/safetensors.h"
#include "io/tensor_file_parts.h"
#include "io/torch_file.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    size_t size;
} dtypes[] = {
    [FILE_F64] = {"F64", 8},   [FILE_F32] = {"F32", 4}, [FILE_F16] = {"F16", 2},
    [FILE_BF16] = {"BF16", 2}, [FILE_I64] = {"I64", 8}, [FILE_I32] = {"I32", 4},
    [FILE_I16] = {"I16", 2},   [FILE_I8] = {"I8", 1},   [FILE_U8] = {"U8", 1},
    [FILE_BOOL] = {"BOOL", 1},
};
enum { DTYPES = sizeof dtypes / sizeof *dtypes };

size_t file_dtype_size(enum file_dtype dtype)
{
    return dtypes[dtype].size;
}

const char *file_dtype_name(enum file_dtype dtype)
{
    return dtypes[dtype].name;
}

bool file_dtype_parse(const char *name, enum file_dtype *dtype)
{
    for (int i = 0; i < DTYPES; i++) {
        if (strcmp(name, dtypes[i].name) == 0) {
            *dtype = (enum file_dtype)i;
            return true;
        }
    }
    return false;
}

bool tensor_entry_size(const struct tensor_entry *entry, uint64_t *bytes)
{
    uint64_t size = 1;
    for (int i = 0; i < entry->rank; i++)
        if (!checked_mul_u64(size, (uint64_t)entry->dim[i], &size))
            return false;
    return checked_mul_u64(size, file_dtype_size(entry->dtype), bytes);
}

struct tensor_part *tensor_file_add_part(struct tensor_file *t, const char *path,
                                         struct err *e)
{
    size_t count = (size_t)t->part_count + 1;
    struct tensor_part *parts = realloc(t->parts, count * sizeof *parts);
    char *copy = str_dup(path);
    if (parts)
        t->parts = parts;
    if (!parts || !copy) {
        free(copy);
        err_set(e, ERR_MEMORY, "%s: out of memory", STR_SHOW(path));
        return NULL;
    }
    struct tensor_part *part = &parts[t->part_count];
    *part = (struct tensor_part){.path = copy, .fd = -1};
    t->part_count++;
    part->fd = file_open(path, &part->size, e);
    return part->fd < 0 ? NULL : part;
}

static bool within_limits(const struct tensor_file *t, const struct tensor_entry *entry,
                          struct err *e)
{
    uint64_t tensors = limit_of(LIMIT_TENSORS), bytes = limit_of(LIMIT_TENSOR_BYTES);
    if (t->count == tensors) {
        err_set(e, ERR_INPUT,
                "found more than %" PRIu64 " tensors, expected at most that", tensors);
        return limit_hint(LIMIT_TENSORS, e);
    }
    if (entry->bytes <= bytes)
        return true;
    err_set(e, ERR_INPUT,
            "tensor \"%s\": found %" PRIu64 " bytes, expected at most %" PRIu64,
            STR_SHOW(entry->name), entry->bytes, bytes);
    return limit_hint(LIMIT_TENSOR_BYTES, e);
}

bool tensor_file_add_entry(struct tensor_file *t, struct tensor_entry entry,
                           size_t *capacity, struct err *e)
{
    if (!within_limits(t, &entry, e)) {
        free(entry.name);
        return false;
    }
    if (t->count >= *capacity) {
        size_t more = t->count < 32 ? 64 : t->count * 2;
        struct tensor_entry *entries = realloc(t->entries, more * sizeof *entries);
        if (!entries) {
            free(entry.name);
            return err_set(e, ERR_MEMORY, "out of memory for %zu tensor names", more);
        }
        t->entries = entries;
        *capacity = more;
    }
    t->entries[t->count++] = entry;
    return true;
}

bool tensor_file_add_metadata(struct tensor_file *t, const char *key, const char *value,
                              struct err *e)
{
    size_t count = t->metadata_count;
    if ((count & (count - 1)) == 0) { /* full at each power of two */
        size_t more = count ? count * 2 : 1;
        struct tensor_text *texts = realloc(t->metadata, more * sizeof *texts);
        if (!texts)
            return err_set(e, ERR_MEMORY, "out of memory for metadata");
        t->metadata = texts;
    }
    struct tensor_text text = {str_dup(key), str_dup(value)};
    t->metadata[t->metadata_count++] = text;
    return (text.key && text.value) ||
           err_set(e, ERR_MEMORY, "out of memory for metadata");
}

static int compare_names(const void *a, const void *b)
{
    const struct tensor_entry *left = a, *right = b;
    return strcmp(left->name, right->name);
}

bool tensor_file_sort(struct tensor_file *t, struct err *e)
{
    if (t->count > 1)
        qsort(t->entries, t->count, sizeof *t->entries, compare_names);
    for (size_t i = 1; i < t->count; i++) {
        const struct tensor_entry *one = &t->entries[i - 1], *other = &t->entries[i];
        if (strcmp(one->name, other->name) != 0)
            continue;
        err_set(e, ERR_INPUT, "tensor \"%s\": found twice, expected once",
                STR_SHOW(one->name));
        return err_in_file(e, t->parts[other->part].path);
    }
    return true;
}

static bool is_text(const char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if ((bytes[i] < 0x20 || bytes[i] == 0x7F) && !memchr("\t\r\n", bytes[i], 3))
            return false;
    return size > 8;
}

/* What people take for weights and is none, in words; NULL for what may be weights. */
static const char *wrong_kind(const char *head, size_t size)
{
    static const struct {
        const char *magic, *name;
    } kinds[] = {
        {"version https://git-lfs", "a Git LFS pointer"},
        {"GGUF", "a GGUF file"},
        {"\x89HDF", "an HDF5 file"},
        {"\x93NUMPY", "a NumPy array"},
        {"\x1F\x8B", "a gzip archive"},
        {"7z\xBC\xAF", "a 7z archive"},
        {"Rar!", "a RAR archive"},
        {"\x89PNG", "a picture"},
        {"\xFF\xD8\xFF", "a picture"},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strncmp(head, kinds[i].magic, strlen(kinds[i].magic)) == 0)
            return kinds[i].name;
    char first = head[strspn(head, " \t\r\n")];
    if (first == '<')
        return "a web page";
    if (first == '{')
        return "a JSON text";
    return is_text(head, size) ? "a text" : NULL;
}

static bool fail_kind(const char *path, const char *head, size_t size, const char *kind,
                      struct err *e)
{
    char shown[80];
    str_escape(shown, sizeof shown, head, size < 24 ? size : 24);
    err_set(e, ERR_INPUT,
            "%s: found %s, expected a safetensors or PyTorch weights file; it begins "
            "with \"%s\"",
            STR_SHOW(path), kind, shown);
    if (strncmp(head, "version ", 8) == 0)
        err_hint(e, "fetch the file itself with `git lfs pull`");
    return false;
}

bool tensor_file_append(struct tensor_file *t, const char *path, struct err *e)
{
    char head[65] = {0};
    uint64_t size;
    int fd = file_open(path, &size, e);
    if (fd < 0)
        return false;
    size_t take = size < 64 ? (size_t)size : 64;
    bool ok = file_read_at(fd, head, take, 0, path, e);
    file_close(fd);
    if (!ok)
        return false;
    /* The length of a safetensors header, whose eighth byte is 0, and the header. */
    bool is_length = take > 8 && head[7] == 0 && strchr("{ \t\r\n", head[8]) && head[8];
    if (!is_length && take > 3 && memcmp(head, "PK", 2) == 0)
        return torch_zip_append(t, path, e);
    if (!is_length && (unsigned char)head[0] == 0x80 && head[1] >= 2 && head[1] <= 5)
        return torch_legacy_append(t, path, e);
    const char *kind = is_length ? NULL : wrong_kind(head, take);
    return kind ? fail_kind(path, head, take, kind, e) : safetensors_append(t, path, e);
}

bool tensor_file_open(struct tensor_file *t, const char *path, struct err *e)
{
    *t = (struct tensor_file){0};
    bool ok;
    if (tensor_index_is(path))
        ok = tensor_index_append(t, path, e);
    else
        ok = tensor_file_append(t, path, e) && tensor_file_sort(t, e);
    if (!ok)
        tensor_file_close(t);
    return ok;
}

void tensor_file_close(struct tensor_file *t)
{
    for (size_t i = 0; i < t->count; i++)
        free(t->entries[i].name);
    for (int i = 0; i < t->part_count; i++) {
        file_close(t->parts[i].fd);
        free(t->parts[i].path);
    }
    for (size_t i = 0; i < t->metadata_count; i++) {
        free(t->metadata[i].key);
        free(t->metadata[i].value);
    }
    free(t->entries);
    free(t->parts);
    free(t->metadata);
    free(t->storages);
    free(t->unknown_globals);
    *t = (struct tensor_file){0};
}

static int compare_to_name(const void *name, const void *entry)
{
    return strcmp(name, ((const struct tensor_entry *)entry)->name);
}

const struct tensor_entry *tensor_file_find(const struct tensor_file *t, const char *name)
{
    if (t->count == 0)
        return NULL;
    return bsearch(name, t->entries, t->count, sizeof *t->entries, compare_to_name);
}

const char *tensor_file_metadata(const struct tensor_file *t, const char *key)
{
    for (size_t i = 0; i < t->metadata_count; i++)
        if (strcmp(t->metadata[i].key, key) == 0)
            return t->metadata[i].value;
    return NULL;
}
