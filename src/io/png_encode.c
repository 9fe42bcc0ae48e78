/* png_encode.c: a picture as the bytes of a PNG file, in memory. Leaves publishing to
 * image.c. */
#include "io/png.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { CHANNELS = 3, FILTERS = 5 };

/* zlib's 6 takes more than twice the time for files that are a fiftieth smaller. */
#define COMPRESSION 4

static int paeth(int left, int above, int corner)
{
    int estimate = left + above - corner;
    int to_left = abs(estimate - left), to_above = abs(estimate - above),
        to_corner = abs(estimate - corner);
    if (to_left <= to_above && to_left <= to_corner)
        return left;
    return to_above <= to_corner ? above : corner;
}

/* One row under one filter, its number in front. `above` is a row of zeros at the top. */
static void filter_row(int filter, const uint8_t *row, const uint8_t *above,
                       size_t stride, uint8_t *out)
{
    *out++ = (uint8_t)filter;
    for (size_t i = 0; i < stride; i++) {
        int left = i >= CHANNELS ? row[i - CHANNELS] : 0;
        int corner = i >= CHANNELS ? above[i - CHANNELS] : 0;
        int predicted[FILTERS] = {0, left, above[i], (left + above[i]) / 2,
                                  filter == 4 ? paeth(left, above[i], corner) : 0};
        out[i] = (uint8_t)(row[i] - predicted[filter]);
    }
}

/* The standard's heuristic: the smallest sum of absolute differences. */
static uint64_t row_cost(const uint8_t *filtered, size_t stride)
{
    uint64_t cost = 0;
    for (size_t i = 1; i <= stride; i++)
        cost += (uint64_t)abs((int8_t)filtered[i]);
    return cost;
}

static bool deflate_into(z_stream *z, const uint8_t *bytes, size_t size, int flush,
                         struct str *out)
{
    uint8_t block[16384];
    z->next_in = (uint8_t *)bytes;
    z->avail_in = (uInt)size;
    int status;
    do {
        z->next_out = block;
        z->avail_out = sizeof block;
        status = deflate(z, flush);
        str_add_bytes(out, block, sizeof block - z->avail_out);
    } while (status == Z_OK && z->avail_out == 0);
    return status == (flush == Z_FINISH ? Z_STREAM_END : Z_OK) || status == Z_BUF_ERROR;
}

/* `filtered` holds two rows: the best so far and the one that is tried. */
static bool add_rows(z_stream *z, const struct image *image, uint8_t *filtered,
                     const uint8_t *zeros, struct str *out)
{
    size_t stride = (size_t)image->width * CHANNELS;
    bool ok = true;
    for (int y = 0; ok && y < image->height; y++) {
        const uint8_t *row = image->rgb + (size_t)y * stride;
        const uint8_t *above = y > 0 ? row - stride : zeros;
        uint8_t *best = filtered, *tried = filtered + stride + 1;
        uint64_t best_cost = UINT64_MAX;
        for (int filter = 0; filter < FILTERS; filter++) {
            filter_row(filter, row, above, stride, tried);
            uint64_t cost = row_cost(tried, stride);
            if (cost < best_cost) {
                uint8_t *spare = best;
                best = tried;
                tried = spare;
                best_cost = cost;
            }
        }
        bool last = y + 1 == image->height;
        ok = deflate_into(z, best, stride + 1, last ? Z_FINISH : Z_NO_FLUSH, out);
    }
    return ok;
}

static bool add_pixels(struct str *out, const struct image *image, struct err *e)
{
    size_t stride = (size_t)image->width * CHANNELS;
    z_stream z = {0};
    uint8_t *rows = calloc(3, stride + 1);
    bool ok = rows && deflateInit(&z, COMPRESSION) == Z_OK;
    if (ok) {
        size_t begin = png_begin_chunk(out, PNG_TYPE('I', 'D', 'A', 'T'));
        ok = add_rows(&z, image, rows + stride + 1, rows, out);
        png_end_chunk(out, begin);
        deflateEnd(&z);
    }
    free(rows);
    return ok || err_set(e, ERR_MEMORY, "out of memory for a PNG of %d x %d",
                         image->width, image->height);
}

static void add_header(struct str *out, const struct image *image)
{
    uint32_t width = (uint32_t)image->width, height = (uint32_t)image->height;
    const uint8_t header[13] = {
        (uint8_t)(width >> 24),
        (uint8_t)(width >> 16),
        (uint8_t)(width >> 8),
        (uint8_t)width,
        (uint8_t)(height >> 24),
        (uint8_t)(height >> 16),
        (uint8_t)(height >> 8),
        (uint8_t)height,
        8, /* bits a channel */
        2,
        /* colour, no palette, no alpha */ 0,
        0,
        0,
    };
    size_t begin = png_begin_chunk(out, PNG_TYPE('I', 'H', 'D', 'R'));
    str_add_bytes(out, header, sizeof header);
    png_end_chunk(out, begin);
}

bool png_encode(struct str *out, const struct image *image,
                const struct image_text *texts, int text_count, struct err *e)
{
    if (image->width < 1 || image->height < 1)
        return err_set(e, ERR_BUG, "a picture of %d x %d", image->width, image->height);
    str_add_bytes(out, "\x89PNG\r\n\x1A\n", 8);
    add_header(out, image);
    for (int i = 0; i < text_count; i++)
        if (!png_add_text(out, &texts[i], e))
            return false;
    if (!add_pixels(out, image, e))
        return false;
    png_end_chunk(out, png_begin_chunk(out, PNG_TYPE('I', 'E', 'N', 'D')));
    return !out->failed || err_set(e, ERR_MEMORY, "out of memory for a PNG of %d x %d",
                                   image->width, image->height);
}
