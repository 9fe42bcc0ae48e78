/* torch_zip.c: PyTorch's zip archive: NAME/data.pkl, NAME/data/KEY for each storage, and
 * a few notes. Leaves the archive to zip.h and the pickle to torch_tensors.c. */
#include "io/torch_file.h"

#include "base/str.h"
#include "io/crc32.h"
#include "io/file.h"
#include "io/limits.h"
#include "io/tensor_file_parts.h"
#include "io/zip.h"

#include <stdlib.h>
#include <string.h>

static bool fail_entry(const char *name, struct err *e, const char *problem)
{
    return err_set(e, ERR_INPUT, "entry \"%s\": %s", STR_SHOW(name), problem);
}

/* What every name begins with: "archive/", as a rule the file's own name. */
static size_t folder_size(const char *name)
{
    const char *slash = strchr(name, '/');
    return slash ? (size_t)(slash - name) + 1 : 0;
}

static bool is_key(const char *text)
{
    static const char letters[] =
        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-";
    return *text && text[strspn(text, letters)] == '\0';
}

/* What an archive may hold: torch/serialization.py, _save, and caffe2/serialize. */
static bool check_name(const char *name, const char *inside, struct err *e)
{
    static const char *const notes[] = {"data.pkl",           "version",
                                        "byteorder",          ".format_version",
                                        ".storage_alignment", ".data/serialization_id"};
    if (strcmp(inside, "constants.pkl") == 0 || strncmp(inside, "code/", 5) == 0)
        return fail_entry(name, e,
                          "found a TorchScript program, expected the tensors of "
                          "torch.save()");
    if (strncmp(inside, "data/", 5) == 0 && is_key(inside + 5))
        return true;
    for (size_t i = 0; i < sizeof notes / sizeof *notes; i++)
        if (strcmp(inside, notes[i]) == 0)
            return true;
    return fail_entry(
        name, e, "found an entry that torch.save() does not write, expected its own");
}

/* All in one folder, with one data.pkl. */
static bool check_names(const struct zip *z, const struct zip_entry **data, struct err *e)
{
    const char *first = z->entries[0].name;
    size_t skip = folder_size(first);
    *data = NULL;
    for (size_t i = 0; i < z->count; i++) {
        const char *name = z->entries[i].name;
        if (skip < 2 || first[0] == '.' || strncmp(name, first, skip) != 0)
            return fail_entry(
                name, e,
                "found it outside the folder of the first entry, expected one folder");
        if (!check_name(name, name + skip, e))
            return false;
        if (strcmp(name + skip, "data.pkl") != 0)
            continue;
        if (*data)
            return fail_entry(name, e, "found it twice, expected it once");
        *data = &z->entries[i];
    }
    return *data || err_set(e, ERR_INPUT,
                            "found %zu entries, \"%s\" first, expected a data.pkl "
                            "among them",
                            z->count, STR_SHOW(first));
}

/* An entry's bytes with a NUL behind them, checked; the caller frees them. */
static char *read_entry(const struct tensor_part *part, const struct zip_entry *entry,
                        size_t limit, struct err *e)
{
    if (entry->size > limit) {
        err_set(e, ERR_INPUT, "entry \"%s\": found %llu bytes, expected at most %zu",
                STR_SHOW(entry->name), (unsigned long long)entry->size, limit);
        return NULL;
    }
    size_t size = (size_t)entry->size;
    char *bytes = malloc(size + 1);
    if (!bytes) {
        err_set(e, ERR_MEMORY, "out of memory for %zu bytes", size);
        return NULL;
    }
    bytes[size] = '\0';
    bool ok = file_read_at(part->fd, bytes, size, entry->offset, entry->name, e) &&
              (crc32_add(0, bytes, size) == entry->crc ||
               fail_entry(entry->name, e,
                          "found another CRC, expected that of the directory: "
                          "the file is damaged"));
    if (ok)
        return bytes;
    free(bytes);
    return NULL;
}

/* A note in the archive says when it is not little-endian. */
static bool check_byteorder(const struct zip *z, const struct tensor_part *part,
                            struct err *e)
{
    for (size_t i = 0; i < z->count; i++) {
        const struct zip_entry *entry = &z->entries[i];
        if (strcmp(entry->name + folder_size(entry->name), "byteorder") != 0)
            continue;
        char *text = read_entry(part, entry, 16, e);
        bool ok =
            text && (strcmp(text, "little") == 0 ||
                     err_set(e, ERR_INPUT, "byteorder: found \"%s\", expected little",
                             STR_SHOW(text)));
        free(text);
        return ok;
    }
    return true;
}

static bool add_storages(struct tensor_file *t, struct torch_storages *s,
                         const struct zip *z, struct err *e)
{
    size_t room = t->storage_count + z->count;
    struct tensor_storage *all = realloc(t->storages, room * sizeof *all);
    if (all)
        t->storages = all;
    s->list = calloc(z->count, sizeof *s->list);
    if (!all || !s->list)
        return err_set(e, ERR_MEMORY, "out of memory for %zu storages", z->count);
    for (size_t i = 0; i < z->count; i++) {
        const struct zip_entry *entry = &z->entries[i];
        const char *inside = entry->name + folder_size(entry->name);
        if (strncmp(inside, "data/", 5) != 0)
            continue;
        s->list[s->count++] = (struct torch_storage){.key = inside + 5,
                                                     .offset = entry->offset,
                                                     .bytes = entry->size,
                                                     .number = (int)t->storage_count,
                                                     .dtype = -1};
        t->storages[t->storage_count++] =
            (struct tensor_storage){entry->offset, entry->size, entry->crc, false};
    }
    torch_storages_sort(s);
    for (size_t i = 1; i < s->count; i++)
        if (strcmp(s->list[i - 1].key, s->list[i].key) == 0)
            return err_set(e, ERR_INPUT,
                           "storage \"%s\": found it twice, expected it once",
                           s->list[i].key);
    return true;
}

static bool read_data(struct tensor_file *t, const struct zip *z,
                      const struct zip_entry *data, struct err *e)
{
    const struct tensor_part *part = &t->parts[t->part_count - 1];
    struct torch_storages storages = {0};
    struct pickle p = {0};
    size_t most = (size_t)limit_of(LIMIT_PICKLE_BYTES);
    char *bytes = read_entry(part, data, most, e);
    if (!bytes && data->size > most)
        limit_hint(LIMIT_PICKLE_BYTES, e);
    bool ok = bytes && pickle_read(&p, bytes, (size_t)data->size,
                                   pickle_budget((size_t)data->size), e);
    if (ok && p.size != data->size)
        ok = err_set(e, ERR_INPUT,
                     "byte %zu: found more bytes behind the pickle's STOP, expected "
                     "none",
                     p.size);
    free(bytes);
    ok = ok && add_storages(t, &storages, z, e) &&
         torch_tensors_append(t, &p, &storages, e);
    if (!ok)
        err_in_file(e, "data.pkl");
    free(storages.list);
    pickle_free(&p);
    return ok;
}

bool torch_zip_append(struct tensor_file *t, const char *path, struct err *e)
{
    const struct tensor_part *part = tensor_file_add_part(t, path, e);
    const struct zip_entry *data = NULL;
    struct zip z = {0};
    struct err cause = {0};
    if (!part)
        return false;
    bool ok = zip_read(&z, part, &cause) && check_names(&z, &data, &cause) &&
              check_byteorder(&z, part, &cause) && read_data(t, &z, data, &cause);
    zip_free(&z);
    if (ok)
        return true;
    return err_from(e, &cause, path);
}
