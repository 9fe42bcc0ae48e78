/* report_picture.c: pictures as part of a page. Leaves where they stand to report_case.c.
 */
#include "run/report_internal.h"

#include "io/file.h"
#include "io/jpeg.h"
#include "io/limits.h"
#include "run/html.h"

#include <stdlib.h>

#define AS_IT_IS (48 << 10) /* bytes of a PNG file that goes into the page unchanged */
#define QUALITY 90

/* The mean of `factor` x `factor` pixels for each. */
static bool shrink(struct image *out, const struct image *in, int factor, struct err *e)
{
    int area = factor * factor;
    if (!image_new(out, in->width / factor, in->height / factor, e))
        return false;
    for (int y = 0; y < out->height; y++) {
        for (int x = 0; x < out->width; x++) {
            for (int c = 0; c < 3; c++) {
                int sum = area / 2;
                for (int i = 0; i < area; i++) {
                    size_t row = (size_t)(y * factor + i / factor);
                    size_t column = (size_t)(x * factor + i % factor);
                    sum += in->rgb[3 * (row * (size_t)in->width + column) + (size_t)c];
                }
                size_t at = (size_t)y * (size_t)out->width + (size_t)x;
                out->rgb[3 * at + (size_t)c] = (uint8_t)(sum / area);
            }
        }
    }
    return true;
}

static bool add_jpeg(struct str *out, const char *path, int longest_side, struct err *e)
{
    struct image picture = {0}, small = {0};
    struct str jpeg = {0};
    bool ok = image_read(&picture, path, NULL, e);
    int side = picture.width > picture.height ? picture.width : picture.height;
    int least = picture.width < picture.height ? picture.width : picture.height;
    int factor = (side + longest_side - 1) / longest_side;
    bool shrunk = ok && factor > 1 && least >= factor;
    ok = ok && (!shrunk || shrink(&small, &picture, factor, e)) &&
         jpeg_encode(&jpeg, shrunk ? &small : &picture, QUALITY, e);
    if (ok) {
        str_add(out, "data:image/jpeg;base64,");
        html_add_base64(out, jpeg.bytes, jpeg.size);
    }
    str_free(&jpeg);
    image_free(&small);
    image_free(&picture);
    return ok;
}

bool report_add_picture_url(struct str *out, const char *path, int longest_side,
                            struct err *e)
{
    char *bytes;
    size_t size;
    if (!file_read_all(path, LIMIT_IMAGE_FILE, &bytes, &size, e))
        return false;
    bool small = size <= AS_IT_IS;
    if (small) {
        str_add(out, "data:image/png;base64,");
        html_add_base64(out, bytes, size);
    }
    free(bytes);
    return small || add_jpeg(out, path, longest_side, e);
}
