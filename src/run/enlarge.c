/* enlarge.c: cubic interpolation by whole factors, which keeps outlines of small pictures
 * smooth. Leaves the choice of the factor to the caller. */
#include "run/enlarge.h"

#include <string.h>

/* Weights of the four neighbours for each place between two pixels, and the first of the
 * four relative to the pixel. */
struct taps {
    float weight[ENLARGE_MAX][4];
    int first[ENLARGE_MAX];
};

static struct taps taps_make(int factor)
{
    struct taps taps;
    for (int phase = 0; phase < factor; phase++) {
        double at = (phase + 0.5) / factor - 0.5;
        int floor_at = at < 0 ? -1 : 0;
        double t = at - floor_at, t2 = t * t, t3 = t2 * t;
        taps.first[phase] = floor_at - 1;
        taps.weight[phase][0] = (float)(-0.5 * t3 + t2 - 0.5 * t);
        taps.weight[phase][1] = (float)(1.5 * t3 - 2.5 * t2 + 1);
        taps.weight[phase][2] = (float)(-1.5 * t3 + 2 * t2 + 0.5 * t);
        taps.weight[phase][3] = (float)(0.5 * t3 - 0.5 * t2);
    }
    return taps;
}

static int within(int at, int size)
{
    return at < 0 ? 0 : at >= size ? size - 1 : at;
}

static void interpolate(const struct image *picture, const struct taps *taps, int factor,
                        int x, int y, uint8_t *out)
{
    const float *across = taps->weight[x % factor], *down = taps->weight[y % factor];
    int x0 = x / factor + taps->first[x % factor];
    int y0 = y / factor + taps->first[y % factor];
    float sum[3] = {0.5f, 0.5f, 0.5f};
    for (int j = 0; j < 4; j++) {
        size_t row = (size_t)within(y0 + j, picture->height) * (size_t)picture->width;
        for (int i = 0; i < 4; i++) {
            const uint8_t *pixel =
                picture->rgb + (row + (size_t)within(x0 + i, picture->width)) * 3;
            for (int c = 0; c < 3; c++)
                sum[c] += down[j] * across[i] * (float)pixel[c];
        }
    }
    for (int c = 0; c < 3; c++)
        out[c] = (uint8_t)(sum[c] < 0 ? 0 : sum[c] > 255 ? 255 : sum[c]);
}

void enlarge_onto(struct image *page, const struct image *picture, int left, int top,
                  int factor)
{
    struct taps taps = taps_make(factor);
    int width = picture->width * factor, height = picture->height * factor;
    for (int y = 0; y < height; y++) {
        uint8_t *to =
            page->rgb + ((size_t)(top + y) * (size_t)page->width + (size_t)left) * 3;
        if (factor == 1)
            memcpy(to, picture->rgb + (size_t)y * (size_t)width * 3, (size_t)width * 3);
        for (int x = 0; factor > 1 && x < width; x++)
            interpolate(picture, &taps, factor, x, y, to + (size_t)x * 3);
    }
}
