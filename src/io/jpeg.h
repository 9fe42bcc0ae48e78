/* jpeg.h: JPEG files to pixels and back, by libjpeg-turbo. Leaves files and limits to
 * image.c. */
#ifndef DIFFENS_JPEG_H
#define DIFFENS_JPEG_H

#include "base/str.h"
#include "diffens/image.h"

bool jpeg_is(const uint8_t *bytes, size_t size);

/* Width and height as it is shown, before anything is decoded. CMYK is refused. False
 * with ERR_INPUT or ERR_MEMORY, without a file name. */
bool jpeg_size(const uint8_t *bytes, size_t size, int64_t *width, int64_t *height,
               struct err *e);

/* Refuses what breaks off or is too short for that many pixels, before anything is
 * decoded. */
bool jpeg_check(const uint8_t *bytes, size_t size, int64_t width, int64_t height,
                struct err *e);

/* Decodes grey or colour to RGB, upright as its EXIF orientation says. A picture that
 * breaks off or is damaged is refused. */
bool jpeg_decode(struct image *image, const uint8_t *bytes, size_t size, struct err *e);

/* Appends a whole JPEG file, its colours at half the resolution; `quality` 1..100. */
bool jpeg_encode(struct str *out, const struct image *image, int quality, struct err *e);

#endif
