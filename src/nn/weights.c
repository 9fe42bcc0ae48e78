/* weights.c: the tree of tensor names of one network: loading, look-ups, and the check of
 * what a network asks for against what its file has. Leaves formats to tensor_file.h. */
#include "diffens/weights.h"

#include "base/stop.h"
#include "base/str.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A tensor that is missing, of another shape or of integers. */
struct w_finding {
    struct w_node *node;
    struct tc_shape expected;
    struct w_finding *after;
};

struct w_store {
    tc_scope *model; /* owns the tensors */
    struct weights_findings findings;
    struct w_finding *first, **last; /* in the order in which they were asked for */
    struct w_node *nodes;    /* all of them, newest first, linked by `made_before` */
    struct w_node **buckets; /* the same by the hash of parent and name; a power of two */
    size_t bucket_count, node_count;
};

/* One component of a name. Look-ups of absent names make nodes too, so that a second
 * look-up is as quick as one that succeeds, and the error can say the full name. */
struct w_node {
    struct w_store *store;
    struct w_node *parent, *made_before, *in_bucket;
    tc_tensor *tensor;
    struct tc_shape shape; /* of the tensor in the file */
    enum file_dtype dtype; /* of its elements there */
    bool packed;           /* `tensor` is in the form that a layer prefers */
    bool stored;           /* the file has a tensor here or below */
    bool used;
    bool left_out; /* with all below: weights_leave_out() */
    size_t length;
    char name[];
};

static struct w_node **bucket_of(const struct w_store *store, const struct w_node *parent,
                                 const char *name, size_t length)
{
    /* Seeded by an address: a file cannot aim at one bucket. */
    size_t hash = str_hash((uintptr_t)parent, name, length);
    return &store->buckets[hash & (store->bucket_count - 1)];
}

static void node_hang(struct w_store *store, struct w_node *node)
{
    struct w_node **bucket = bucket_of(store, node->parent, node->name, node->length);
    node->in_bucket = *bucket;
    *bucket = node;
}

/* Keeps buckets short: a file may have 200,000 names in one level. */
static bool buckets_grow(struct w_store *store)
{
    if (store->node_count < store->bucket_count)
        return true;
    size_t count = store->bucket_count ? 2 * store->bucket_count : 256;
    struct w_node **buckets = calloc(count, sizeof *buckets);
    if (!buckets)
        return false;
    free(store->buckets);
    store->buckets = buckets;
    store->bucket_count = count;
    for (struct w_node *node = store->nodes; node; node = node->made_before)
        node_hang(store, node);
    return true;
}

static struct w_node *node_new(struct w_store *store, struct w_node *parent,
                               const char *name, size_t length)
{
    struct w_node *node = calloc(1, sizeof *node + length + 1);
    if (!node || !buckets_grow(store)) {
        free(node);
        return NULL;
    }
    node->store = store;
    node->parent = parent;
    node->length = length;
    memcpy(node->name, name, length);
    node->made_before = store->nodes;
    store->nodes = node;
    store->node_count++;
    node_hang(store, node);
    return node;
}

/* The child of that name, made when it is not there; NULL when memory is out. */
static struct w_node *node_child(struct w_node *node, const char *name, size_t length)
{
    for (struct w_node *child = *bucket_of(node->store, node, name, length); child;
         child = child->in_bucket)
        if (child->parent == node && child->length == length &&
            memcmp(child->name, name, length) == 0)
            return child;
    return node_new(node->store, node, name, length);
}

static struct w_node *node_descend(struct w_node *node, const char *path)
{
    while (node && *path) {
        size_t length = strcspn(path, ".");
        node = node_child(node, path, length);
        path += length + (path[length] == '.');
    }
    return node;
}

/* Loading */

static bool dtype_from_file(enum file_dtype stored, enum tc_dtype *dtype)
{
    static const struct {
        enum file_dtype stored;
        enum tc_dtype dtype;
    } known[] = {
        {FILE_F64, TC_F64}, {FILE_F32, TC_F32}, {FILE_F16, TC_F16}, {FILE_BF16, TC_BF16},
        {FILE_I64, TC_I64}, {FILE_I32, TC_I32}, {FILE_U8, TC_U8},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (known[i].stored == stored) {
            *dtype = known[i].dtype;
            return true;
        }
    }
    return false;
}

static bool is_floating(enum file_dtype dtype)
{
    return dtype == FILE_F64 || dtype == FILE_F32 || dtype == FILE_F16 ||
           dtype == FILE_BF16;
}

/* True when the forward run over the tree `wanted` asked for the tensor of that name. */
static bool is_wanted(weights wanted, const char *name)
{
    if (!wanted.node)
        return true;
    struct w_node *node = node_descend(wanted.node, name);
    return node && node->used;
}

/* The tensors that are to be loaded. */
struct load_list {
    struct tc_source *sources;
    struct tensor_reader *readers;
    struct w_node **nodes;
    int count;
};

static bool load_list_new(struct load_list *list, size_t most, struct err *e)
{
    *list = (struct load_list){.sources = calloc(most + 1, sizeof *list->sources),
                               .readers = calloc(most + 1, sizeof *list->readers),
                               .nodes = calloc(most + 1, sizeof *list->nodes)};
    return (list->sources && list->readers && list->nodes) ||
           err_set(e, ERR_MEMORY, "no host memory for %zu tensors", most);
}

static void load_list_free(struct load_list *list)
{
    free(list->sources);
    free(list->readers);
    free(list->nodes);
}

static bool read_rows(void *reader, int64_t rows, void *bytes, struct err *e)
{
    /* Gigabytes from a slow disk take longer than a stop may. */
    return stop_check(e) && tensor_reader_next(reader, rows, bytes, e);
}

static bool load_list_add(struct load_list *list, struct w_node *root,
                          const struct tensor_file *file,
                          const struct tensor_entry *entry, const char *name,
                          enum tc_dtype dtype, struct err *e)
{
    enum tc_dtype stored;
    if (!dtype_from_file(entry->dtype, &stored))
        return true; /* no network has weights of such a type: reported as missing if
                        asked */
    struct w_node *node = node_descend(root, name);
    if (!node)
        return err_set(e, ERR_MEMORY, "no host memory for the name of a tensor");
    struct tensor_reader *reader = &list->readers[list->count];
    struct tc_source *source = &list->sources[list->count];
    *reader = (struct tensor_reader){.file = file, .entry = entry};
    *source = (struct tc_source){.stored = stored,
                                 .dtype = is_floating(entry->dtype) ? dtype : stored,
                                 .shape = {.rank = entry->rank},
                                 .read = read_rows,
                                 .user = reader};
    memcpy(source->shape.dim, entry->dim, (size_t)entry->rank * sizeof *entry->dim);
    node->dtype = entry->dtype;
    list->nodes[list->count++] = node;
    return true;
}

static bool load_list_run(struct load_list *list, tc_scope *model, struct err *e)
{
    tc_load(model, list->count, list->sources);
    for (int i = 0; i < list->count; i++) {
        list->nodes[i]->tensor = list->sources[i].tensor;
        list->nodes[i]->shape = list->sources[i].shape;
        for (struct w_node *node = list->nodes[i]; node; node = node->parent)
            node->stored = true;
    }
    return tc_check(model, e);
}

weights weights_load(tc_scope *model, const struct tensor_file *file, const char *prefix,
                     weights wanted, enum tc_dtype dtype, struct err *e)
{
    struct load_list list = {0};
    struct w_store *store = calloc(1, sizeof *store);
    struct w_node *root = store ? node_new(store, NULL, "", 0) : NULL;
    if (!root) {
        if (store)
            free(store->buckets);
        free(store);
        err_set(e, ERR_MEMORY, "no host memory for the names of the weights");
        return (weights){NULL};
    }
    store->model = model;
    store->last = &store->first;
    size_t skip = strlen(prefix);
    bool ok = load_list_new(&list, file->count, e);
    for (size_t i = 0; ok && i < file->count; i++) {
        const struct tensor_entry *entry = &file->entries[i];
        if (strncmp(entry->name, prefix, skip) == 0 &&
            is_wanted(wanted, entry->name + skip))
            ok = load_list_add(&list, root, file, entry, entry->name + skip, dtype, e);
    }
    ok = ok && load_list_run(&list, model, e);
    load_list_free(&list);
    if (ok)
        return (weights){root};
    weights_unload((weights){root});
    return (weights){NULL};
}

void weights_unload(weights root)
{
    if (!root.node)
        return;
    struct w_store *store = root.node->store;
    while (store->nodes) {
        struct w_node *node = store->nodes;
        store->nodes = node->made_before;
        free(node);
    }
    while (store->first) {
        struct w_finding *finding = store->first;
        store->first = finding->after;
        free(finding);
    }
    free(store->buckets);
    free(store);
}

/* Look-ups */

weights w_at(weights w, const char *path, ...)
{
    va_list args;
    va_start(args, path);
    struct w_node *node = w.node;
    while (node && *path) {
        size_t length = strcspn(path, ".");
        if (memcmp(path, "%d", 2) == 0) {
            char digits[16];
            int count = snprintf(digits, sizeof digits, "%d", va_arg(args, int));
            node = node_child(node, digits, (size_t)count);
        } else {
            node = node_child(node, path, length);
        }
        path += length + (path[length] == '.');
    }
    va_end(args);
    return (weights){node};
}

bool w_has(weights w)
{
    return w.node && w.node->stored;
}

static void name_write(const struct w_node *node, char *out, size_t size)
{
    if (!node->parent)
        return;
    name_write(node->parent, out, size);
    size_t used = strlen(out);
    snprintf(out + used, size - used, "%s%s", used ? "." : "", node->name);
}

const char *w_name(weights w, char *name, size_t size)
{
    name[0] = 0;
    if (w.node)
        name_write(w.node, name, size);
    return name;
}

static void shape_write(struct tc_shape shape, char *out, size_t size)
{
    size_t used = (size_t)snprintf(out, size, "[");
    for (int i = 0; i < shape.rank && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%lld", i ? "," : "",
                                 (long long)shape.dim[i]);
    if (used < size)
        snprintf(out + used, size - used, "]");
}

static bool same_shape(struct tc_shape a, struct tc_shape b)
{
    return a.rank == b.rank && memcmp(a.dim, b.dim, (size_t)a.rank * sizeof *a.dim) == 0;
}

/* "conv_in.weight: found [320,4,1,1], expected [320,4,3,3]" */
static void mismatch_write(weights w, struct tc_shape expected, char *out, size_t size)
{
    char name[256], found[96] = "nothing", wanted[96];
    shape_write(expected, wanted, sizeof wanted);
    w_name(w, name, sizeof name);
    if (w.node->tensor)
        shape_write(w.node->shape, found, sizeof found);
    if (w.node->tensor && !is_floating(w.node->dtype))
        snprintf(out, size, "%s: found %s of %s, expected %s of a floating-point type",
                 name, found, file_dtype_name(w.node->dtype), wanted);
    else
        snprintf(out, size, "%s: found %s, expected %s", name, found, wanted);
}

/* Notes what is wrong at `w` and returns a stand-in of the expected shape. */
static tc_tensor *note_finding(tc_scope *s, weights w, struct tc_shape expected)
{
    struct w_store *store = w.node->store;
    struct weights_findings *f = &store->findings;
    struct w_finding *finding = calloc(1, sizeof *finding);
    if (!finding) {
        tc_fail(s, ERR_MEMORY, "no host memory for a finding");
        return NULL;
    }
    *finding = (struct w_finding){.node = w.node, .expected = expected};
    *store->last = finding;
    store->last = &finding->after;
    int64_t before = f->missing + f->mismatched;
    if (w.node->tensor)
        f->mismatched++;
    else
        f->missing++;
    if (before < 5) {
        size_t used = strlen(f->wrong);
        char text[448];
        mismatch_write(w, expected, text, sizeof text);
        snprintf(f->wrong + used, sizeof f->wrong - used, "%s%s", used ? "; " : "", text);
    }
    return tc_zeros(s, TC_F32, expected);
}

static tc_tensor *refuse(tc_scope *s, weights w, struct tc_shape expected)
{
    char text[448];
    mismatch_write(w, expected, text, sizeof text);
    tc_fail(s, ERR_INPUT, "%s", text);
    return NULL;
}

tc_tensor *w_tensor(tc_scope *s, weights w, struct tc_shape expected)
{
    if (!tc_ok(s))
        return NULL;
    if (!w.node) {
        tc_fail(s, ERR_MEMORY, "no host memory for the name of a tensor");
        return NULL;
    }
    bool fits = w.node->tensor && same_shape(w.node->shape, expected) &&
                is_floating(w.node->dtype);
    if (tc_is_meta(s) && !w.node->used) {
        w.node->used = true;
        int64_t count = 1;
        for (int i = 0; i < expected.rank; i++)
            count *= expected.dim[i];
        w.node->store->findings.parameters += count;
        if (!fits)
            return note_finding(s, w, expected);
    }
    if (fits)
        return w.node->tensor;
    return tc_is_meta(s) ? tc_zeros(s, TC_F32, expected) : refuse(s, w, expected);
}

tc_scope *w_pack_begin(weights w)
{
    struct w_node *node = w.node;
    if (!node || !node->tensor || node->packed || tc_is_meta(node->store->model))
        return NULL;
    return node->store->model;
}

tc_tensor *w_pack_end(weights w, tc_tensor *packed)
{
    struct w_node *node = w.node;
    if (packed) {
        node->tensor = tc_replace(node->store->model, node->tensor, packed);
        node->packed = true;
    }
    return packed;
}

static bool is_left_out(const struct w_node *node)
{
    while (node && !node->left_out)
        node = node->parent;
    return node != NULL;
}

struct weights_findings weights_check(weights root)
{
    struct weights_findings findings = root.node->store->findings;
    for (struct w_node *node = root.node->store->nodes; node; node = node->made_before) {
        if (!node->tensor || node->used || is_left_out(node))
            continue;
        findings.unused++;
        w_name((weights){node}, findings.first_unused, sizeof findings.first_unused);
    }
    return findings;
}

void weights_leave_out(weights root, const char *part)
{
    struct w_node *node = node_descend(root.node, part);
    if (node)
        node->left_out = true;
}

void weights_tell_findings(weights root, void (*tell)(void *user, const char *finding),
                           void *user)
{
    for (struct w_finding *f = root.node->store->first; f; f = f->after) {
        char text[448];
        mismatch_write((weights){f->node}, f->expected, text, sizeof text);
        tell(user, text);
    }
}
