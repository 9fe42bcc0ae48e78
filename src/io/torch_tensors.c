/* torch_tensors.c: which values of a pickle are tensors, and the state dict among them.
 * Leaves the container's format to torch_zip.c and torch_legacy.c. */
#include "io/torch_file.h"

#include "base/checked.h"
#include "base/str.h"
#include "base/utf8.h"
#include "io/limits.h"
#include "io/tensor_file_parts.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* torch/storage.py: the classes that are pickled by name */
static const struct type {
    const char *name;
    enum file_dtype dtype;
} storage_types[] = {
    {"DoubleStorage", FILE_F64},    {"FloatStorage", FILE_F32}, {"HalfStorage", FILE_F16},
    {"BFloat16Storage", FILE_BF16}, {"LongStorage", FILE_I64},  {"IntStorage", FILE_I32},
    {"ShortStorage", FILE_I16},     {"CharStorage", FILE_I8},   {"ByteStorage", FILE_U8},
    {"BoolStorage", FILE_BOOL},
};

static const struct type dtypes[] = {
    {"float64", FILE_F64},   {"float32", FILE_F32}, {"float16", FILE_F16},
    {"bfloat16", FILE_BF16}, {"int64", FILE_I64},   {"int32", FILE_I32},
    {"int16", FILE_I16},     {"int8", FILE_I8},     {"uint8", FILE_U8},
    {"bool", FILE_BOOL},
};

enum { TYPES = sizeof storage_types / sizeof *storage_types };

/* Globals that need no warning, apart from those two tables. */
static const struct {
    const char *module, *name;
} harmless[] = {
    {"collections", "OrderedDict"},
    {"torch._utils", "_rebuild_tensor"},
    {"torch._utils", "_rebuild_tensor_v2"},
    {"torch._utils", "_rebuild_tensor_v3"},
    {"torch._utils", "_rebuild_parameter"},
    {"torch._utils", "_rebuild_parameter_with_state"},
    {"torch.nn.parameter", "Parameter"},
    {"torch.storage", "UntypedStorage"},
    {"torch", "Size"},
    {"torch", "device"},
};

/* Sorting and finding storages */

static int compare_storages(const void *a, const void *b)
{
    const struct torch_storage *left = a, *right = b;
    return strcmp(left->key, right->key);
}

void torch_storages_sort(struct torch_storages *s)
{
    if (s->count > 1)
        qsort(s->list, s->count, sizeof *s->list, compare_storages);
}

static struct torch_storage *find_storage(struct torch_storages *s, const char *key)
{
    struct torch_storage wanted = {.key = key};
    return s->count
               ? bsearch(&wanted, s->list, s->count, sizeof *s->list, compare_storages)
               : NULL;
}

/* Storages */

static bool read_storage_type(struct torch_storage_id *id,
                              const struct pickle_value *type)
{
    id->untyped = pickle_is_global(type, "torch.storage", "UntypedStorage");
    id->dtype = FILE_U8;
    for (int i = 0; !id->untyped && i < TYPES; i++) {
        id->dtype = storage_types[i].dtype;
        if (pickle_is_global(type, "torch", storage_types[i].name) ||
            pickle_is_global(type, "torch.cuda", storage_types[i].name))
            return true;
    }
    return id->untyped;
}

bool torch_storage_id_read(struct torch_storage_id *id, const struct pickle_value *value,
                           const char *where, struct err *e)
{
    char found[400];
    const struct pickle_value *tuple =
        value->kind == PICKLE_PERSISTENT ? value->items[0] : value;
    struct pickle_value **items = tuple->items;
    if (tuple->kind != PICKLE_TUPLE || tuple->count < 5 || tuple->count > 6 ||
        items[0]->kind != PICKLE_TEXT || strcmp(items[0]->text, "storage") != 0 ||
        items[2]->kind != PICKLE_TEXT || items[4]->kind != PICKLE_INT ||
        items[4]->integer < 0)
        return err_set(e, ERR_INPUT,
                       "%s: found the storage %s, expected (\"storage\", type, key, "
                       "location, elements)",
                       where, pickle_describe(tuple, found, sizeof found));
    if (!read_storage_type(id, items[1]))
        return err_set(e, ERR_INPUT, "%s: found a storage of %s, expected one of %s",
                       where, pickle_describe(items[1], found, sizeof found),
                       FILE_DTYPES_SUPPORTED);
    if (tuple->count == 6 && items[5]->kind != PICKLE_NONE)
        return err_set(e, ERR_INPUT,
                       "%s: found a view of a storage (PyTorch before 0.4), expected a "
                       "whole one",
                       where);
    id->key = items[2]->text;
    id->elements = (uint64_t)items[4]->integer;
    return true;
}

/* Tensors */

struct reader {
    struct tensor_file *t;
    struct torch_storages *storages;
    size_t capacity; /* of t->entries */
    struct err *e;
};

static bool fail_tensor(struct reader *r, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static bool fail_tensor(struct reader *r, const char *name, const char *format, ...)
{
    char problem[500];
    va_list args;
    va_start(args, format);
    vsnprintf(problem, sizeof problem, format, args);
    va_end(args);
    return err_set(r->e, ERR_INPUT, "tensor \"%s\": %s", STR_SHOW(name), problem);
}

/* What is wrong in sizes or strides: one of them, or all; NULL where nothing is. */
static const struct pickle_value *not_integers(const struct pickle_value *value)
{
    if (value->kind != PICKLE_TUPLE && value->kind != PICKLE_LIST)
        return value;
    for (uint32_t i = 0; i < value->count; i++)
        if (value->items[i]->kind != PICKLE_INT || value->items[i]->integer < 0)
            return value->items[i];
    return NULL;
}

static bool read_shape(struct reader *r, struct tensor_entry *entry,
                       const struct pickle_value *size, const struct pickle_value *stride)
{
    char found[400];
    const struct pickle_value *wrong_size = not_integers(size);
    const struct pickle_value *wrong = wrong_size ? wrong_size : not_integers(stride);
    if (wrong)
        return fail_tensor(r, entry->name, "%s: found %s, expected integers 0..2^63-1",
                           wrong_size ? "size" : "stride",
                           pickle_describe(wrong, found, sizeof found));
    if (size->count > FILE_MAX_RANK || size->count != stride->count)
        return fail_tensor(r, entry->name,
                           "found %u sizes and %u strides, expected the same, at most %d",
                           (unsigned)size->count, (unsigned)stride->count, FILE_MAX_RANK);
    entry->rank = (int)size->count;
    for (int i = 0; i < entry->rank; i++) {
        entry->dim[i] = size->items[i]->integer;
        entry->stride[i] = stride->items[i]->integer;
    }
    return tensor_entry_size(entry, &entry->bytes) ||
           fail_tensor(r, entry->name,
                       "found a size that overflows 64 bits, expected less");
}

/* Elements from the first to the last, both included; 0 where there are none. */
static bool extent_of(const struct tensor_entry *entry, uint64_t *extent)
{
    *extent = entry->bytes > 0;
    for (int i = 0; *extent && i < entry->rank; i++) {
        uint64_t span;
        if (!checked_mul_u64((uint64_t)(entry->dim[i] - 1), (uint64_t)entry->stride[i],
                             &span) ||
            !checked_add_u64(*extent, span, extent))
            return false;
    }
    return true;
}

static bool is_strided(const struct tensor_entry *entry)
{
    int64_t expected = 1;
    for (int i = entry->rank - 1; entry->bytes && i >= 0; i--) {
        if (entry->dim[i] != 1 && entry->stride[i] != expected)
            return true;
        expected *= entry->dim[i];
    }
    return false;
}

/* Puts the view into its storage: nothing of it may lie outside. */
static bool place_view(struct reader *r, struct tensor_entry *entry,
                       const struct torch_storage_id *id, int64_t first)
{
    struct torch_storage *s = find_storage(r->storages, id->key);
    uint64_t size = file_dtype_size(entry->dtype), extent, end, bytes;
    if (!s)
        return fail_tensor(r, entry->name,
                           "found no storage \"%s\" in the file, expected it",
                           STR_SHOW(id->key));
    if (!checked_mul_u64(id->elements, file_dtype_size(id->dtype), &bytes) ||
        bytes != s->bytes)
        return fail_tensor(r, entry->name,
                           "storage \"%s\": found %" PRIu64 " bytes, expected %" PRIu64
                           " elements of %s",
                           STR_SHOW(id->key), s->bytes, id->elements,
                           file_dtype_name(id->dtype));
    if (s->dtype >= 0 && s->dtype != (int)entry->dtype)
        return fail_tensor(
            r, entry->name,
            "storage \"%s\": found %s and %s in one storage, expected one type",
            STR_SHOW(id->key), file_dtype_name((enum file_dtype)s->dtype),
            file_dtype_name(entry->dtype));
    s->dtype = (int)entry->dtype;
    if (first < 0 || !extent_of(entry, &extent) ||
        !checked_add_u64((uint64_t)first, extent, &end) || end > bytes / size)
        return fail_tensor(r, entry->name,
                           "storage \"%s\": found a view from element %lld that ends "
                           "outside, expected it within its %" PRIu64 " elements",
                           STR_SHOW(id->key), (long long)first, bytes / size);
    if (entry->bytes > s->bytes)
        return fail_tensor(r, entry->name,
                           "found %" PRIu64 " bytes expanded from a storage, expected at "
                           "most the %" PRIu64 " that it has",
                           entry->bytes, s->bytes);
    entry->offset = s->offset + (uint64_t)first * size;
    entry->storage = s->number;
    entry->strided = is_strided(entry);
    return true;
}

static bool read_dtype(const struct pickle_value *value, enum file_dtype *dtype)
{
    for (int i = 0; i < TYPES; i++) {
        *dtype = dtypes[i].dtype;
        if (pickle_is_global(value, "torch", dtypes[i].name))
            return true;
    }
    return false;
}

/* torch/_utils.py: _rebuild_tensor(storage, offset, size, stride), _v2 with (...,
 * requires_grad, hooks[, metadata]), _v3 with (..., requires_grad, hooks, dtype[,
 * metadata]) */
static bool read_tensor(struct reader *r, const char *name,
                        const struct pickle_value *arguments, uint32_t least,
                        bool has_dtype)
{
    struct tensor_entry entry = {.name = str_dup(name), .part = r->t->part_count - 1};
    struct torch_storage_id id;
    struct pickle_value **items = arguments->items;
    char where[200], found[400];
    snprintf(where, sizeof where, "tensor \"%s\"", STR_SHOW(name));
    bool ok = entry.name || err_set(r->e, ERR_MEMORY, "out of memory for tensor names");
    if (ok && (arguments->count < least || arguments->count > least + 3))
        ok = fail_tensor(r, name, "found %u arguments, expected %u",
                         (unsigned)arguments->count, (unsigned)least);
    if (ok && (items[0]->kind != PICKLE_PERSISTENT || items[1]->kind != PICKLE_INT))
        ok = fail_tensor(r, name, "found %s, expected a storage and an offset",
                         pickle_describe(items[items[0]->kind == PICKLE_PERSISTENT],
                                         found, sizeof found));
    ok = ok && torch_storage_id_read(&id, items[0], where, r->e);
    if (ok) {
        entry.dtype = id.dtype;
        if (has_dtype ? !read_dtype(items[6], &entry.dtype) : id.untyped)
            ok = fail_tensor(
                r, name, "found the type %s, expected one of %s",
                pickle_describe(items[has_dtype ? 6 : 0], found, sizeof found),
                FILE_DTYPES_SUPPORTED);
    }
    ok = ok && read_shape(r, &entry, items[2], items[3]) &&
         place_view(r, &entry, &id, items[1]->integer);
    if (ok)
        return tensor_file_add_entry(r->t, entry, &r->capacity, r->e);
    free(entry.name);
    return false;
}

/* Objects that PyTorch makes tensors of in other ways: sparse, quantised, subclasses. */
static bool is_strange_tensor(const struct pickle_value *callable)
{
    return callable->kind == PICKLE_GLOBAL &&
           (strcmp(callable->text, "torch._utils") == 0 ||
            strcmp(callable->text, "torch._tensor") == 0) &&
           strncmp(callable->name, "_rebuild_", 9) == 0;
}

/* The tensor inside a Parameter (torch/_utils.py: _rebuild_parameter). */
static const struct pickle_value *unwrap(const struct pickle_value *value)
{
    for (int i = 0; i < 2; i++)
        if ((pickle_is_call(value, "torch._utils", "_rebuild_parameter") ||
             pickle_is_call(value, "torch._utils", "_rebuild_parameter_with_state") ||
             pickle_is_call(value, "torch.nn.parameter", "Parameter")) &&
            value->call->arguments->count > 0)
            value = value->call->arguments->items[0];
    return value;
}

static bool is_tensor(const struct pickle_value *value)
{
    value = unwrap(value);
    return value->kind == PICKLE_OBJECT && is_strange_tensor(value->call->callable);
}

static bool check_name(struct reader *r, const struct pickle_value *key)
{
    char found[400];
    uint64_t most = limit_of(LIMIT_TENSOR_NAME);
    bool is_text = key->kind == PICKLE_TEXT, is_long = is_text && key->count > most;
    if (is_text && key->count > 0 && !is_long && !memchr(key->text, 0, key->count) &&
        utf8_valid(key->text, key->count, NULL))
        return true;
    err_set(r->e, ERR_INPUT,
            "state dict: found a tensor under %s, expected a name of 1..%" PRIu64
            " bytes of UTF-8",
            pickle_describe(key, found, sizeof found), most);
    return is_long && limit_hint(LIMIT_TENSOR_NAME, r->e);
}

static bool add_tensor(struct reader *r, const char *name,
                       const struct pickle_value *value)
{
    static const char module[] = "torch._utils";
    char found[400];
    value = unwrap(value);
    const struct pickle_value *arguments = value->call->arguments;
    if (pickle_is_call(value, module, "_rebuild_tensor_v2"))
        return read_tensor(r, name, arguments, 4, false);
    if (pickle_is_call(value, module, "_rebuild_tensor"))
        return read_tensor(r, name, arguments, 4, false);
    if (pickle_is_call(value, module, "_rebuild_tensor_v3"))
        return read_tensor(r, name, arguments, 7, true);
    return fail_tensor(r, name, "found %s, expected a dense tensor",
                       pickle_describe(value, found, sizeof found));
}

/* The state dict */

static bool has_tensors(const struct pickle_value *value)
{
    if (!pickle_is_mapping(value))
        return false;
    for (uint32_t i = 0; i < value->count; i += 2)
        if (is_tensor(value->items[i + 1]))
            return true;
    return false;
}

/* The root itself, or what it holds under a name that trainers use. */
static const struct pickle_value *find_state_dict(const struct pickle_value *root,
                                                  struct err *e)
{
    static const char *const names[] = {"state_dict", "model", "params"};
    char found[400], inner[400] = "";
    for (size_t i = 0; pickle_is_mapping(root) && i < sizeof names / sizeof *names; i++) {
        const struct pickle_value *value = pickle_get(root, names[i]);
        if (value && has_tensors(value))
            return value;
        if (value && !*inner)
            snprintf(inner, sizeof inner, " whose \"%s\" is %s", names[i],
                     pickle_describe(value, found, sizeof found));
    }
    if (has_tensors(root))
        return root;
    err_set(e, ERR_INPUT,
            "found %s%s, expected a dict of tensors, alone or under state_dict, model or "
            "params",
            pickle_describe(root, found, sizeof found), inner);
    return NULL;
}

/* torch.nn.DataParallel puts this in front of every name. */
static size_t common_prefix(const struct pickle_value *dict)
{
    static const char prefix[] = "module.";
    size_t size = sizeof prefix - 1;
    for (uint32_t i = 0; i < dict->count; i += 2) {
        const struct pickle_value *key = dict->items[i];
        if (is_tensor(dict->items[i + 1]) &&
            (key->kind != PICKLE_TEXT || key->count <= size ||
             strncmp(key->text, prefix, size) != 0))
            return 0;
    }
    return size;
}

/* Globals */

static bool is_harmless(const struct pickle_value *global)
{
    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
        if (pickle_is_global(global, harmless[i].module, harmless[i].name))
            return true;
    enum file_dtype dtype;
    struct torch_storage_id id;
    return read_dtype(global, &dtype) || read_storage_type(&id, global);
}

static bool seen_before(const struct pickle_value *list,
                        const struct pickle_value **shown, int count, uint32_t i)
{
    for (int k = 0; k < count; k++)
        if (pickle_is_global(list->items[i], shown[k]->text, shown[k]->name))
            return true;
    return false;
}

/* The first of them by name; the rest, of which the same one may count twice, in number.
 */
static bool note_globals(struct tensor_file *t, const struct pickle_value *list,
                         struct err *e)
{
    enum { MOST = 12 };
    const struct pickle_value *shown[MOST];
    int count = 0;
    bool more = false;
    struct str text = {0};
    for (uint32_t i = 0; i < list->count; i++) {
        const struct pickle_value *global = list->items[i];
        if (is_harmless(global) || seen_before(list, shown, count, i))
            continue;
        more = count == MOST;
        if (more)
            break;
        shown[count++] = global;
        str_addf(&text, "%s%s.%s", count > 1 ? ", " : "", STR_SHOW(global->text),
                 STR_SHOW(global->name));
    }
    str_add(&text, more ? " and others" : "");
    if (text.failed) {
        str_free(&text);
        return err_set(e, ERR_MEMORY, "out of memory for names");
    }
    if (count && !t->unknown_globals)
        t->unknown_globals = str_take(&text);
    str_free(&text);
    return true;
}

bool torch_tensors_append(struct tensor_file *t, const struct pickle *p,
                          struct torch_storages *storages, struct err *e)
{
    struct reader r = {.t = t, .storages = storages, .capacity = t->count, .e = e};
    const struct pickle_value *dict = find_state_dict(p->root, e);
    if (!dict)
        return false;
    size_t prefix = common_prefix(dict);
    for (uint32_t i = 0; i < dict->count; i += 2) {
        if (is_tensor(dict->items[i + 1]) &&
            (!check_name(&r, dict->items[i]) ||
             !add_tensor(&r, dict->items[i]->text + prefix, dict->items[i + 1])))
            return false;
    }
    return note_globals(t, &p->globals, e);
}
