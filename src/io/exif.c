/* exif.c: walks the segments of a JPEG file to its EXIF data, and there to the one tag
 * that changes what the picture shows. */
#include "io/exif.h"

#include <stdbool.h>
#include <string.h>

enum { MARKER_APP1 = 0xE1, MARKER_SCAN = 0xDA };
enum { TAG_ORIENTATION = 274, TYPE_SHORT = 3, ENTRY_SIZE = 12 };

/* EXIF data are a TIFF file, in either byte order. */
struct tiff {
    const uint8_t *bytes;
    size_t size;
    bool little;
};

/* A number of 2 or 4 bytes; 0 where the data end before. */
static uint32_t number_at(const struct tiff *t, size_t at, size_t size)
{
    uint32_t number = 0;
    if (at > t->size || t->size - at < size)
        return 0;
    for (size_t i = 0; i < size; i++)
        number = number << 8 | t->bytes[at + (t->little ? size - 1 - i : i)];
    return number;
}

static int orientation_in(const struct tiff *t)
{
    size_t folder = number_at(t, 4, 4);
    uint32_t count = number_at(t, folder, 2);
    for (uint32_t i = 0; i < count; i++) {
        size_t entry = folder + 2 + (size_t)i * ENTRY_SIZE;
        if (number_at(t, entry, 2) != TAG_ORIENTATION)
            continue;
        uint32_t value = number_at(t, entry + 8, 2);
        bool valid = number_at(t, entry + 2, 2) == TYPE_SHORT && value >= 1 && value <= 8;
        return valid ? (int)value : 1;
    }
    return 1;
}

static int orientation_of_segment(const uint8_t *bytes, size_t size)
{
    if (size < 14 || memcmp(bytes, "Exif\0\0", 6) != 0)
        return 1;
    struct tiff t = {.bytes = bytes + 6, .size = size - 6};
    t.little = memcmp(t.bytes, "II*\0", 4) == 0;
    return t.little || memcmp(t.bytes, "MM\0*", 4) == 0 ? orientation_in(&t) : 1;
}

int exif_orientation(const uint8_t *bytes, size_t size)
{
    for (size_t at = 2; at + 4 <= size && bytes[at] == 0xFF;) {
        size_t length = (size_t)bytes[at + 2] << 8 | bytes[at + 3];
        if (bytes[at + 1] == MARKER_SCAN || length < 2 || length > size - at - 2)
            return 1;
        int found = bytes[at + 1] == MARKER_APP1
                        ? orientation_of_segment(bytes + at + 4, length - 2)
                        : 1;
        if (found != 1)
            return found;
        at += 2 + length;
    }
    return 1;
}
