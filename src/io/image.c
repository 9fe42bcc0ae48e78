/* image.c: 8-bit RGB pictures from PNG and JPEG files. Leaves encoding to png_encode.c
 * and the image tensor to npy.c. */
#include "diffens/image.h"

#include "base/str.h"
#include "io/file.h"
#include "io/jpeg.h"
#include "io/limits.h"
#include "io/png.h"
#include "io/publish.h"
#include "io/stb.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

bool image_new(struct image *image, int width, int height, struct err *e)
{
    *image = (struct image){0};
    if (width < 1 || height < 1)
        return err_set(e, ERR_BUG, "a picture of %d x %d", width, height);
    image->rgb = calloc((size_t)width * (size_t)height, 3);
    if (!image->rgb)
        return err_set(e, ERR_MEMORY, "out of memory for a picture of %d x %d", width,
                       height);
    image->width = width;
    image->height = height;
    return true;
}

void image_free(struct image *image)
{
    free(image->rgb);
    *image = (struct image){0};
}

static bool png_size(const uint8_t *bytes, size_t size, int64_t *width, int64_t *height,
                     struct err *e)
{
    struct png_reader r = {.bytes = bytes, .size = size};
    struct png_chunk chunk = {0};
    if (!png_next(&r, &chunk, e))
        return false;
    *width = png_number(chunk.data);
    *height = png_number(chunk.data + 4);
    return true;
}

static const char *format_name(const uint8_t *bytes, size_t size)
{
    static const struct {
        size_t at;
        const char *magic, *name;
    } formats[] = {
        {0, "GIF8", "a GIF"},
        {8, "WEBP", "a WebP"},
        {4, "ftypavif", "an AVIF"},
        {4, "ftyp", "a HEIC or video"},
        {0, "BM", "a BMP"},
        {0, "II*", "a TIFF"},
        {0, "MM", "a TIFF"},
        {0, "8BPS", "a PSD"},
        {0, "%PDF", "a PDF"},
        {0, "<svg", "an SVG"},
        {0, "<?xml", "an XML or SVG"},
        {0, "<", "a web page"},
        {0, "version https://git-lfs", "a Git LFS pointer"},
        {0, "P6", "a PPM"},
        {4, "jP  ", "a JPEG 2000"},
        {4, "JXL ", "a JPEG XL"},
    };
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        size_t length = strlen(formats[i].magic);
        if (size >= formats[i].at + length &&
            memcmp(bytes + formats[i].at, formats[i].magic, length) == 0)
            return formats[i].name;
    }
    return size == 0 ? "an empty file" : "a file of unknown format";
}

static bool check_size(int64_t width, int64_t height, struct err *e)
{
    int64_t side = (int64_t)limit_of(LIMIT_IMAGE_SIDE);
    int64_t pixels = (int64_t)limit_of(LIMIT_IMAGE_PIXELS);
    bool sides = width >= 1 && height >= 1 && width <= side && height <= side;
    if (sides && width * height <= pixels)
        return true;
    err_set(e, ERR_INPUT,
            "size: found %" PRId64 " x %" PRId64 ", expected sides of 1..%" PRId64
            " and at most %" PRId64 " pixels",
            width, height, side, pixels);
    return width >= 1 && height >= 1 &&
           limit_hint(sides ? LIMIT_IMAGE_PIXELS : LIMIT_IMAGE_SIDE, e);
}

static uint8_t on_white(int value, int alpha)
{
    return (uint8_t)((value * alpha + 255 * (255 - alpha) + 127) / 255);
}

/* Grey, grey with alpha, or RGBA to RGB. */
static void to_rgb(const struct stb_result *from, struct image *image)
{
    int n = from->channels;
    size_t pixels = (size_t)from->width * (size_t)from->height;
    for (size_t i = 0; i < pixels; i++) {
        const uint8_t *pixel = from->pixels + i * (size_t)n;
        int alpha = n == 2 ? pixel[1] : n == 4 ? pixel[3] : 255;
        for (int c = 0; c < 3; c++)
            image->rgb[3 * i + (size_t)c] = on_white(pixel[n < 3 ? 0 : c], alpha);
    }
}

static bool decode_png(struct image *image, const uint8_t *bytes, size_t size,
                       int64_t width, int64_t height, bool *had_alpha, struct err *e)
{
    /* Twice what 16-bit RGBA rows need, because stb_image doubles its buffers. */
    size_t most = 2 * ((size_t)height * ((size_t)width + 1) * 8);
    most = (most > 2 * size ? most : 2 * size) + (1u << 20);
    struct stb_result r = stb_decode(bytes, size, most);
    if (!r.pixels && r.out_of_memory)
        return err_set(e, ERR_MEMORY, "out of memory for a picture of %lld x %lld",
                       (long long)width, (long long)height);
    if (!r.pixels)
        return err_set(e, ERR_INPUT, "found a damaged picture (%s), expected a whole PNG",
                       STR_SHOW(r.reason));
    bool ok = image_new(image, r.width, r.height, e);
    if (ok)
        to_rgb(&r, image);
    if (had_alpha)
        *had_alpha = r.channels == 2 || r.channels == 4;
    free(r.pixels);
    return ok;
}

static bool measure(const uint8_t *bytes, size_t size, int64_t *width, int64_t *height,
                    struct err *e)
{
    if (png_is(bytes, size))
        return png_size(bytes, size, width, height, e) &&
               check_size(*width, *height, e) && png_check(bytes, size, e);
    return jpeg_size(bytes, size, width, height, e) && check_size(*width, *height, e) &&
           jpeg_check(bytes, size, *width, *height, e);
}

/* Refuses by its first bytes what need not be in memory for that. */
static bool check_head(const char *path, struct err *e)
{
    enum { SIDES = 16, HEAD = 24 }; /* of a PNG, whose first chunk has its sides */
    uint8_t head[HEAD] = {0};
    uint64_t size;
    int fd = file_open(path, &size, e);
    if (fd < 0)
        return false;
    bool too_large = size > limit_of(LIMIT_IMAGE_FILE); /* file_read_all() says so */
    size_t take = size < HEAD ? (size_t)size : HEAD;
    bool ok = file_read_at(fd, head, take, 0, path, e);
    file_close(fd);
    if (too_large)
        return ok;
    struct err cause = {0};
    if (ok && !png_is(head, take) && !jpeg_is(head, take))
        err_set(&cause, ERR_INPUT, "found %s, expected PNG or JPEG",
                format_name(head, take));
    else if (ok && png_is(head, take) && take == HEAD)
        check_size(png_number(head + SIDES), png_number(head + SIDES + 4), &cause);
    return ok && (cause.code == ERR_OK || err_from(e, &cause, path));
}

/* Without an image: measures only. */
static bool read_picture(const char *path, struct image *image, int64_t *width,
                         int64_t *height, bool *had_alpha, struct err *e)
{
    char *text;
    size_t size;
    struct err cause = {0};
    if (!check_head(path, e) || !file_read_all(path, LIMIT_IMAGE_FILE, &text, &size, e))
        return false;
    const uint8_t *bytes = (const uint8_t *)text;
    bool ok = measure(bytes, size, width, height, &cause);
    if (ok && image)
        ok = png_is(bytes, size)
                 ? decode_png(image, bytes, size, *width, *height, had_alpha, &cause)
                 : jpeg_decode(image, bytes, size, &cause);
    free(text);
    if (ok)
        return true;
    return err_from(e, &cause, path);
}

bool image_measure(const char *path, int64_t *width, int64_t *height, struct err *e)
{
    *width = *height = 0;
    return read_picture(path, NULL, width, height, NULL, e);
}

bool image_read(struct image *image, const char *path, bool *had_alpha, struct err *e)
{
    int64_t width = 0, height = 0;
    *image = (struct image){0};
    if (had_alpha)
        *had_alpha = false;
    return read_picture(path, image, &width, &height, had_alpha, e);
}

bool image_write_png(const struct image *image, const char *path,
                     const struct image_text *texts, int text_count, struct err *e)
{
    struct str png = {0};
    struct err cause = {0};
    bool ok = png_encode(&png, image, texts, text_count, &cause);
    if (ok) {
        ok = publish_bytes(path, png.bytes, png.size, e);
    } else {
        err_from(e, &cause, path);
    }
    str_free(&png);
    return ok;
}
