/* image.h: 8-bit RGB pictures, and the image tensor on disk. Knows no tensors, no device.
 */
#ifndef DIFFENS_IMAGE_H
#define DIFFENS_IMAGE_H

#include "diffens/error.h"

#include <stddef.h>
#include <stdint.h>

/* rgb: [height,width,3], owned by the image. Start from `{0}`. */
struct image {
    int width, height;
    uint8_t *rgb;
};

/* A black picture. False with ERR_MEMORY. */
bool image_new(struct image *image, int width, int height, struct err *e);

/* Frees the pixels. Accepts a zeroed image. */
void image_free(struct image *image);

/* Reads a PNG or JPEG. Grey, palette and 16-bit are converted; an alpha channel is
 * composited on white, and *had_alpha (may be NULL) says so. CMYK and other formats are
 * refused by name; limits: LIMIT_IMAGE_FILE, _SIDE, _PIXELS. */
bool image_read(struct image *image, const char *path, bool *had_alpha, struct err *e);

/* What image_read() refuses for its format, its size or because it breaks off is refused,
 * a PNG also for its data; says the size of others. Keeps no pixels. */
bool image_measure(const char *path, int64_t *width, int64_t *height, struct err *e);

/* A text that a PNG carries in a tEXt chunk (iTXt where it is not Latin-1). */
struct image_text {
    const char *keyword; /* 1..79 Latin-1 characters */
    const char *text;    /* UTF-8 */
};

/* Publishes a PNG under `path`: complete, or not at all. ERR_OUTPUT, ERR_MEMORY. */
bool image_write_png(const struct image *image, const char *path,
                     const struct image_text *texts, int text_count, struct err *e);

/* The text that a PNG carries under a keyword, as UTF-8; the caller frees it. NULL with
 * ERR_INPUT where the file is no PNG or has no such text. */
char *image_read_png_text(const char *path, const char *keyword, struct err *e);

/* The image tensor: an .npy file of shape [N,M,H,W,3], uint8, readable by numpy.load with
 * mmap_mode="r". Cells are read and written one at a time, so host memory does not grow
 * with N. */
struct image_tensor {
    char *path;
    int fd;
    uint64_t data; /* offset of the first cell */
    int64_t cases, models, height, width;
};

/* Creates the file at its full size, zero-filled, replacing one that exists. The space is
 * claimed where the file system can, so that it does not run out half way. */
bool image_tensor_create(struct image_tensor *t, const char *path, int64_t cases,
                         int64_t models, int64_t height, int64_t width, struct err *e);

/* Opens an existing one for reading; refuses other shapes, types and orders by name. */
bool image_tensor_open(struct image_tensor *t, const char *path, struct err *e);

/* The same for writing to its cells as well. */
bool image_tensor_reopen(struct image_tensor *t, const char *path, struct err *e);

bool image_tensor_write(struct image_tensor *t, int64_t index_case, int64_t index_model,
                        const struct image *image, struct err *e);
/* `image` is freed and made anew. */
bool image_tensor_read(const struct image_tensor *t, int64_t index_case,
                       int64_t index_model, struct image *image, struct err *e);

/* Flushes to disk (when it was created) and closes. Accepts a zeroed object. */
bool image_tensor_close(struct image_tensor *t, struct err *e);

#endif
