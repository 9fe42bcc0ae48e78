/* small.h: tensors of a few numbers, made and compared. Leaves the life of `root` to the
 * test. */
#ifndef DIFFENS_TESTS_SMALL_H
#define DIFFENS_TESTS_SMALL_H

#include "check.h"
#include "diffens/tc.h"

#include <math.h>

static tc_scope *root;

static tc_tensor *row(int count, const float *values)
{
    return tc_from_host(root, TC_F32, SHAPE(count), values);
}

#define ROW(...)                                                                         \
    row((int)(sizeof((float[]){__VA_ARGS__}) / sizeof(float)), (float[]){__VA_ARGS__})

static bool same(tc_tensor *x, int count, const float *expected)
{
    float out[64];
    struct err e = {0};
    if (!tc_check(root, &e)) {
        fprintf(stderr, "  %s\n", e.message);
        tc_recover(root);
        return false;
    }
    if (tc_numel(x) != count ||
        !tc_to_host(root, x, TC_F32, out, (size_t)count * sizeof *out))
        return false;
    for (int i = 0; i < count; i++) {
        if (!(fabsf(out[i] - expected[i]) <= 1e-5f)) {
            fprintf(stderr, "  element %d: found %g, expected %g\n", i, (double)out[i],
                    (double)expected[i]);
            return false;
        }
    }
    return true;
}

#define SAME(x, ...)                                                                     \
    CHECK(same((x), (int)(sizeof((float[]){__VA_ARGS__}) / sizeof(float)),               \
               (float[]){__VA_ARGS__}))

#endif
