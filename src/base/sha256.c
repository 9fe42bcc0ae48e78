/* sha256.c: SHA-256 by libcrypto, whose code for the CPU at hand is several times faster
 * than portable C: checkpoints are gigabytes. Leaves reading files to io. */

/* Not EVP, which OpenSSL 3 prefers: it allocates, and crashes where that fails while it
 * sets itself up (seen with 3.0.19). */
#define OPENSSL_SUPPRESS_DEPRECATED

#include "base/sha256.h"

#include <openssl/sha.h>
#include <stdio.h>

_Static_assert(sizeof(SHA256_CTX) <= sizeof((struct sha256){0}.state),
               "struct sha256 holds a SHA256_CTX");

static SHA256_CTX *context(struct sha256 *s)
{
    return (SHA256_CTX *)(void *)s->state;
}

void sha256_begin(struct sha256 *s)
{
    SHA256_Init(context(s));
}

void sha256_add(struct sha256 *s, const void *bytes, size_t size)
{
    SHA256_Update(context(s), bytes, size);
}

void sha256_end(struct sha256 *s, char hex[SHA256_HEX])
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256_Final(digest, context(s));
    for (int i = 0; i < SHA256_DIGEST_LENGTH; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

void sha256_bytes(const void *bytes, size_t size, char hex[SHA256_HEX])
{
    struct sha256 s;
    sha256_begin(&s);
    sha256_add(&s, bytes, size);
    sha256_end(&s, hex);
}
