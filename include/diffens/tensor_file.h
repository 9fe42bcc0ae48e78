/* tensor_file.h: the tensors in weight files, by name, whatever the format. Knows offsets
 * and shapes, and reads bytes; knows no device. Weight files are untrusted input. */
#ifndef DIFFENS_TENSOR_FILE_H
#define DIFFENS_TENSOR_FILE_H

#include "diffens/error.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum file_dtype {
    FILE_F64,
    FILE_F32,
    FILE_F16,
    FILE_BF16,
    FILE_I64,
    FILE_I32,
    FILE_I16,
    FILE_I8,
    FILE_U8,
    FILE_BOOL,
};

#define FILE_MAX_RANK 8

struct tensor_entry {
    char *name;
    enum file_dtype dtype;
    int rank;
    int64_t dim[FILE_MAX_RANK];
    int part;                      /* index into tensor_file.parts */
    uint64_t offset;               /* of the first element, from the start of that part */
    uint64_t bytes;                /* elements times the size of one */
    bool strided;                  /* the elements lie `stride` apart, not row by row */
    int64_t stride[FILE_MAX_RANK]; /* in elements; never negative */
    int storage; /* index into tensor_file.storages, or -1: bytes without a checksum */
};

/* Bytes that several tensors may share, and their CRC-32: in PyTorch's zip archives. */
struct tensor_storage {
    uint64_t offset, bytes;
    uint32_t crc;
    atomic_bool checked; /* once for all tensors in it */
};

/* One file on disk, kept open for reading. */
struct tensor_part {
    char *path;
    int fd;
    uint64_t size;
};

/* A text that the file carries beside its tensors. */
struct tensor_text {
    char *key, *value;
};

/* Tensors of one network: one file, or the shards that an index names. Entries are sorted
 * by name. Several threads may read them at once. Start from `{0}`. */
struct tensor_file {
    struct tensor_entry *entries;
    size_t count;
    struct tensor_part *parts;
    int part_count;
    struct tensor_text *metadata; /* of all parts, by key within each */
    size_t metadata_count;
    struct tensor_storage *storages; /* of all parts */
    size_t storage_count;
    /* Of the first PyTorch file that has any: "os.system, a.b and others", escaped:
     * classes and functions that were not looked up. Else NULL. */
    char *unknown_globals;
    bool has_blanks; /* in front of the header of a safetensors file */
};

/* Opens `path`: a safetensors file, a PyTorch checkpoint (torch.save, its zip archive or
 * the stream of pickles before it), or an .index.json whose shards lie beside it; the
 * file's own beginning says which. Everything but the tensors' bytes is read and checked.
 * False with ERR_INPUT; then `t` is closed. */
bool tensor_file_open(struct tensor_file *t, const char *path, struct err *e);

/* Frees everything. Accepts a zeroed or half-built object. */
void tensor_file_close(struct tensor_file *t);

/* The entry of that name, or NULL. */
const struct tensor_entry *tensor_file_find(const struct tensor_file *t,
                                            const char *name);

/* The first metadata text under that key, or NULL. */
const char *tensor_file_metadata(const struct tensor_file *t, const char *key);

/* Reads the entry's elements (little-endian, row-major) into `out`, `entry->bytes` long;
 * `entry` may be one of the file's with another offset and shape within its bytes. */
bool tensor_file_read(const struct tensor_file *t, const struct tensor_entry *entry,
                      void *out, struct err *e);

/* Reads one entry from its beginning to its end, some rows of its first dimension at a
 * time, and checks it on the way. Start from `{file, entry}`; for one thread. */
struct tensor_reader {
    const struct tensor_file *file;
    const struct tensor_entry *entry;
    int64_t row;  /* the next one */
    uint32_t crc; /* of what came before it */
};

/* The next `rows` rows; an entry without dimensions is one row. */
bool tensor_reader_next(struct tensor_reader *r, int64_t rows, void *out, struct err *e);

size_t file_dtype_size(enum file_dtype dtype);
const char *file_dtype_name(enum file_dtype dtype); /* as safetensors spells it: "F32" */

#endif
