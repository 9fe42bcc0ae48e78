/* safetensors.c: reads the header of a safetensors file. Leaves bytes and names to
 * tensor_file.c, writing to safetensors_write.c. */
#include "io/safetensors.h"

#include "base/str.h"
#include "io/file.h"
#include "io/json_scan.h"
#include "io/limits.h"
#include "io/tensor_file_parts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What one pass over the header fills. `begin` of an entry is kept in `offset` until the
 * start of the data is added. */
struct reader {
    struct tensor_file *t;
    struct json_scan scan;
    int part;
    size_t first;    /* entries of earlier parts */
    size_t capacity; /* of t->entries */
    struct err *e;
};

static bool fail_tensor(struct reader *r, const char *name, const char *problem)
{
    return err_set(r->e, ERR_INPUT, "tensor \"%s\": %s", STR_SHOW(name), problem);
}

static bool next(struct reader *r, struct json_token *token)
{
    return json_scan_next(&r->scan, token, r->e) || err_in_file(r->e, "header");
}

static bool expect(struct reader *r, enum json_token_kind kind, const char *where,
                   struct json_token *token)
{
    if (!next(r, token))
        return false;
    if (token->kind == kind)
        return true;
    return err_set(r->e, ERR_INPUT, "%s: found %s, expected %s", where,
                   json_token_name(token->kind), json_token_name(kind));
}

/* An array of at most `most` non-negative integers; *count says how many. */
static bool read_integers(struct reader *r, const char *name, const char *field,
                          uint64_t *out, int most, int *count)
{
    struct json_token token;
    char where[96], found[40];
    snprintf(where, sizeof where, "tensor \"%s\": %s", STR_SHOW(name), field);
    if (!expect(r, JSON_TOKEN_OPEN_ARRAY, where, &token))
        return false;
    for (*count = 0;; (*count)++) {
        if (!next(r, &token))
            return false;
        if (token.kind == JSON_TOKEN_CLOSE_ARRAY)
            return true;
        if (*count == most)
            return err_set(r->e, ERR_INPUT,
                           "%s: found more than %d numbers, expected at most that", where,
                           most);
        uint64_t number = 0;
        bool whole = token.kind == JSON_TOKEN_NUMBER && token.size <= 20;
        for (size_t i = 0; whole && i < token.size; i++) {
            int digit = token.text[i] - '0';
            whole = digit >= 0 && digit <= 9 &&
                    !__builtin_mul_overflow(number, 10u, &number) &&
                    !__builtin_add_overflow(number, (uint64_t)digit, &number);
        }
        if (!whole || number > INT64_MAX) {
            if (token.kind == JSON_TOKEN_NUMBER)
                str_escape(found, sizeof found, token.text, token.size);
            else
                snprintf(found, sizeof found, "%s", json_token_name(token.kind));
            return err_set(r->e, ERR_INPUT,
                           "%s[%d]: found %s, expected an integer 0..2^63-1", where,
                           *count, found);
        }
        out[*count] = number;
    }
}

static bool read_dtype(struct reader *r, struct tensor_entry *entry)
{
    struct json_token token;
    char where[96];
    snprintf(where, sizeof where, "tensor \"%s\": dtype", STR_SHOW(entry->name));
    if (!expect(r, JSON_TOKEN_STRING, where, &token))
        return false;
    return file_dtype_parse(token.text, &entry->dtype) ||
           err_set(r->e, ERR_INPUT, "%s: found \"%s\", expected one of %s", where,
                   STR_SHOW(token.text), FILE_DTYPES_SUPPORTED);
}

static bool read_shape(struct reader *r, struct tensor_entry *entry)
{
    uint64_t dim[FILE_MAX_RANK];
    if (!read_integers(r, entry->name, "shape", dim, FILE_MAX_RANK, &entry->rank))
        return false;
    for (int i = 0; i < entry->rank; i++)
        entry->dim[i] = (int64_t)dim[i];
    return true;
}

static bool read_offsets(struct reader *r, struct tensor_entry *entry)
{
    uint64_t offsets[2];
    int count;
    if (!read_integers(r, entry->name, "data_offsets", offsets, 2, &count))
        return false;
    if (count != 2)
        return fail_tensor(r, entry->name,
                           "data_offsets: found fewer than 2 numbers, "
                           "expected 2");
    if (offsets[0] > offsets[1])
        return fail_tensor(
            r, entry->name,
            "data_offsets: found the end before the begin, expected it behind");
    entry->offset = offsets[0];
    entry->bytes = offsets[1] - offsets[0];
    return true;
}

static bool check_entry(struct reader *r, const struct tensor_entry *entry)
{
    uint64_t bytes;
    if (!tensor_entry_size(entry, &bytes))
        return fail_tensor(r, entry->name,
                           "shape: found a size that overflows 64 bits, expected less");
    if (bytes == entry->bytes)
        return true;
    return err_set(r->e, ERR_INPUT,
                   "tensor \"%s\": data_offsets: found %" PRIu64
                   " bytes, expected %" PRIu64 " from shape and dtype",
                   STR_SHOW(entry->name), entry->bytes, bytes);
}

/* The three fields of a tensor, each once, in any order. */
static bool read_fields(struct reader *r, struct tensor_entry *entry)
{
    static const char *const fields[] = {"dtype", "shape", "data_offsets"};
    bool (*const readers[])(struct reader *, struct tensor_entry *) = {
        read_dtype, read_shape, read_offsets};
    bool seen[3] = {false};
    struct json_token token;
    char problem[256];
    char where[96];
    snprintf(where, sizeof where, "tensor \"%s\"", STR_SHOW(entry->name));
    if (!expect(r, JSON_TOKEN_OPEN_OBJECT, where, &token))
        return false;
    while (next(r, &token) && token.kind == JSON_TOKEN_KEY) {
        int field = 0;
        while (field < 3 && strcmp(token.text, fields[field]) != 0)
            field++;
        if (field == 3 || seen[field]) {
            snprintf(problem, sizeof problem, "found the field \"%s\"%s",
                     STR_SHOW(token.text),
                     field == 3 ? ", expected dtype, shape and "
                                  "data_offsets only"
                                : " twice, expected it once");
            return fail_tensor(r, entry->name, problem);
        }
        seen[field] = true;
        if (!readers[field](r, entry))
            return false;
    }
    if (r->e->code != ERR_OK)
        return false;
    for (int i = 0; i < 3; i++) {
        if (!seen[i]) {
            snprintf(problem, sizeof problem, "found no field \"%s\", expected one",
                     fields[i]);
            return fail_tensor(r, entry->name, problem);
        }
    }
    return check_entry(r, entry);
}

static bool read_tensor(struct reader *r, const struct json_token *key)
{
    if (key->size > limit_of(LIMIT_TENSOR_NAME)) {
        err_set(r->e, ERR_INPUT,
                "tensor \"%s\": found a name of %zu bytes, expected at most %" PRIu64,
                STR_SHOW(key->text), key->size, limit_of(LIMIT_TENSOR_NAME));
        return limit_hint(LIMIT_TENSOR_NAME, r->e);
    }
    struct tensor_entry entry = {
        .name = str_dup(key->text), .part = r->part, .storage = -1};
    if (!entry.name)
        return err_set(r->e, ERR_MEMORY, "out of memory for tensor names");
    if (!read_fields(r, &entry)) {
        free(entry.name);
        return false;
    }
    return tensor_file_add_entry(r->t, entry, &r->capacity, r->e);
}

static int compare_texts(const void *a, const void *b)
{
    const struct tensor_text *left = a, *right = b;
    return strcmp(left->key, right->key);
}

static bool read_metadata(struct reader *r)
{
    struct json_token token;
    char key[96], where[128];
    size_t first = r->t->metadata_count;
    if (!expect(r, JSON_TOKEN_OPEN_OBJECT, "__metadata__", &token))
        return false;
    while (next(r, &token) && token.kind == JSON_TOKEN_KEY) {
        const char *name = token.text;
        if (r->t->metadata_count - first == limit_of(LIMIT_TENSOR_TEXTS)) {
            err_set(r->e, ERR_INPUT,
                    "__metadata__: found more than %" PRIu64
                    " texts, expected at most that",
                    limit_of(LIMIT_TENSOR_TEXTS));
            return limit_hint(LIMIT_TENSOR_TEXTS, r->e);
        }
        snprintf(where, sizeof where, "__metadata__: \"%s\"",
                 str_show(key, sizeof key, name));
        if (!expect(r, JSON_TOKEN_STRING, where, &token) ||
            !tensor_file_add_metadata(r->t, name, token.text, r->e))
            return false;
    }
    if (r->e->code != ERR_OK)
        return false;
    size_t count = r->t->metadata_count - first;
    if (count == 0)
        return true;
    struct tensor_text *texts = r->t->metadata + first;
    qsort(texts, count, sizeof *texts, compare_texts);
    for (size_t i = 1; i < count; i++)
        if (strcmp(texts[i - 1].key, texts[i].key) == 0)
            return err_set(r->e, ERR_INPUT,
                           "__metadata__: \"%s\": found twice, expected once",
                           STR_SHOW(texts[i].key));
    return true;
}

static bool read_header(struct reader *r)
{
    struct json_token token;
    bool had_metadata = false;
    if (!expect(r, JSON_TOKEN_OPEN_OBJECT, "header", &token))
        return false;
    while (next(r, &token) && token.kind == JSON_TOKEN_KEY) {
        bool metadata = strcmp(token.text, "__metadata__") == 0;
        if (metadata && had_metadata)
            return err_set(r->e, ERR_INPUT, "__metadata__: found twice, expected once");
        had_metadata = had_metadata || metadata;
        if (!(metadata ? read_metadata(r) : read_tensor(r, &token)))
            return false;
    }
    return r->e->code == ERR_OK && next(r, &token);
}

static int compare_offsets(const void *a, const void *b)
{
    const struct tensor_entry *const *left = a, *const *right = b;
    if ((*left)->offset != (*right)->offset)
        return (*left)->offset < (*right)->offset ? -1 : 1;
    if ((*left)->bytes != (*right)->bytes)
        return (*left)->bytes < (*right)->bytes ? -1 : 1;
    return 0;
}

/* Each tensor must begin where the one before it ends: `sorted` is in that order. */
static bool check_contiguous(struct tensor_entry *const *sorted, size_t count,
                             uint64_t available, struct err *e)
{
    uint64_t end = 0;
    for (size_t i = 0; i < count; i++) {
        const struct tensor_entry *entry = sorted[i];
        if (entry->offset != end)
            return err_set(e, ERR_INPUT,
                           "tensor \"%s\": data_offsets: found begin %" PRIu64
                           ", expected %" PRIu64 ", where %s%s%s ends (%s)",
                           STR_SHOW(entry->name), entry->offset, end,
                           i ? "tensor \"" : "",
                           i ? STR_SHOW(sorted[i - 1]->name) : "the header",
                           i ? "\"" : "", entry->offset < end ? "overlap" : "hole");
        end = entry->offset + entry->bytes;
    }
    if (end > available)
        return err_set(e, ERR_INPUT,
                       "data: found %" PRIu64 " bytes, expected %" PRIu64
                       ": the file is %" PRIu64 " bytes short: incomplete download?",
                       available, end, end - available);
    if (end < available)
        return err_set(e, ERR_INPUT,
                       "data: found %" PRIu64 " bytes, expected %" PRIu64 ": %" PRIu64
                       " bytes follow the last tensor",
                       available, end, available - end);
    return true;
}

static bool check_layout(struct reader *r, uint64_t available)
{
    size_t count = r->t->count - r->first;
    struct tensor_entry **sorted = malloc((count + 1) * sizeof(struct tensor_entry *));
    if (!sorted)
        return err_set(r->e, ERR_MEMORY, "out of memory for %zu tensors", count);
    for (size_t i = 0; i < count; i++)
        sorted[i] = &r->t->entries[r->first + i];
    qsort(sorted, count, sizeof *sorted, compare_offsets);
    bool ok = check_contiguous(sorted, count, available, r->e);
    free(sorted);
    return ok;
}

static bool fail_length(const struct tensor_part *part, uint64_t size, struct err *e,
                        const char *expected)
{
    return err_set(e, ERR_INPUT, "%s: header length: found %" PRIu64 ", expected %s",
                   STR_SHOW(part->path), size, expected);
}

static bool read_length(const struct tensor_part *part, uint64_t *size, struct err *e)
{
    unsigned char bytes[8];
    char expected[80];
    if (part->size < 8)
        return err_set(e, ERR_INPUT,
                       "%s: found %" PRIu64
                       " bytes, expected the 8-byte header length of "
                       "a safetensors file",
                       STR_SHOW(part->path), part->size);
    if (!file_read_at(part->fd, bytes, 8, 0, part->path, e))
        return false;
    *size = 0;
    for (int i = 7; i >= 0; i--)
        *size = *size << 8 | bytes[i];
    snprintf(expected, sizeof expected, "at most %" PRIu64 ", the rest of the file",
             part->size - 8);
    if (*size > part->size - 8)
        return fail_length(part, *size, e, expected);
    uint64_t most = limit_of(LIMIT_SAFETENSORS_HEADER);
    snprintf(expected, sizeof expected, "at most %" PRIu64, most);
    if (*size > most) {
        fail_length(part, *size, e, expected);
        return limit_hint(LIMIT_SAFETENSORS_HEADER, e);
    }
    return *size >= 2 || fail_length(part, *size, e, "at least 2");
}

/* The header's bytes, with a NUL behind them; the caller frees them. */
static char *read_bytes(const struct tensor_part *part, size_t *size, struct err *e)
{
    uint64_t length = 0;
    if (!read_length(part, &length, e))
        return NULL;
    *size = (size_t)length;
    char *bytes = malloc(*size + 1);
    if (!bytes) {
        err_set(e, ERR_MEMORY, "%s: out of memory for a header of %zu bytes",
                STR_SHOW(part->path), *size);
        return NULL;
    }
    bytes[*size] = 0;
    if (file_read_at(part->fd, bytes, *size, 8, part->path, e))
        return bytes;
    free(bytes);
    return NULL;
}

bool safetensors_append(struct tensor_file *t, const char *path, struct err *e)
{
    const struct tensor_part *part = tensor_file_add_part(t, path, e);
    size_t size = 0;
    char *header = part ? read_bytes(part, &size, e) : NULL;
    if (!header)
        return false;
    struct err cause = {0};
    struct reader r = {.t = t,
                       .part = t->part_count - 1,
                       .first = t->count,
                       .capacity = t->count,
                       .e = &cause};
    t->has_blanks = t->has_blanks || header[0] != '{';
    json_scan_begin(&r.scan, header, size);
    uint64_t data = 8 + (uint64_t)size;
    bool ok = read_header(&r) && check_layout(&r, part->size - data);
    free(header);
    for (size_t i = r.first; ok && i < t->count; i++)
        t->entries[i].offset += data;
    if (ok)
        return true;
    return err_from(e, &cause, path);
}
