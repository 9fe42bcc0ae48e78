/* crops.c: draws windows and cuts and resizes them. Leaves their spelling on the command
 * line to crop_spec.c. */
#include "stages/crops.h"

#include <math.h>
#include <stdlib.h>

enum { STREAM_POOL_TOP = 1, STREAM_POOL_LEFT = 2, STREAM_EPOCHS = 1 << 20 };

/* splitmix64 (Steele, Lea and Flood 2014), as a hash of its counter. */
static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

uint64_t crops_random(uint64_t seed, uint64_t stream, uint64_t index, uint64_t bound)
{
    uint64_t bits = mix(mix(mix(seed) ^ stream) ^ index);
    return (uint64_t)(((unsigned __int128)bits * bound) >> 64);
}

/* The matrix by which libtorch's bicubic, antialiased resize multiplies a row of `side`
 * pixels from the right: what it makes of the unit vectors. [side,size] */
static tc_tensor *make_resizer(tc_scope *up, int64_t side, int64_t size,
                               enum tc_dtype dtype)
{
    float *unit = calloc((size_t)(side * side), sizeof *unit);
    if (!unit) {
        tc_fail(up, ERR_MEMORY, "no host memory for a resizing matrix");
        return NULL;
    }
    for (int64_t i = 0; i < side; i++)
        unit[i * side + i] = 1;
    tc_scope *s = tc_push(up);
    tc_tensor *x = tc_from_host(s, TC_F32, SHAPE(1, 1, side, side), unit);
    x = tc_resize_bicubic(s, tc_cast(s, x, dtype), side, size);
    free(unit);
    return tc_pop(s, tc_reshape(s, x, SHAPE(side, size)));
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void place_windows(struct crops *c, const struct crop_windows *g,
                          uint64_t random_seed, int64_t height, int64_t width)
{
    for (int i = g->first; i < g->first + g->pool; i++) {
        uint64_t rows = (uint64_t)(height - g->side + 1);
        uint64_t columns = (uint64_t)(width - g->side + 1);
        c->top[i] =
            (int64_t)crops_random(random_seed, STREAM_POOL_TOP, (uint64_t)i, rows);
        c->left[i] =
            (int64_t)crops_random(random_seed, STREAM_POOL_LEFT, (uint64_t)i, columns);
    }
}

bool crops_open(struct crops *c, tc_scope *s, const struct crop_spec *spec, int pool,
                uint64_t random_seed, int64_t height, int64_t width, int64_t size,
                enum tc_dtype dtype, struct err *e)
{
    int64_t asked = 0;
    for (int i = 0; i < spec->group_count; i++)
        asked += spec->group[i].count;
    c->size = size;
    c->group_count = spec->group_count;
    for (int i = 0; i < spec->group_count; i++) {
        struct crop_windows *g = &c->group[i];
        int64_t count = spec->group[i].count;
        g->side = (int64_t)round(spec->group[i].scale * (double)least(height, width));
        if (g->side < 1)
            return err_set(e, ERR_USAGE,
                           "crops: found scale %g, expected at least one pixel of %lld",
                           spec->group[i].scale, (long long)least(height, width));
        int64_t positions = (height - g->side + 1) * (width - g->side + 1);
        int64_t share = pool * count / asked;
        g->first = c->pool;
        g->pool = (int)least(positions, share > count ? share : count);
        g->count = (int)least(count, g->pool);
        g->resizer = g->side == size ? NULL : make_resizer(s, g->side, size, dtype);
        c->pool += g->pool;
        c->total += g->count;
    }
    c->top = calloc((size_t)c->pool, sizeof *c->top);
    c->left = calloc((size_t)c->pool, sizeof *c->left);
    if (!c->top || !c->left)
        return err_set(e, ERR_MEMORY, "no host memory for %d windows", c->pool);
    for (int i = 0; i < c->group_count; i++)
        place_windows(c, &c->group[i], random_seed, height, width);
    return tc_check(s, e);
}

void crops_close(struct crops *c)
{
    free(c->top);
    free(c->left);
    *c = (struct crops){0};
}

void crops_draw(const struct crops *c, uint64_t random_seed, int64_t epoch, int *windows)
{
    for (int i = 0; i < c->group_count; i++) {
        const struct crop_windows *g = &c->group[i];
        uint64_t stream =
            STREAM_EPOCHS + (uint64_t)epoch * CROPS_MAX_GROUPS + (uint64_t)i;
        /* Floyd's sampling without replacement: with j from pool-count on, a drawn number
         * that is taken already stands for j itself. */
        for (int n = 0, j = g->pool - g->count; n < g->count; n++, j++) {
            int drawn = g->first + (int)crops_random(random_seed, stream, (uint64_t)n,
                                                     (uint64_t)j + 1);
            for (int k = 0; k < n; k++)
                if (windows[k] == drawn)
                    drawn = g->first + j;
            windows[n] = drawn;
        }
        windows += g->count;
    }
}

void crops_shares(const struct crops *c, double *shares)
{
    for (int i = 0; i < c->group_count; i++)
        for (int n = 0; n < c->group[i].count; n++)
            *shares++ = 1.0 / c->group_count / c->group[i].count;
}

/* [n,3,side,side] -> [n,3,size,size]: columns, then rows, as matrix products */
static tc_tensor *resize(tc_scope *up, const struct crop_windows *g, tc_tensor *x)
{
    if (!g->resizer)
        return x;
    tc_scope *s = tc_push(up);
    x = tc_matmul(s, x, g->resizer); /* [n,3,side,size] */
    x = tc_matmul(s, tc_permute(s, x, SHAPE(0, 1, 3, 2)), g->resizer);
    return tc_pop(s, tc_permute(s, x, SHAPE(0, 1, 3, 2)));
}

tc_tensor *crops_cut(tc_scope *up, const struct crops *c, tc_tensor *x, int count,
                     const int *windows)
{
    tc_scope *s = tc_push(up);
    tc_tensor *parts[CROPS_MAX_GROUPS];
    int64_t top[CROPS_MAX_COUNT], left[CROPS_MAX_COUNT];
    int part_count = 0, done = 0;
    for (int i = 0; i < c->group_count && done < count; i++) {
        const struct crop_windows *g = &c->group[i];
        int n = 0;
        for (; done < count && n < CROPS_MAX_COUNT && windows[done] < g->first + g->pool;
             n++, done++) {
            top[n] = c->top[windows[done]];
            left[n] = c->left[windows[done]];
        }
        if (n > 0)
            parts[part_count++] = resize(s, g, tc_windows(s, x, n, top, left, g->side));
    }
    return tc_pop(s, tc_cat(s, part_count, parts, 0));
}
