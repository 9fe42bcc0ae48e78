/* fuzz_image.c: PNG and JPEG files. A PNG is read as it is and once more with its
 * checksums made right, so that what lies behind them is tried. */
#include "fuzz.h"

#include "diffens/image.h"
#include "io/crc32.h"
#include "io/png.h"

static void read_file(const uint8_t *data, size_t size)
{
    struct image image = {0};
    struct err e = {0};
    bool alpha;
    const char *path = fuzz_file(data, size);
    bool ok = image_read(&image, path, &alpha, &e);
    fuzz_outcome(ok, &e);
    image_free(&image);
    e = (struct err){0};
    char *text = image_read_png_text(path, "diffens", &e);
    fuzz_outcome(text != NULL, &e);
    free(text);
}

static void make_sums_right(uint8_t *png, size_t size)
{
    for (size_t at = 8; size - at >= 12;) {
        uint32_t length = png_number(png + at);
        if (length > size - at - 12)
            return;
        uint32_t crc = crc32_add(0, png + at + 4, 4 + (size_t)length);
        for (int i = 0; i < 4; i++)
            png[at + 8 + length + (size_t)i] = (uint8_t)(crc >> (24 - 8 * i));
        at += 12 + (size_t)length;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_file(data, size);
    if (!png_is(data, size))
        return 0;
    uint8_t *copy = fuzz_memory(size);
    memcpy(copy, data, size);
    /* small sides, so that the time goes into decoding */
    for (size_t i = 16; i < 24 && i < size; i++)
        copy[i] &= i % 4 == 3 ? 0xff : i % 4 == 2 ? 1 : 0;
    make_sums_right(copy, size);
    read_file(copy, size);
    free(copy);
    return 0;
}
