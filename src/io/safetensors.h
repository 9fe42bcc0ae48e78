/* safetensors.h: the safetensors format, read and written
 * (github.com/huggingface/safetensors, "Format"). Leaves finding tensors by name and
 * reading their bytes to tensor_file.h. */
#ifndef DIFFENS_SAFETENSORS_H
#define DIFFENS_SAFETENSORS_H

#include "diffens/tensor_file.h"

/* Appends the tensors of one file to `t`, as a new part; leaves `entries` unsorted. On
 * failure what was appended is freed by tensor_file_close(). */
bool safetensors_append(struct tensor_file *t, const char *path, struct err *e);

/* One tensor to write: little-endian, row-major bytes in `data`. */
struct safetensors_tensor {
    const char *name;
    enum file_dtype dtype;
    int rank;
    int64_t dim[FILE_MAX_RANK];
    const void *data;
};

struct safetensors_text {
    const char *key, *value; /* UTF-8 */
};

/* Publishes a file with these tensors, in this order, and these texts as its metadata:
 * complete, or not at all. False with ERR_OUTPUT, ERR_MEMORY; ERR_BUG for a name twice or
 * a shape that overflows. */
bool safetensors_write(const char *path, const struct safetensors_tensor *tensors,
                       size_t count, const struct safetensors_text *metadata,
                       size_t metadata_count, struct err *e);

#endif
