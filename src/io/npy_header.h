/* npy_header.h: what an .npy file says of its array (numpy.lib.format). Leaves what the
 * program wants of it to npy.c. */
#ifndef DIFFENS_NPY_HEADER_H
#define DIFFENS_NPY_HEADER_H

#include "base/str.h"
#include "diffens/error.h"

#include <stdint.h>

#define NPY_RANK 5            /* dimensions that are kept */
#define NPY_LARGEST_HEAD 4096 /* bytes before the data that are read */

struct npy_header {
    char descr[64]; /* the type: "|u1" is uint8 */
    bool fortran;
    int rank; /* at most 32; `dim` holds the first NPY_RANK */
    int64_t dim[NPY_RANK];
    uint64_t data; /* offset of the first element */
};

/* Reads the first `size` bytes of a file, at most NPY_LARGEST_HEAD. Versions 1.0 and 2.0.
 * False with ERR_INPUT, without a file name. */
bool npy_header_parse(struct npy_header *h, const unsigned char *bytes, size_t size,
                      struct err *e);

/* Appends the header, version 1.0, of a C-ordered uint8 array: a multiple of 64 bytes. */
void npy_header_make(struct str *out, const int64_t dim[NPY_RANK]);

#endif
