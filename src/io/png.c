/* png.c: the chunks of a PNG and the texts in them. Leaves pixels to png_encode.c and
 * stb_image. */
#include "io/png.h"

#include "base/utf8.h"
#include "io/file.h"
#include "io/limits.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static const uint8_t signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
enum { LARGEST_CHUNK = 0x7FFFFFFF };

bool png_is(const uint8_t *bytes, size_t size)
{
    return size >= sizeof signature && memcmp(bytes, signature, sizeof signature) == 0;
}

uint32_t png_number(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
           bytes[3];
}

static bool fail_at(const struct png_reader *r, const char *problem, struct err *e)
{
    return err_set(e, ERR_INPUT, "PNG, byte %zu: %s", r->at, problem);
}

bool png_next(struct png_reader *r, struct png_chunk *chunk, struct err *e)
{
    if (!r->started)
        r->at = sizeof signature;
    if (r->size < r->at || r->size - r->at < 12)
        return fail_at(r, "found end of file, expected a chunk: incomplete?", e);
    const uint8_t *head = r->bytes + r->at;
    uint32_t size = png_number(head);
    chunk->type = png_number(head + 4);
    if (size > LARGEST_CHUNK || size > r->size - r->at - 12)
        return fail_at(r, "found end of file, expected the rest of a chunk: incomplete?",
                       e);
    chunk->data = head + 8;
    chunk->size = size;
    if (crc32_z(0, head + 4, (size_t)size + 4) != png_number(head + 8 + size))
        return fail_at(r, "found a chunk of another CRC, expected its own: damaged?", e);
    bool is_header = chunk->type == PNG_TYPE('I', 'H', 'D', 'R');
    if (is_header == r->started || (is_header && size != 13))
        return fail_at(r, "found a wrong first chunk, expected one IHDR of 13 bytes", e);
    r->started = true;
    r->ended = chunk->type == PNG_TYPE('I', 'E', 'N', 'D');
    r->at += 12 + (size_t)size;
    return true;
}

static void put_number(char out[4], uint32_t number)
{
    for (int i = 0; i < 4; i++)
        out[i] = (char)(number >> (24 - 8 * i));
}

static void add_number(struct str *out, uint32_t number)
{
    char bytes[4];
    put_number(bytes, number);
    str_add_bytes(out, bytes, 4);
}

size_t png_begin_chunk(struct str *out, uint32_t type)
{
    size_t begin = out->size;
    add_number(out, 0);
    add_number(out, type);
    return begin;
}

void png_end_chunk(struct str *out, size_t begin)
{
    size_t size = out->size - begin - 8;
    if (out->failed || size > LARGEST_CHUNK) {
        out->failed = true;
        return;
    }
    put_number(out->bytes + begin, (uint32_t)size);
    add_number(out, (uint32_t)crc32_z(0, (uint8_t *)out->bytes + begin + 4, size + 4));
}

/* The text in Latin-1; false where it is not. */
static bool to_latin1(const char *text, struct str *out)
{
    size_t size = strlen(text);
    for (size_t at = 0; at < size;) {
        uint32_t code_point = 0;
        int length = utf8_decode(text + at, size - at, &code_point);
        if (length == 0 || code_point > 0xFF)
            return false;
        char byte = (char)code_point;
        str_add_bytes(out, &byte, 1);
        at += (size_t)length;
    }
    return true;
}

bool png_add_text(struct str *out, const struct image_text *text, struct err *e)
{
    size_t keyword_size = strlen(text->keyword);
    if (keyword_size < 1 || keyword_size > 79)
        return err_set(e, ERR_BUG, "keyword \"%s\": expected 1 to 79 characters",
                       STR_SHOW(text->keyword));
    struct str latin1 = {0};
    if (to_latin1(text->text, &latin1)) {
        size_t begin = png_begin_chunk(out, PNG_TYPE('t', 'E', 'X', 't'));
        str_add_bytes(out, text->keyword, keyword_size + 1);
        str_add_bytes(out, str_text(&latin1), latin1.size);
        png_end_chunk(out, begin);
    } else {
        size_t begin = png_begin_chunk(out, PNG_TYPE('i', 'T', 'X', 't'));
        str_add_bytes(out, text->keyword, keyword_size + 1);
        str_add_bytes(out, "\0\0\0\0",
                      4); /* not compressed, no language, no translation */
        str_add(out, text->text);
        png_end_chunk(out, begin);
    }
    out->failed = out->failed || latin1.failed;
    str_free(&latin1);
    return true;
}

/* Finds the text in a tEXt chunk, as UTF-8. */
static void read_latin1(const struct png_chunk *chunk, size_t skip, struct str *out)
{
    for (size_t i = skip; i < chunk->size; i++) {
        char bytes[4];
        int length = utf8_encode(chunk->data[i], bytes);
        str_add_bytes(out, bytes, (size_t)length);
    }
}

/* After the keyword: compression flag and method, language, translated keyword, text. */
static bool read_international(const struct png_chunk *chunk, size_t skip,
                               struct str *out, struct err *e)
{
    const uint8_t *end = chunk->data + chunk->size, *at = chunk->data + skip;
    if (end - at < 4)
        return err_set(e, ERR_INPUT,
                       "PNG: found a short iTXt chunk, expected a whole one");
    if (at[0] != 0)
        return err_set(e, ERR_INPUT,
                       "PNG: found a compressed iTXt chunk, expected plain");
    at += 2;
    for (int i = 0; i < 2; i++) {
        const uint8_t *zero = memchr(at, 0, (size_t)(end - at));
        if (!zero)
            return err_set(e, ERR_INPUT,
                           "PNG: found a short iTXt chunk, expected a whole one");
        at = zero + 1;
    }
    if (!utf8_valid((const char *)at, (size_t)(end - at), NULL) ||
        memchr(at, 0, (size_t)(end - at)))
        return err_set(e, ERR_INPUT,
                       "PNG: found an iTXt chunk that is not UTF-8, expected UTF-8");
    str_add_bytes(out, at, (size_t)(end - at));
    return true;
}

/* *found says whether the chunk is a text with that keyword. */
static bool read_text(const struct png_chunk *chunk, const char *keyword, struct str *out,
                      bool *found, struct err *e)
{
    size_t skip = strlen(keyword) + 1;
    *found = false;
    if (chunk->size < skip || memcmp(chunk->data, keyword, skip) != 0)
        return true;
    if (chunk->type == PNG_TYPE('z', 'T', 'X', 't'))
        return err_set(e, ERR_INPUT,
                       "PNG: found a compressed zTXt chunk, expected plain");
    *found = true;
    if (chunk->type == PNG_TYPE('i', 'T', 'X', 't'))
        return read_international(chunk, skip, out, e);
    *found = chunk->type == PNG_TYPE('t', 'E', 'X', 't');
    if (*found && memchr(chunk->data + skip, 0, chunk->size - skip))
        return err_set(e, ERR_INPUT, "PNG: found a NUL in a tEXt chunk, expected none");
    if (*found)
        read_latin1(chunk, skip, out);
    return true;
}

static bool find_text(struct png_reader *r, const char *keyword, struct str *out,
                      struct err *e)
{
    struct png_chunk chunk = {0};
    bool found = false;
    if (!png_is(r->bytes, r->size))
        return err_set(e, ERR_INPUT, "found no PNG signature, expected a PNG");
    while (!found && !r->ended)
        if (!png_next(r, &chunk, e) || !read_text(&chunk, keyword, out, &found, e))
            return false;
    return found ||
           err_set(e, ERR_INPUT, "found no text \"%s\", expected one", STR_SHOW(keyword));
}

char *image_read_png_text(const char *path, const char *keyword, struct err *e)
{
    char *bytes, *text = NULL;
    size_t size;
    if (!file_read_all(path, LIMIT_IMAGE_FILE, &bytes, &size, e))
        return NULL;
    struct png_reader r = {.bytes = (uint8_t *)bytes, .size = size};
    struct str out = {0};
    struct err cause = {0};
    if (!find_text(&r, keyword, &out, &cause)) {
        err_from(e, &cause, path);
    } else if (!(text = str_take(&out))) {
        err_set(e, ERR_MEMORY, "%s: out of memory for a text", STR_SHOW(path));
    }
    str_free(&out);
    free(bytes);
    return text;
}
