/* tensor_file_parts.h: what the readers of weight formats share with tensor_file.c.
 * Leaves what users of weights see to tensor_file.h. */
#ifndef DIFFENS_TENSOR_FILE_PARTS_H
#define DIFFENS_TENSOR_FILE_PARTS_H

#include "diffens/tensor_file.h"

/* Opens `path` for reading as a new part of `t`, which owns it from then on. */
struct tensor_part *tensor_file_add_part(struct tensor_file *t, const char *path,
                                         struct err *e);

/* Appends the tensors of one file, of whatever format, as a new part; leaves `entries`
 * unsorted. */
bool tensor_file_append(struct tensor_file *t, const char *path, struct err *e);

/* Appends the shards that an .index.json names, and checks that each tensor is in the
 * shard that the index says. Sorts the entries. */
/* "x.index.json", and with a variant "x.index.fp16.json". */
bool tensor_index_is(const char *path);

bool tensor_index_append(struct tensor_file *t, const char *path, struct err *e);

/* Takes `entry` over, its name included, on success and failure alike. */
bool tensor_file_add_entry(struct tensor_file *t, struct tensor_entry entry,
                           size_t *capacity, struct err *e);

/* Copies both texts. */
bool tensor_file_add_metadata(struct tensor_file *t, const char *key, const char *value,
                              struct err *e);

/* Sorts the entries by name; a name twice is refused. */
bool tensor_file_sort(struct tensor_file *t, struct err *e);

/* Elements times the size of one. False on overflow. */
bool tensor_entry_size(const struct tensor_entry *entry, uint64_t *bytes);

/* False for a name that safetensors does not have or that the program cannot use. */
bool file_dtype_parse(const char *name, enum file_dtype *dtype);

/* "BOOL, U8, ...": for messages. */
#define FILE_DTYPES_SUPPORTED "F64, F32, F16, BF16, I64, I32, I16, I8, U8, BOOL"

#endif
