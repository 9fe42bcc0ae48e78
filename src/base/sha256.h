/* sha256.h: SHA-256 (FIPS 180-4) of bytes as they come. Leaves reading files to io. */
#ifndef DIFFENS_SHA256_H
#define DIFFENS_SHA256_H

#include <stddef.h>
#include <stdint.h>

#define SHA256_HEX 65 /* 64 digits and a NUL */

/* A digest in progress: holds no memory, may be dropped at any time. */
struct sha256 {
    uint64_t state[16]; /* libcrypto's SHA256_CTX */
};

void sha256_begin(struct sha256 *s);
void sha256_add(struct sha256 *s, const void *bytes, size_t size);

/* Writes the digest in lower-case hexadecimal digits. */
void sha256_end(struct sha256 *s, char hex[SHA256_HEX]);

/* All of it at once. */
void sha256_bytes(const void *bytes, size_t size, char hex[SHA256_HEX]);

#endif
