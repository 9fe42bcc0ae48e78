/* html.c: escapes text, encodes bytes. Leaves pages to report.c. */
#include "run/html.h"

#include "base/utf8.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>

static void add_code_point(struct str *out, uint32_t c, const char *bytes, int length)
{
    bool controls = (c < 0x20 && c != '\n' && c != '\t') || (c >= 0x7F && c < 0xA0);
    bool turns = (c >= 0x202A && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069);
    if (c == '&' || c == '<' || c == '>' || c == '"' || c == '\'')
        str_addf(out, "&#%u;", c);
    else if (controls || turns)
        str_add(out, "\xEF\xBF\xBD");
    else
        str_add_bytes(out, bytes, (size_t)length);
}

void html_add_text(struct str *out, const char *text)
{
    for (size_t at = 0, size = strlen(text); at < size;) {
        uint32_t code_point = 0;
        int length = utf8_decode(text + at, size - at, &code_point);
        if (length == 0)
            str_add(out, "\xEF\xBF\xBD");
        else
            add_code_point(out, code_point, text + at, length);
        at += length ? (size_t)length : 1;
    }
}

void html_add_url(struct str *out, const char *path)
{
    for (const unsigned char *c = (const unsigned char *)path; *c; c++) {
        if (*c < 0x80 && (isalnum(*c) || strchr("/._-~", *c)))
            str_add_bytes(out, c, 1);
        else
            str_addf(out, "%%%02X", *c);
    }
}

void html_add_base64(struct str *out, const void *bytes, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                 "0123456789+/";
    const uint8_t *b = bytes;
    char piece[4 * 256];
    size_t used = 0;
    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        uint32_t word = (uint32_t)b[i] << 16;
        word |= left > 1 ? (uint32_t)b[i + 1] << 8 : 0;
        word |= left > 2 ? b[i + 2] : 0;
        piece[used++] = digits[word >> 18];
        piece[used++] = digits[word >> 12 & 63];
        piece[used++] = left > 1 ? digits[word >> 6 & 63] : '=';
        piece[used++] = left > 2 ? digits[word & 63] : '=';
        if (used == sizeof piece) {
            str_add_bytes(out, piece, used);
            used = 0;
        }
    }
    str_add_bytes(out, piece, used);
}
