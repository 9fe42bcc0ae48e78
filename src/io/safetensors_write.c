/* safetensors_write.c: publishes a safetensors file. Leaves reading to safetensors.c. */
#include "io/safetensors.h"

#include "base/checked.h"
#include "base/str.h"
#include "io/json_write.h"
#include "io/limits.h"
#include "io/publish.h"
#include "io/tensor_file_parts.h"

#include <stdlib.h>
#include <string.h>

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The reader refuses a name twice: such a file must not come to be. */
static bool check_names(const struct safetensors_tensor *tensors, size_t count,
                        struct err *e)
{
    const char **names = malloc((count + 1) * sizeof *names);
    if (!names)
        return err_set(e, ERR_MEMORY, "out of memory for %zu tensor names", count);
    for (size_t i = 0; i < count; i++)
        names[i] = tensors[i].name;
    qsort(names, count, sizeof *names, compare_names);
    bool ok = true;
    for (size_t i = 1; ok && i < count; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            ok = err_set(e, ERR_BUG, "tensor \"%s\": given twice", STR_SHOW(names[i]));
    free(names);
    return ok;
}

static bool tensor_bytes(const struct safetensors_tensor *tensor, uint64_t *bytes,
                         struct err *e)
{
    struct tensor_entry entry = {.dtype = tensor->dtype, .rank = tensor->rank};
    bool ok = tensor->rank >= 0 && tensor->rank <= FILE_MAX_RANK;
    for (int i = 0; ok && i < tensor->rank; i++) {
        entry.dim[i] = tensor->dim[i];
        ok = tensor->dim[i] >= 0;
    }
    return (ok && tensor_entry_size(&entry, bytes)) ||
           err_set(e, ERR_BUG, "tensor \"%s\": shape out of range",
                   STR_SHOW(tensor->name));
}

static bool add_tensor(struct json_writer *w, const struct safetensors_tensor *tensor,
                       uint64_t *offset, struct err *e)
{
    uint64_t bytes, end;
    if (!tensor_bytes(tensor, &bytes, e))
        return false;
    if (!checked_add_u64(*offset, bytes, &end))
        return err_set(e, ERR_BUG, "tensor \"%s\": offset overflows",
                       STR_SHOW(tensor->name));
    json_write_key(w, tensor->name);
    json_write_open_object(w);
    json_member_text(w, "dtype", file_dtype_name(tensor->dtype));
    json_write_key(w, "shape");
    json_write_open_array(w);
    for (int i = 0; i < tensor->rank; i++)
        json_write_int(w, tensor->dim[i]);
    json_write_close(w);
    json_write_key(w, "data_offsets");
    json_write_open_array(w);
    json_write_uint(w, *offset);
    json_write_uint(w, end);
    json_write_close(w);
    json_write_close(w);
    *offset = end;
    return true;
}

static bool make_header(struct str *header, const struct safetensors_tensor *tensors,
                        size_t count, const struct safetensors_text *metadata,
                        size_t metadata_count, struct err *e)
{
    struct json_writer w = {.out = header};
    uint64_t offset = 0;
    json_write_open_object(&w);
    if (metadata_count > 0) {
        json_write_key(&w, "__metadata__");
        json_write_open_object(&w);
        for (size_t i = 0; i < metadata_count; i++) {
            json_member_text(&w, metadata[i].key, metadata[i].value);
        }
        json_write_close(&w);
    }
    for (size_t i = 0; i < count; i++)
        if (!add_tensor(&w, &tensors[i], &offset, e))
            return false;
    json_write_close(&w);
    /* The data begins at a multiple of 8, as other writers of the format have it. */
    while (!header->failed && header->size % 8 != 0)
        str_add(header, " ");
    if (header->failed)
        return err_set(e, ERR_MEMORY, "out of memory for a safetensors header");
    return header->size <= limit_table[LIMIT_SAFETENSORS_HEADER].initial ||
           err_set(e, ERR_BUG, "header: %zu bytes are over the limit", header->size);
}

bool safetensors_write(const char *path, const struct safetensors_tensor *tensors,
                       size_t count, const struct safetensors_text *metadata,
                       size_t metadata_count, struct err *e)
{
    struct str header = {0};
    struct publish p = {0};
    bool ok = check_names(tensors, count, e) &&
              make_header(&header, tensors, count, metadata, metadata_count, e);
    if (!ok) {
        err_in_file(e, path);
        goto done;
    }
    unsigned char length[8];
    for (int i = 0; i < 8; i++)
        length[i] = (unsigned char)((uint64_t)header.size >> (8 * i));
    ok = publish_begin(&p, path, e) && publish_write(&p, length, 8, e) &&
         publish_write(&p, header.bytes, header.size, e);
    for (size_t i = 0; ok && i < count; i++) {
        uint64_t bytes;
        ok = tensor_bytes(&tensors[i], &bytes, e) &&
             publish_write(&p, tensors[i].data, (size_t)bytes, e);
    }
    ok = ok && publish_commit(&p, e);
done:
    publish_abandon(&p);
    str_free(&header);
    return ok;
}
