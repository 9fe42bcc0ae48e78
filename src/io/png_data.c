/* png_data.c: unpacks the pixels of a PNG and forgets them at once, so that what breaks
 * off or is no picture is found in little memory. Leaves their colours to stb_image. */
#include "io/png.h"

#include <inttypes.h>
#include <string.h>
#include <zlib.h>

#define IHDR PNG_TYPE('I', 'H', 'D', 'R')
#define PLTE PNG_TYPE('P', 'L', 'T', 'E')
#define IDAT PNG_TYPE('I', 'D', 'A', 'T')
#define IEND PNG_TYPE('I', 'E', 'N', 'D')

enum { PASSES = 7, FILTERS = 5, PALETTE = 3 };

/* Where Adam7's passes begin, and how far apart their pixels are. */
static const struct {
    uint32_t x, y, across, down;
} adam7[PASSES] = {{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4},
                   {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}};

struct unpacking {
    z_stream stream;
    uint32_t width, height, bits; /* of a pixel */
    int pass, passes;
    uint64_t rows, rows_left; /* of the picture; of this pass */
    uint64_t row, left;       /* bytes of a row behind its filter; of this one */
    bool has_palette, needs_palette, whole;
};

static bool fail(const char *found, const char *expected, struct err *e)
{
    return err_set(e, ERR_INPUT, "PNG: found %s, expected %s", found, expected);
}

/* Bits of a pixel; 0 for what PNG does not have. */
static uint32_t bits_of(int depth, int colours)
{
    static const int channels[] = {1, 0, 3, 1, 2, 0, 4};
    bool is_power = depth == 1 || depth == 2 || depth == 4 || depth == 8 || depth == 16;
    bool small = colours == 0 || colours == PALETTE;
    if (!is_power || colours > 6 || (depth < 8 && !small) ||
        (depth == 16 && colours == PALETTE))
        return 0;
    return (uint32_t)(depth * channels[colours]);
}

static uint64_t steps(uint32_t side, uint32_t first, uint32_t apart)
{
    return side > first ? (side - first + apart - 1) / apart : 0;
}

/* The next pass that has pixels; `whole` when there is none. */
static void next_pass(struct unpacking *u)
{
    for (u->rows_left = 0; u->rows_left == 0 && u->pass < u->passes; u->pass++) {
        uint64_t across = u->width;
        u->rows_left = u->height;
        if (u->passes > 1) {
            across = steps(u->width, adam7[u->pass].x, adam7[u->pass].across);
            u->rows_left = steps(u->height, adam7[u->pass].y, adam7[u->pass].down);
        }
        u->row = (across * u->bits + 7) / 8;
        if (across == 0)
            u->rows_left = 0;
    }
    u->whole = u->rows_left == 0;
}

static bool begin(struct unpacking *u, const uint8_t *header, struct err *e)
{
    u->width = png_number(header);
    u->height = png_number(header + 4);
    u->bits = bits_of(header[8], header[9]);
    u->needs_palette = header[9] == PALETTE;
    u->passes = header[12] ? PASSES : 1;
    if (u->bits == 0)
        return err_set(
            e, ERR_INPUT,
            "PNG: found depth %d of colour type %d, expected a pair that PNG has",
            header[8], header[9]);
    if (header[10] != 0 || header[11] != 0 || header[12] > 1)
        return fail("another compression, filter or interlacing", "PNG's own", e);
    next_pass(u);
    return true;
}

/* Passes over unpacked bytes, from row to row. */
static bool take(struct unpacking *u, const uint8_t *bytes, size_t size, struct err *e)
{
    while (size > 0 && !u->whole) {
        if (u->left == 0 && *bytes >= FILTERS)
            return err_set(e, ERR_INPUT,
                           "PNG: row %" PRIu64 ": found filter %d, expected "
                           "0..%d",
                           u->rows, *bytes, FILTERS - 1);
        uint64_t part = u->left == 0 ? 1 : u->left < size ? u->left : size;
        u->left = u->left == 0 ? u->row : u->left - part;
        bytes += part;
        size -= (size_t)part;
        if (u->left > 0)
            continue;
        u->rows++;
        if (--u->rows_left == 0)
            next_pass(u);
    }
    return size == 0 || fail("more data than its rows", "as much", e);
}

static bool unpack(struct unpacking *u, const struct png_chunk *chunk, struct err *e)
{
    uint8_t block[1 << 14];
    u->stream.next_in = (uint8_t *)chunk->data;
    u->stream.avail_in = (uInt)chunk->size;
    int status = Z_OK;
    while (status == Z_OK && (u->stream.avail_in > 0 || u->stream.avail_out == 0)) {
        u->stream.next_out = block;
        u->stream.avail_out = sizeof block;
        status = inflate(&u->stream, Z_NO_FLUSH);
        if (!take(u, block, sizeof block - u->stream.avail_out, e))
            return false;
    }
    if (status == Z_MEM_ERROR)
        return err_set(e, ERR_MEMORY, "out of memory for a PNG");
    return u->whole || status == Z_OK || status == Z_BUF_ERROR ||
           status == Z_STREAM_END || fail("damaged data", "a zlib stream", e);
}

static bool look_at(struct unpacking *u, const struct png_chunk *chunk, struct err *e)
{
    bool is_optional = chunk->type >> 24 & 0x20;
    if (chunk->type == IHDR)
        return begin(u, chunk->data, e);
    u->has_palette = u->has_palette || chunk->type == PLTE;
    if (chunk->type == IDAT)
        return u->needs_palette && !u->has_palette
                   ? fail("no palette in front of the data", "one", e)
                   : unpack(u, chunk, e);
    if (chunk->type == IEND && !u->whole)
        return err_set(e, ERR_INPUT,
                       "PNG: found data of %" PRIu64 " rows, expected all of %" PRIu32
                       " x %" PRIu32 " pixels: damaged?",
                       u->rows, u->width, u->height);
    return is_optional || chunk->type == PLTE || chunk->type == IEND ||
           fail("a chunk that pixels depend on and that is not known",
                "those of PNG's first edition", e);
}

bool png_check(const uint8_t *bytes, size_t size, struct err *e)
{
    struct png_reader r = {.bytes = bytes, .size = size};
    struct png_chunk chunk = {0};
    struct unpacking u = {0};
    bool ok = inflateInit(&u.stream) == Z_OK ||
              err_set(e, ERR_MEMORY, "out of memory for a PNG");
    if (!ok)
        return false;
    while (ok && !r.ended)
        ok = png_next(&r, &chunk, e) && look_at(&u, &chunk, e);
    inflateEnd(&u.stream);
    return ok;
}
