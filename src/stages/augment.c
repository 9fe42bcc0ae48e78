/* augment.c: draws the changes on the host, as one plane projective map, one map of
 * colours and one strength of noise a crop, and applies them on the device. Leaves the
 * random numbers to crops_random(). */
#include "stages/augment.h"

#include "stages/crops.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* VQGAN-CLIP: MakeCutouts, generate.py (kornia's RandomHorizontalFlip, RandomAffine,
 * RandomPerspective, ColorJitter; noise_fac) */
#define FLIPPED 0.5 /* how often; and the others: */
#define CHANGED 0.7
#define DEGREES 15.0
#define SHIFT 0.1 /* of the side */
#define SHEAR_DEGREES 5.0
#define DISTORTION 0.7 /* of half the side that a corner may move inwards */
#define JITTER 0.1     /* of brightness, contrast and saturation; of a turn of hue */
#define NOISE 0.1      /* largest standard deviation */

#define TWO_PI 6.283185307179586

enum { STREAM_AUGMENT = 1 << 30, NUMBERS_A_CROP = 32 };

/* Random numbers of one crop, in the order they are asked for. */
struct draw {
    uint64_t seed, stream, at;
};

static double uniform(struct draw *d, double low, double high)
{
    uint64_t bits = crops_random(d->seed, d->stream, d->at++, (uint64_t)1 << 53);
    return low + (high - low) * ldexp((double)bits, -53);
}

static struct draw draw_of(uint64_t seed, int64_t epoch, int crop, int kind)
{
    struct draw d = {seed, STREAM_AUGMENT + (uint64_t)epoch, 0};
    d.at = ((uint64_t)crop * 8 + (uint64_t)kind) * NUMBERS_A_CROP;
    return d;
}

/* Row-major 3x3: out = a b */
static void multiply(const double *a, const double *b, double *out)
{
    double product[9] = {0};
    for (int i = 0; i < 9; i++)
        for (int k = 0; k < 3; k++)
            product[i] += a[i / 3 * 3 + k] * b[3 * k + i % 3];
    memcpy(out, product, sizeof product);
}

/* Maps, from where a pixel goes to where it comes from; the picture is [-1,1]^2. */

static void add_flip(struct draw d, double *map)
{
    const double flip[9] = {-1, 0, 0, 0, 1, 0, 0, 0, 1};
    if (uniform(&d, 0, 1) < FLIPPED)
        multiply(map, flip, map);
}

static void add_affine(struct draw d, double *map)
{
    if (uniform(&d, 0, 1) >= CHANGED)
        return;
    double turn = uniform(&d, -DEGREES, DEGREES) * TWO_PI / 360;
    double shear = tan(uniform(&d, -SHEAR_DEGREES, SHEAR_DEGREES) * TWO_PI / 360);
    double right = uniform(&d, -2 * SHIFT, 2 * SHIFT);
    double down = uniform(&d, -2 * SHIFT, 2 * SHIFT);
    const double rotation[9] = {cos(turn), -sin(turn), right, sin(turn), cos(turn),
                                down,      0,          0,     1};
    const double sheared[9] = {1, shear, 0, 0, 1, 0, 0, 0, 1};
    multiply(map, rotation, map);
    multiply(map, sheared, map);
}

/* The projective map that takes the corners of [-1,1]^2 to `corner`, in the order
 * (-1,-1), (1,-1), (1,1), (-1,1) (Heckbert 1989, section 2.2.3, for the unit square). */
static void quadrilateral(const double corner[4][2], double *map)
{
    double sx = corner[0][0] - corner[1][0] + corner[2][0] - corner[3][0];
    double sy = corner[0][1] - corner[1][1] + corner[2][1] - corner[3][1];
    double dx1 = corner[1][0] - corner[2][0], dx2 = corner[3][0] - corner[2][0];
    double dy1 = corner[1][1] - corner[2][1], dy2 = corner[3][1] - corner[2][1];
    double area = dx1 * dy2 - dx2 * dy1;
    double g = (sx * dy2 - dx2 * sy) / area, h = (dx1 * sy - sx * dy1) / area;
    const double square[9] = {corner[1][0] - corner[0][0] + g * corner[1][0],
                              corner[3][0] - corner[0][0] + h * corner[3][0],
                              corner[0][0],
                              corner[1][1] - corner[0][1] + g * corner[1][1],
                              corner[3][1] - corner[0][1] + h * corner[3][1],
                              corner[0][1],
                              g,
                              h,
                              1};
    const double to_unit[9] = {0.5, 0, 0.5, 0, 0.5, 0.5, 0, 0, 1};
    multiply(square, to_unit, map);
}

static void add_perspective(struct draw d, double *map)
{
    static const double corners[4][2] = {{-1, -1}, {1, -1}, {1, 1}, {-1, 1}};
    double moved[4][2], projective[9];
    if (uniform(&d, 0, 1) >= CHANGED)
        return;
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 2; k++)
            moved[i][k] = corners[i][k] * (1 - uniform(&d, 0, DISTORTION));
    quadrilateral((const double(*)[2])moved, projective);
    multiply(map, projective, map);
}

static void draw_map(unsigned kinds, uint64_t seed, int64_t epoch, int crop, double *map)
{
    const double identity[9] = {1, 0, 0, 0, 1, 0, 0, 0, 1};
    memcpy(map, identity, sizeof identity);
    if (kinds & AUGMENT_FLIP)
        add_flip(draw_of(seed, epoch, crop, 0), map);
    if (kinds & AUGMENT_AFFINE)
        add_affine(draw_of(seed, epoch, crop, 1), map);
    if (kinds & AUGMENT_PERSPECTIVE)
        add_perspective(draw_of(seed, epoch, crop, 2), map);
}

/* Colours: out = matrix rgb + offset */

/* Rotation about the grey axis (Rodrigues' formula). */
static void hue_matrix(double turn, double *out)
{
    double c = cos(turn), third = (1 - c) / 3, s = sin(turn) / sqrt(3);
    const double rotation[9] = {c + third, third - s, third + s, third + s, c + third,
                                third - s, third - s, third + s, c + third};
    memcpy(out, rotation, sizeof rotation);
}

/* Between grey of the same luma (0) and the colour (1). */
static void saturation_matrix(double amount, double *out)
{
    static const double luma[3] = {0.299, 0.587, 0.114}; /* ITU-R BT.601 */
    for (int i = 0; i < 9; i++)
        out[i] = (1 - amount) * luma[i % 3] + (i % 4 == 0 ? amount : 0);
}

static void draw_colours(uint64_t seed, int64_t epoch, int crop, double *matrix,
                         double *offset)
{
    const double identity[9] = {1, 0, 0, 0, 1, 0, 0, 0, 1};
    struct draw d = draw_of(seed, epoch, crop, 3);
    double part[9];
    memcpy(matrix, identity, sizeof identity);
    offset[0] = offset[1] = offset[2] = 0;
    if (uniform(&d, 0, 1) >= CHANGED)
        return;
    double brightness = uniform(&d, -JITTER, JITTER);
    double contrast = uniform(&d, 1 - JITTER, 1 + JITTER);
    saturation_matrix(uniform(&d, 1 - JITTER, 1 + JITTER), part);
    multiply(part, matrix, matrix);
    hue_matrix(TWO_PI * uniform(&d, -JITTER, JITTER), part);
    multiply(part, matrix, matrix);
    for (int i = 0; i < 9; i++)
        matrix[i] *= contrast;
    for (int i = 0; i < 3; i++) /* contrast about a middle grey */
        offset[i] = 0.5 * (1 - contrast) + brightness;
}

/* On the device */

/* Host numbers of each crop, in the type of `like`. */
static tc_tensor *upload(tc_scope *up, struct tc_shape shape, const double *numbers,
                         tc_tensor *like)
{
    tc_scope *s = tc_push(up);
    tc_tensor *x = tc_from_host(s, TC_F64, shape, numbers);
    return tc_pop(s, tc_cast(s, x, tc_dtype_of(like)));
}

/* Where each pixel comes from: centres of S x S pixels in [-1,1]^2, through the maps.
 * maps [n,3,3] -> [n,S,S,2] */
static tc_tensor *places(tc_scope *up, tc_tensor *maps, int64_t side)
{
    tc_scope *s = tc_push(up);
    tc_tensor *line = tc_cast(s, tc_arange(s, side), tc_dtype_of(maps));
    line =
        tc_scale(s, tc_add_scalar(s, line, 0.5 - (double)side / 2), 2.0 / (double)side);
    tc_tensor *x = tc_expand(s, tc_reshape(s, line, SHAPE(1, side)), SHAPE(side, side));
    tc_tensor *y = tc_expand(s, tc_reshape(s, line, SHAPE(side, 1)), SHAPE(side, side));
    tc_tensor *one = tc_add_scalar(s, tc_scale(s, x, 0), 1);
    tc_tensor *rows[] = {tc_reshape(s, x, SHAPE(1, side * side)),
                         tc_reshape(s, y, SHAPE(1, side * side)),
                         tc_reshape(s, one, SHAPE(1, side * side))};
    tc_tensor *from = tc_matmul(s, maps, tc_cat(s, 3, rows, 0)); /* [n,3,S*S] */
    from = tc_div(s, tc_slice(s, from, 1, 0, 2), tc_slice(s, from, 1, 2, 3));
    from = tc_permute(s, from, SHAPE(0, 2, 1)); /* [n,S*S,2] */
    return tc_pop(s, tc_reshape(s, from, SHAPE(-1, side, side, 2)));
}

static tc_tensor *move(tc_scope *up, unsigned kinds, uint64_t seed, int64_t epoch,
                       int first, double *numbers, tc_tensor *x)
{
    tc_scope *s = tc_push(up);
    int count = (int)tc_size(x, 0);
    for (int i = 0; i < count; i++)
        draw_map(kinds, seed, epoch, first + i, numbers + 9 * i);
    tc_tensor *maps = upload(s, SHAPE(count, 3, 3), numbers, x);
    return tc_pop(s, tc_grid_sample(s, x, places(s, maps, tc_size(x, 2))));
}

static tc_tensor *colour(tc_scope *up, uint64_t seed, int64_t epoch, int first,
                         double *numbers, tc_tensor *x)
{
    tc_scope *s = tc_push(up);
    int count = (int)tc_size(x, 0);
    int64_t side = tc_size(x, 2);
    double *offsets = numbers + 9 * count;
    for (int i = 0; i < count; i++)
        draw_colours(seed, epoch, first + i, numbers + 9 * i, offsets + 3 * i);
    tc_tensor *matrix = upload(s, SHAPE(count, 3, 3), numbers, x);
    tc_tensor *offset = upload(s, SHAPE(count, 3, 1), offsets, x);
    x = tc_matmul(s, matrix, tc_reshape(s, x, SHAPE(count, 3, side * side)));
    return tc_pop(s, tc_reshape(s, tc_add(s, x, offset), SHAPE(count, 3, side, side)));
}

/* A generator of its own a crop: which crops share a batch must not matter. */
static tc_tensor *noise(tc_scope *up, uint64_t seed, int64_t epoch, int first,
                        tc_tensor *x)
{
    tc_scope *s = tc_push(up);
    int count = (int)tc_size(x, 0);
    int64_t side = tc_size(x, 2);
    tc_tensor **each = calloc((size_t)count, sizeof *each);
    if (!each)
        tc_fail(s, ERR_MEMORY, "no host memory to augment crops");
    for (int i = 0; i < count && tc_ok(s); i++) {
        struct draw d = draw_of(seed, epoch, first + i, 4);
        double strength = uniform(&d, 0, NOISE);
        tc_rng *rng = tc_rng_new(s, crops_random(d.seed, d.stream, d.at, UINT64_MAX));
        tc_tensor *one = tc_randn(s, rng, SHAPE(1, 3, side, side));
        each[i] = tc_scale(s, tc_cast(s, one, tc_dtype_of(x)), strength);
    }
    x = tc_add(s, x, tc_cat(s, count, each, 0));
    free(each);
    return tc_pop(s, x);
}

tc_tensor *augment_crops(tc_scope *up, unsigned kinds, uint64_t seed, int64_t epoch,
                         int first, tc_tensor *x)
{
    double *numbers = calloc((size_t)tc_size(x, 0), 12 * sizeof *numbers);
    if (!numbers) {
        tc_fail(up, ERR_MEMORY, "no host memory to augment crops");
        return NULL;
    }
    tc_scope *s = tc_push(up);
    if (kinds & (AUGMENT_FLIP | AUGMENT_AFFINE | AUGMENT_PERSPECTIVE))
        x = move(s, kinds, seed, epoch, first, numbers, x);
    if (kinds & AUGMENT_JITTER)
        x = colour(s, seed, epoch, first, numbers, x);
    if (kinds & AUGMENT_NOISE)
        x = noise(s, seed, epoch, first, x);
    free(numbers);
    return tc_pop(s, x);
}
