/* jpeg.c: JPEG files to pixels and back, by libjpeg-turbo: the stb_image of Debian 12
 * (2.27) writes out of bounds on hostile Huffman tables (nothings/stb issues 1289, 1291).
 * Leaves files and limits to image.c. */
#include "io/jpeg.h"

#include "io/exif.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <turbojpeg.h>

enum { MARKER_END = 0xD9 };

bool jpeg_is(const uint8_t *bytes, size_t size)
{
    return size >= 3 && memcmp(bytes, "\xFF\xD8\xFF", 3) == 0;
}

static bool fail(tjhandle handle, struct err *e)
{
    if (!handle || errno == ENOMEM)
        return err_set(e, ERR_MEMORY, "out of memory for a JPEG");
    return err_set(e, ERR_INPUT, "found a damaged picture (%s), expected a whole JPEG",
                   STR_SHOW(tjGetErrorStr2(handle)));
}

bool jpeg_size(const uint8_t *bytes, size_t size, int64_t *width, int64_t *height,
               struct err *e)
{
    int wide = 0, high = 0, sampling, colours = 0;
    errno = 0;
    tjhandle handle = tjInitDecompress();
    bool ok = handle && tjDecompressHeader3(handle, bytes, size, &wide, &high, &sampling,
                                            &colours) == 0;
    if (!ok || wide == 0 || high == 0)
        ok = fail(handle, e);
    else if (colours == TJCS_CMYK || colours == TJCS_YCCK)
        ok = err_set(e, ERR_INPUT, "found CMYK, expected grey or RGB colours");
    if (handle)
        tjDestroy(handle);
    bool lying = exif_orientation(bytes, size) >= 5;
    *width = lying ? high : wide;
    *height = lying ? wide : high;
    return ok;
}

/* Walks over segments and scans. *arithmetic says of what code the scans are. */
static bool has_end(const uint8_t *bytes, size_t size, bool *arithmetic)
{
    *arithmetic = false;
    for (size_t at = 2; at + 1 < size;) {
        uint8_t marker = bytes[at] == 0xFF ? bytes[at + 1] : 0;
        if (marker == MARKER_END)
            return true;
        if (marker == 0 || marker == 0xFF || (marker >= 0xD0 && marker <= 0xD8)) {
            const uint8_t *next = memchr(bytes + at + 1, 0xFF, size - at - 1);
            at = next ? (size_t)(next - bytes) : size;
            continue;
        }
        if (size - at < 4)
            return false;
        if (marker > 0xC8 && marker < 0xD0 && marker != 0xCC)
            *arithmetic = true;
        at += 2 + ((size_t)bytes[at + 2] << 8 | bytes[at + 3]);
    }
    return false;
}

bool jpeg_check(const uint8_t *bytes, size_t size, int64_t width, int64_t height,
                struct err *e)
{
    bool arithmetic;
    /* Huffman codes take a bit for each block of 8 x 8 at least. */
    int64_t least = ((width + 7) / 8) * ((height + 7) / 8) / 8;
    if (!has_end(bytes, size, &arithmetic))
        return err_set(e, ERR_INPUT,
                       "JPEG: found no marker of its end, expected one: incomplete?");
    return arithmetic || (int64_t)size >= least ||
           err_set(e, ERR_INPUT,
                   "JPEG: found %zu bytes, expected at least %" PRId64 " for %" PRId64
                   " x %" PRId64 " pixels",
                   size, least, width, height);
}

/* Shows upright what lies as EXIF's orientation says. Takes the pixels of `image` over.
 */
static bool turn(struct image *image, int orientation, struct err *e)
{
    struct image lying = *image;
    bool swapped = orientation >= 5;
    bool ok = image_new(image, swapped ? lying.height : lying.width,
                        swapped ? lying.width : lying.height, e);
    bool from_right =
        orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
    bool from_below =
        orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    for (int y = 0; ok && y < image->height; y++) {
        for (int x = 0; x < image->width; x++) {
            int column = swapped ? y : x, row = swapped ? x : y;
            if (from_right)
                column = lying.width - 1 - column;
            if (from_below)
                row = lying.height - 1 - row;
            memcpy(image->rgb + ((size_t)y * (size_t)image->width + (size_t)x) * 3,
                   lying.rgb + ((size_t)row * (size_t)lying.width + (size_t)column) * 3,
                   3);
        }
    }
    image_free(&lying);
    return ok;
}

bool jpeg_decode(struct image *image, const uint8_t *bytes, size_t size, struct err *e)
{
    int64_t width, height;
    int orientation = exif_orientation(bytes, size);
    if (!jpeg_size(bytes, size, &width, &height, e))
        return false;
    if (orientation >= 5) { /* as the file has it */
        int64_t side = width;
        width = height;
        height = side;
    }
    if (!image_new(image, (int)width, (int)height, e))
        return false;
    errno = 0;
    tjhandle handle = tjInitDecompress();
    /* Warnings too make it return -1: data that break off or do not fit together. */
    bool ok = (handle &&
               tjDecompress2(handle, bytes, size, image->rgb, (int)width, 0, (int)height,
                             TJPF_RGB, TJFLAG_ACCURATEDCT | TJFLAG_LIMITSCANS) == 0) ||
              fail(handle, e);
    if (handle)
        tjDestroy(handle);
    if (!ok)
        image_free(image);
    return ok && (orientation == 1 || turn(image, orientation, e));
}

bool jpeg_encode(struct str *out, const struct image *image, int quality, struct err *e)
{
    unsigned char *bytes = NULL;
    unsigned long size = 0;
    tjhandle handle = tjInitCompress();
    bool ok = handle &&
              tjCompress2(handle, image->rgb, image->width, 0, image->height, TJPF_RGB,
                          &bytes, &size, TJSAMP_420, quality, TJFLAG_ACCURATEDCT) == 0;
    if (ok)
        str_add_bytes(out, bytes, size);
    tjFree(bytes);
    if (handle)
        tjDestroy(handle);
    return (ok && !out->failed) || err_set(e, ERR_MEMORY, "out of memory for a JPEG");
}
