/* png.h: the parts of PNG (W3C "Portable Network Graphics", third edition) that we do
 * ourselves: chunks, texts, encoding. Leaves decoding of pixels to stb.h. */
#ifndef DIFFENS_PNG_H
#define DIFFENS_PNG_H

#include "base/str.h"
#include "diffens/image.h"

/* Four letters as one number: PNG_TYPE('I', 'H', 'D', 'R'). */
#define PNG_TYPE(a, b, c, d)                                                             \
    ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))

struct png_chunk {
    uint32_t type;
    const uint8_t *data;
    size_t size;
};

struct png_reader {
    const uint8_t *bytes;
    size_t size, at;
    bool started, ended;
};

bool png_is(const uint8_t *bytes, size_t size);

/* The next chunk, its CRC checked; IHDR comes first. After IEND, `ended` is set and the
 * caller asks no more. False with ERR_INPUT, without a file name. */
bool png_next(struct png_reader *r, struct png_chunk *chunk, struct err *e);

/* Refuses what breaks off or has other data than its header says, without keeping pixels.
 * Sides that were looked at. */
bool png_check(const uint8_t *bytes, size_t size, struct err *e);

uint32_t png_number(const uint8_t *bytes); /* 4 bytes, big-endian */

/* Appends a whole PNG file of the image. */
bool png_encode(struct str *out, const struct image *image,
                const struct image_text *texts, int text_count, struct err *e);

/* Appends a tEXt chunk, or iTXt where the text is not Latin-1. */
bool png_add_text(struct str *out, const struct image_text *text, struct err *e);

/* Begins a chunk; returns where, for png_end_chunk(), which fills in size and CRC. */
size_t png_begin_chunk(struct str *out, uint32_t type);
void png_end_chunk(struct str *out, size_t begin);

#endif
