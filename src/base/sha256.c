/* sha256.c: SHA-256 by libcrypto, whose code for the CPU at hand is several times faster
 * than portable C: checkpoints are gigabytes. Leaves reading files to io. */
#include "base/sha256.h"

#include <openssl/evp.h>
#include <stdio.h>

bool sha256_begin(struct sha256 *s, struct err *e)
{
    s->context = EVP_MD_CTX_new();
    if (s->context && EVP_DigestInit_ex(s->context, EVP_sha256(), NULL))
        return true;
    sha256_free(s);
    return err_set(e, ERR_MEMORY, "sha256: out of memory");
}

bool sha256_add(struct sha256 *s, const void *bytes, size_t size, struct err *e)
{
    if (EVP_DigestUpdate(s->context, bytes, size))
        return true;
    return err_set(e, ERR_BUG, "sha256: libcrypto refused %zu bytes", size);
}

bool sha256_end(struct sha256 *s, char hex[SHA256_HEX], struct err *e)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    int ended = EVP_DigestFinal_ex(s->context, digest, &size);
    sha256_free(s);
    if (!ended || size != 32)
        return err_set(e, ERR_BUG, "sha256: libcrypto gave no digest");
    for (unsigned int i = 0; i < size; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    return true;
}

void sha256_free(struct sha256 *s)
{
    EVP_MD_CTX_free(s->context);
    s->context = NULL;
}

bool sha256_bytes(const void *bytes, size_t size, char hex[SHA256_HEX], struct err *e)
{
    struct sha256 s = {0};
    bool ok = sha256_begin(&s, e) && sha256_add(&s, bytes, size, e) &&
              sha256_end(&s, hex, e);
    sha256_free(&s);
    return ok;
}
