/* test_norms.c: group norms as the CPU computes them in f32, channels last, with and
 * without SiLU, and their gradient, against libtorch in f64. Leaves sums that can be
 * checked by hand to test_operations.c. */
#include "check.h"
#include "error_of.h"

#include <math.h>

static tc_scope *root;

struct norm_case {
    int64_t batch, channels, height, width;
    int groups;
    double mean, spread, eps;
};

static const struct norm_case cases[] = {
    {1, 8, 1, 1, 2, 0, 1, 1e-5},     {2, 32, 16, 16, 8, 0, 1, 1e-5},
    {3, 48, 17, 19, 8, 1, 3, 1e-6},  {2, 40, 5, 7, 5, 0, 30, 1e-5},
    {1, 64, 33, 31, 32, 20, 1, 0.5}, {1, 24, 64, 64, 1, -5, 0.1, 1e-5},
    {2, 12, 9, 9, 4, 0, 1, 1e-5},
};

static tc_tensor *noise(tc_scope *s, tc_rng *rng, struct tc_shape shape, double spread,
                        double mean)
{
    return tc_add_scalar(s, tc_scale(s, tc_randn(s, rng, shape), spread), mean);
}

/* d(sum of upstream * y) / dx */
static tc_tensor *gradient(tc_scope *s, tc_tensor *x, int groups, tc_tensor *weight,
                           tc_tensor *bias, double eps, tc_tensor *upstream)
{
    tc_scope *g = tc_push_grad(s);
    tc_tensor *leaf = tc_leaf(g, x);
    tc_tensor *y = tc_group_norm(g, leaf, groups, weight, bias, eps);
    return tc_pop(g, tc_gradient(g, y, upstream, leaf));
}

static void check_case(const struct norm_case *c)
{
    tc_scope *s = tc_push(root);
    tc_rng *rng = tc_rng_new(s, 5);
    int64_t channels = c->channels;
    tc_tensor *x =
        noise(s, rng, SHAPE(c->batch, channels, c->height, c->width), c->spread, c->mean);
    tc_tensor *weight = noise(s, rng, SHAPE(channels), 1, 1);
    tc_tensor *bias = noise(s, rng, SHAPE(channels), 3, 0);
    tc_tensor *upstream =
        tc_randn(s, rng, SHAPE(c->batch, channels, c->height, c->width));
    tc_tensor *x64 = tc_cast(s, x, TC_F64), *weight64 = tc_cast(s, weight, TC_F64),
              *bias64 = tc_cast(s, bias, TC_F64);
    tc_tensor *exact = tc_group_norm(s, x64, c->groups, weight64, bias64, c->eps);
    tc_tensor *exact_gradient = gradient(s, x64, c->groups, weight64, bias64, c->eps,
                                         tc_cast(s, upstream, TC_F64));
    x = tc_channels_last(s, x);
    tc_tensor *plain = tc_group_norm(s, x, c->groups, weight, bias, c->eps);
    tc_tensor *silu = tc_group_norm_silu(s, x, c->groups, weight, bias, c->eps);
    double error = error_of(s, plain, exact);
    CHECK(error < 2e-6);
    error = fmax(error, error_of(s, silu, tc_silu(s, exact)));
    CHECK(error < 2e-6);
    printf("     [%lld,%lld,%lld,%lld] in %d groups: error %.1e\n", (long long)c->batch,
           (long long)channels, (long long)c->height, (long long)c->width, c->groups,
           error);

    tc_scope *g = tc_push_grad(s);
    tc_tensor *recorded =
        tc_group_norm_silu(g, tc_leaf(g, x), c->groups, weight, bias, c->eps);
    CHECK(error_of(g, recorded, silu) < 2e-4); /* which libtorch differs by */
    tc_pop(g, NULL);
    tc_tensor *slope = gradient(s, x, c->groups, weight, bias, c->eps, upstream);
    CHECK(error_of(s, slope, exact_gradient) < 5e-4); /* from the deviations it saves */
    CHECK(tc_ok(s));
    tc_pop(s, NULL);
}

static void test_cases(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_case(&cases[i]);
}

/* Large, small, infinite and no numbers at all. */
static void test_extremes(void)
{
    tc_scope *s = tc_push(root);
    const float large = 1e30f, places[8] = {-large, large, 0, 0, -1, 1, -200, 200};
    tc_tensor *x = tc_channels_last(s, tc_zeros(s, TC_F32, SHAPE(1, 8, 2, 2)));
    tc_tensor *one = tc_full(s, TC_F32, SHAPE(8), 1);
    tc_tensor *bias = tc_from_host(s, TC_F32, SHAPE(8), places);
    tc_tensor *y = tc_group_norm_silu(s, x, 2, one, bias, 1e-5);
    float out[32];
    CHECK(tc_to_host(s, y, TC_F32, out, sizeof out));
    CHECK(fabsf(out[0]) < 1e-6f && out[4] == large && out[8] == 0);
    CHECK(fabs(out[16] + 0.26894142) < 1e-7 && fabs(out[20] - 0.73105858) < 1e-7);
    CHECK(fabsf(out[24]) < 1e-30f && out[28] == 200);
    tc_tensor *none = tc_full(s, TC_F32, SHAPE(1, 8, 2, 2), NAN);
    none = tc_channels_last(s, none);
    CHECK(!tc_all_finite(s, tc_group_norm_silu(s, none, 2, one, bias, 1e-5)));
    CHECK(tc_ok(s));
    tc_pop(s, NULL);
}

int main(void)
{
    struct err e = {0};
    root = tc_open(&(struct tc_settings){.device = "cpu", .threads = 2}, &e);
    CHECK(root);
    if (!root)
        return CHECK_EXIT();
    RUN(test_cases);
    RUN(test_extremes);
    tc_close(root);
    CHECK_INT(tc_live_tensors(), 0);
    return CHECK_EXIT();
}
