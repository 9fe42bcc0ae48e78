/* sha256.h: SHA-256 (FIPS 180-4) of bytes as they come. Leaves reading files to io. */
#ifndef DIFFENS_SHA256_H
#define DIFFENS_SHA256_H

#include "diffens/error.h"

#include <stddef.h>

#define SHA256_HEX 65 /* 64 digits and a NUL */

struct sha256 {
    void *context;
};

/* Begins a digest. False with ERR_MEMORY. */
bool sha256_begin(struct sha256 *s, struct err *e);
bool sha256_add(struct sha256 *s, const void *bytes, size_t size, struct err *e);

/* Writes the digest in lower-case hexadecimal digits. */
bool sha256_end(struct sha256 *s, char hex[SHA256_HEX], struct err *e);

/* Accepts a zeroed or ended object. */
void sha256_free(struct sha256 *s);

/* All of it at once. */
bool sha256_bytes(const void *bytes, size_t size, char hex[SHA256_HEX], struct err *e);

#endif
