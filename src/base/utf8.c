/* utf8.c: code points out of bytes and back. Leaves character classes to the tokenizer.
 */
#include "base/utf8.h"

static bool continues(unsigned char byte)
{
    return (byte & 0xC0) == 0x80;
}

int utf8_decode(const char *bytes, size_t size, uint32_t *code_point)
{
    const unsigned char *b = (const unsigned char *)bytes;
    if (size == 0)
        return 0;
    if (b[0] < 0x80) {
        *code_point = b[0];
        return 1;
    }
    int length = b[0] >= 0xF0 ? 4 : b[0] >= 0xE0 ? 3 : 2;
    if (b[0] < 0xC2 || b[0] > 0xF4 || size < (size_t)length)
        return 0;
    uint32_t value = b[0] & (0x7Fu >> length);
    for (int i = 1; i < length; i++) {
        if (!continues(b[i]))
            return 0;
        value = value << 6 | (b[i] & 0x3F);
    }
    if (length == 3 && (value < 0x800 || (value >= 0xD800 && value <= 0xDFFF)))
        return 0;
    if (length == 4 && (value < 0x10000 || value > 0x10FFFF))
        return 0;
    *code_point = value;
    return length;
}

int utf8_encode(uint32_t code_point, char out[4])
{
    if (code_point < 0x80) {
        out[0] = (char)code_point;
        return 1;
    }
    int length = code_point < 0x800 ? 2 : code_point < 0x10000 ? 3 : 4;
    for (int i = length - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (code_point & 0x3F));
        code_point >>= 6;
    }
    static const unsigned char lead[5] = {0, 0, 0xC0, 0xE0, 0xF0};
    out[0] = (char)(lead[length] | code_point);
    return length;
}

bool utf8_valid(const char *bytes, size_t size, size_t *bad)
{
    for (size_t at = 0; at < size;) {
        uint32_t code_point;
        int length = utf8_decode(bytes + at, size - at, &code_point);
        if (length == 0) {
            if (bad)
                *bad = at;
            return false;
        }
        at += (size_t)length;
    }
    return true;
}
