/* utf8.h: code points out of bytes and back (RFC 3629: no surrogates, no overlong forms,
 * nothing above U+10FFFF). Leaves normalisation and character classes to the tokenizer.
 */
#ifndef DIFFENS_UTF8_H
#define DIFFENS_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Decodes the code point at `bytes`. Returns the bytes it takes, 1 to 4, or 0 where
 * `size` is 0 or the bytes are not UTF-8. */
int utf8_decode(const char *bytes, size_t size, uint32_t *code_point);

/* Encodes a code point, which must not be a surrogate or above U+10FFFF. Returns the
 * bytes written, 1 to 4; no NUL is added. */
int utf8_encode(uint32_t code_point, char out[4]);

/* True when all of it is UTF-8; else *bad (may be NULL) is the offset of the first byte
 * that is not. */
bool utf8_valid(const char *bytes, size_t size, size_t *bad);

#endif
