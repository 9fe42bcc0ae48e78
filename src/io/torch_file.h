/* torch_file.h: what torch.save() writes: a pickle of tensors beside the bytes of their
 * storages, in a zip archive or, before PyTorch 1.6, in one stream (PyTorch:
 * torch/serialization.py). Leaves pickles to pickle.h and reading bytes to tensor_file.h.
 */
#ifndef DIFFENS_TORCH_FILE_H
#define DIFFENS_TORCH_FILE_H

#include "diffens/tensor_file.h"
#include "io/pickle.h"

/* Append the tensors of one file to `t`, as a new part; leave `entries` unsorted. On
 * failure what was appended is freed by tensor_file_close(). */
bool torch_zip_append(struct tensor_file *t, const char *path, struct err *e);
bool torch_legacy_append(struct tensor_file *t, const char *path, struct err *e);

/* Where the bytes of one storage lie in the file. */
struct torch_storage {
    const char *key;
    uint64_t offset, bytes;
    int number; /* in tensor_file.storages, or -1 where the format has no checksums */
    int dtype;  /* enum file_dtype of the tensors in it; -1 until there is one */
};

/* Sorted by key. */
struct torch_storages {
    struct torch_storage *list;
    size_t count;
};

void torch_storages_sort(struct torch_storages *s);

/* What a persistent id says about a storage: ("storage", type, key, location, elements)
 */
struct torch_storage_id {
    const char *key;
    uint64_t elements;
    bool untyped; /* the elements are bytes of any type */
    enum file_dtype dtype;
};

/* `where` stands in messages. */
bool torch_storage_id_read(struct torch_storage_id *id, const struct pickle_value *value,
                           const char *where, struct err *e);

/* Finds the state dict in the root of a pickle, alone or beside other things, and appends
 * its tensors, as views of these storages, to the last part of `t`; notes the globals
 * that it does not know. */
bool torch_tensors_append(struct tensor_file *t, const struct pickle *p,
                          struct torch_storages *storages, struct err *e);

#endif
