/* torch_legacy.c: PyTorch's format before the zip archive: five pickles (magic number,
 * version, system, the object, keys of the storages), then for each key the number of its
 * elements and their bytes (torch/serialization.py, _legacy_save). Leaves the object to
 * torch_tensors.c. */
#include "io/torch_file.h"

#include "base/checked.h"
#include "base/str.h"
#include "io/file.h"
#include "io/limits.h"
#include "io/tensor_file_parts.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { MAGIC, VERSION, SYSTEM, OBJECT, KEYS, PICKLES };

static const char *const parts[PICKLES] = {"magic number", "protocol version",
                                           "system info", "object", "storage keys"};

struct legacy {
    struct pickle pickles[PICKLES];
    size_t size; /* bytes of all of them */
};

static void legacy_free(struct legacy *l)
{
    for (int i = 0; i < PICKLES; i++)
        pickle_free(&l->pickles[i]);
}

static bool check_part(int i, const struct pickle_value *value, struct err *e)
{
    static const unsigned char magic[] = {0x6c, 0xfc, 0x9c, 0x46, 0xf9,
                                          0x20, 0x6a, 0xa8, 0x50, 0x19};
    char found[400];
    const struct pickle_value *little;
    const char *expected = NULL;
    switch (i) {
    case MAGIC:
        if (value->kind != PICKLE_BIG || value->count != sizeof magic ||
            memcmp(value->text, magic, sizeof magic) != 0)
            expected = "PyTorch's: a pickle, but not one of torch.save()";
        break;
    case VERSION:
        if (value->kind != PICKLE_INT || value->integer != 1001)
            expected = "1001";
        break;
    case SYSTEM:
        little = pickle_is_mapping(value) ? pickle_get(value, "little_endian") : NULL;
        if (!pickle_is_mapping(value) ||
            (little && (little->kind != PICKLE_BOOL || !little->integer)))
            expected = "a dict that says little_endian";
        break;
    case KEYS:
        if (value->kind != PICKLE_LIST)
            expected = "a list";
        break;
    default:
        break;
    }
    return !expected || err_set(e, ERR_INPUT, "found %s, expected %s",
                                pickle_describe(value, found, sizeof found), expected);
}

/* *truncated says that more of the file may help. */
static bool read_pickles(struct legacy *l, const char *bytes, size_t size,
                         bool *truncated, struct err *e)
{
    size_t budget = pickle_budget(size);
    l->size = 0;
    for (int i = 0; i < PICKLES; i++) {
        struct pickle *p = &l->pickles[i];
        if (!pickle_read(p, bytes + l->size, size - l->size, budget, e) ||
            !check_part(i, p->root, e)) {
            *truncated = p->truncated;
            return err_in_file(e, parts[i]);
        }
        l->size += p->size;
        if (i < OBJECT)
            pickle_free(p);
        else
            budget -= p->used;
    }
    return true;
}

/* Nothing says how long the pickles are: they are tried in pieces that grow. */
static bool read_head(struct legacy *l, const struct tensor_part *part, struct err *e)
{
    uint64_t limit = limit_of(LIMIT_PICKLE_BYTES);
    uint64_t most = part->size < limit ? part->size : limit;
    for (uint64_t size = 1 << 20;; size *= 4) {
        struct err cause = {0};
        bool truncated = false;
        if (size > most)
            size = most;
        char *bytes = malloc((size_t)size + 1);
        bool ok = bytes
                      ? file_read_at(part->fd, bytes, (size_t)size, 0, "pickles", &cause)
                      : err_set(&cause, ERR_MEMORY, "out of memory for the pickles");
        ok = ok && read_pickles(l, bytes, (size_t)size, &truncated, &cause);
        free(bytes);
        if (ok)
            return true;
        if (!truncated || size == most) {
            err_from(e, &cause, NULL);
            return truncated && size == limit && limit_hint(LIMIT_PICKLE_BYTES, e);
        }
        legacy_free(l);
    }
}

static int compare_ids(const void *a, const void *b)
{
    const struct torch_storage_id *left = a, *right = b;
    return strcmp(left->key, right->key);
}

/* Every storage that the object names, by key: the stream has no other sizes. */
static struct torch_storage_id *collect_ids(const struct pickle *object, size_t *count,
                                            struct err *e)
{
    const struct pickle_value *list = &object->persistent;
    struct torch_storage_id *ids = malloc((list->count + 1) * sizeof *ids);
    if (!ids) {
        err_set(e, ERR_MEMORY, "out of memory for %u storages", (unsigned)list->count);
        return NULL;
    }
    *count = list->count;
    for (size_t i = 0; i < *count; i++) {
        if (!torch_storage_id_read(&ids[i], list->items[i], "object", e)) {
            free(ids);
            return NULL;
        }
    }
    qsort(ids, *count, sizeof *ids, compare_ids);
    return ids;
}

/* One storage of the stream, at *at, which moves behind it. */
static bool locate(struct torch_storage *s, const struct torch_storage_id *id,
                   const struct tensor_part *part, uint64_t *at, struct err *e)
{
    unsigned char bytes[8];
    uint64_t elements = 0, size;
    if (*at > part->size || part->size - *at < sizeof bytes)
        return err_set(
            e, ERR_INPUT,
            "storage \"%s\": found the end of the file, expected its elements: "
            "incomplete download?",
            STR_SHOW(id->key));
    if (!file_read_at(part->fd, bytes, sizeof bytes, *at, "storages", e))
        return false;
    for (int i = 7; i >= 0; i--)
        elements = elements << 8 | bytes[i];
    if (elements != id->elements)
        return err_set(e, ERR_INPUT,
                       "storage \"%s\": found %" PRIu64 " elements, expected the %" PRIu64
                       " that the object names",
                       STR_SHOW(id->key), elements, id->elements);
    *at += sizeof bytes;
    if (!checked_mul_u64(elements, file_dtype_size(id->dtype), &size) ||
        size > part->size - *at)
        return err_set(e, ERR_INPUT,
                       "storage \"%s\": found %" PRIu64
                       " elements, expected no more than the file has: incomplete "
                       "download?",
                       STR_SHOW(id->key), elements);
    *s = (struct torch_storage){
        .key = id->key, .offset = *at, .bytes = size, .number = -1, .dtype = -1};
    *at += size;
    return true;
}

static bool locate_all(struct torch_storages *s, const struct legacy *l,
                       const struct torch_storage_id *ids, size_t id_count,
                       const struct tensor_part *part, struct err *e)
{
    const struct pickle_value *keys = l->pickles[KEYS].root;
    uint64_t at = l->size;
    for (uint32_t i = 0; i < keys->count; i++) {
        struct torch_storage_id wanted = {.key = keys->items[i]->text};
        const struct torch_storage_id *id =
            keys->items[i]->kind == PICKLE_TEXT
                ? bsearch(&wanted, ids, id_count, sizeof *ids, compare_ids)
                : NULL;
        char found[400];
        if (!id)
            return err_set(e, ERR_INPUT,
                           "storage keys: found %s, expected a storage that the object "
                           "names",
                           pickle_describe(keys->items[i], found, sizeof found));
        if (!locate(&s->list[s->count++], id, part, &at, e))
            return false;
    }
    torch_storages_sort(s);
    return at == part->size ||
           err_set(e, ERR_INPUT,
                   "found %" PRIu64 " bytes behind the last storage, expected none",
                   part->size - at);
}

static bool read_storages(struct torch_storages *s, const struct legacy *l,
                          const struct tensor_part *part, struct err *e)
{
    size_t id_count = 0;
    struct torch_storage_id *ids = collect_ids(&l->pickles[OBJECT], &id_count, e);
    if (!ids)
        return false;
    s->list = calloc(l->pickles[KEYS].root->count + 1, sizeof *s->list);
    bool ok = s->list ? locate_all(s, l, ids, id_count, part, e)
                      : err_set(e, ERR_MEMORY, "out of memory for storages");
    free(ids);
    return ok;
}

bool torch_legacy_append(struct tensor_file *t, const char *path, struct err *e)
{
    const struct tensor_part *part = tensor_file_add_part(t, path, e);
    struct legacy l = {0};
    struct torch_storages storages = {0};
    struct err cause = {0};
    if (!part)
        return false;
    bool ok = read_head(&l, part, &cause) && read_storages(&storages, &l, part, &cause) &&
              torch_tensors_append(t, &l.pickles[OBJECT], &storages, &cause);
    free(storages.list);
    legacy_free(&l);
    if (ok)
        return true;
    return err_from(e, &cause, path);
}
