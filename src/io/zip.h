/* zip.h: the directory of a zip archive whose entries are stored, not compressed, as
 * PyTorch writes them (PKWARE's APPNOTE.TXT, 4.3; ZIP64 included). Leaves the meaning of
 * the entries to torch_zip.c. */
#ifndef DIFFENS_ZIP_H
#define DIFFENS_ZIP_H

#include "diffens/tensor_file.h"

struct zip_entry {
    char *name;      /* without NULs */
    uint64_t offset; /* of its first byte, from the start of the file */
    uint64_t size;
    uint32_t crc; /* of its bytes; not checked yet */
};

/* Start from `{0}`. */
struct zip {
    struct zip_entry *entries; /* in the order of the directory */
    size_t count;
};

/* Reads the directory of an open file and checks it, each entry's own header included.
 * False with ERR_INPUT or ERR_MEMORY, without a file name; zip_free() frees what is
 * there. */
bool zip_read(struct zip *z, const struct tensor_part *part, struct err *e);

/* Accepts a zeroed or half-built object. */
void zip_free(struct zip *z);

#endif
