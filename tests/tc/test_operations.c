/* test_operations.c: each operation of tc.h on numbers small enough to check by hand.
 * Against PyTorch itself the networks' parity tests compare. */
#include "small.h"

static void arithmetic(void)
{
    tc_tensor *a = ROW(1, 2, -3), *b = ROW(4, 5, 6);
    SAME(tc_add(root, a, b), 5, 7, 3);
    SAME(tc_sub(root, a, b), -3, -3, -9);
    SAME(tc_mul(root, a, b), 4, 10, -18);
    SAME(tc_div(root, b, a), 4, 2.5f, -2);
    SAME(tc_scale(root, a, 0.5), 0.5f, 1, -1.5f);
    SAME(tc_add_scalar(root, a, 1), 2, 3, -2);
    SAME(tc_clamp(root, a, -1, 1), 1, 1, -1);
    SAME(tc_round(root, ROW(0.5f, 1.5f, -1.2f)), 0, 2, -1);
    SAME(tc_exp(root, ROW(0, 1)), 1, expf(1));
    SAME(tc_sin(root, ROW(0, 1)), 0, sinf(1));
    SAME(tc_cos(root, ROW(0, 1)), 1, cosf(1));
}

static void constants(void)
{
    SAME(tc_full(root, TC_F32, SHAPE(2), 0.5), 0.5f, 0.5f);
    SAME(tc_div(root, ROW(1, 3), tc_full(root, TC_F32, SHAPE(1), 2)), 0.5f, 1.5f);
}

/* The largest difference between attention at once and in slices. */
static float slicing_error(int64_t tokens, bool causal)
{
    tc_scope *s = tc_push(root);
    tc_rng *rng = tc_rng_new(s, 1);
    tc_tensor *x[3];
    for (int i = 0; i < 3; i++)
        x[i] = tc_randn(s, rng, SHAPE(2, 3, tokens, 4));
    tc_tensor *whole = tc_attention(s, x[0], x[1], x[2], causal);
    tc_slice_attention(root, true);
    tc_tensor *sliced = tc_attention(s, x[0], x[1], x[2], causal);
    tc_slice_attention(root, false);
    tc_tensor *d = tc_reshape(s, tc_sub(s, whole, sliced), SHAPE(1, -1));
    float range[2] = {-1, 1};
    tc_tensor *ends[] = {tc_amin(s, d, 1), tc_amax(s, d, 1)};
    CHECK(tc_to_host(s, tc_cat(s, 2, ends, 0), TC_F32, range, sizeof range));
    tc_pop(s, NULL);
    return fmaxf(-range[0], range[1]);
}

static void attention_in_slices_is_the_same(void)
{
    CHECK(slicing_error(7, true) < 1e-6f);
    CHECK(slicing_error(1500, false) < 1e-6f); /* more than the queries of one slice */
}

static void combinations_leave_out_zero_terms(void)
{
    tc_tensor *x[] = {ROW(1, 2), ROW(INFINITY, NAN), ROW(10, 20)};
    SAME(tc_combine(root, 3, (double[]){2, 0, 1}, x), 12, 24);
    SAME(tc_combine(root, 3, (double[]){0, 0, 1}, x), 10, 20);
    SAME(tc_combine(root, 1, (double[]){0}, x), 0, 0);
}

static void activations(void)
{
    tc_tensor *x = ROW(-1, 0, 2);
    SAME(tc_silu(root, x), -0.26894143f, 0, 1.7615942f);
    SAME(tc_gelu(root, x), -0.15865526f, 0, 1.9544997f);
    SAME(tc_quick_gelu(root, x), -0.15420423f, 0, 1.9356586f);
}

static void shapes(void)
{
    tc_tensor *x = tc_reshape(root, tc_arange(root, 6), SHAPE(2, -1)); /* [2,3] */
    CHECK_INT(tc_size(x, 1), 3);
    SAME(tc_permute(root, x, SHAPE(1, 0)), 0, 3, 1, 4, 2, 5);
    SAME(tc_contiguous(root, tc_permute(root, x, SHAPE(1, 0))), 0, 3, 1, 4, 2, 5);
    SAME(tc_slice(root, x, 1, 1, 3), 1, 2, 4, 5);
    SAME(tc_cat(root, 2, (tc_tensor *[]){ROW(1), ROW(2, 3)}, 0), 1, 2, 3);
    SAME(tc_expand(root, tc_reshape(root, ROW(1, 2), SHAPE(2, 1)), SHAPE(2, 2)), 1, 1, 2,
         2);
    tc_tensor *image = tc_reshape(root, ROW(1, 2), SHAPE(1, 1, 1, 2));
    SAME(tc_pad(root, image, 1, 0, 0, 1), 0, 1, 2, 0, 0, 0);
    SAME(tc_channels_last(root, image), 1, 2);
    SAME(tc_sum(root, x, 0), 3, 5, 7);
    SAME(tc_cast(root, tc_argmin(root, ROW(3, 1, 2), 0), TC_F32), 1);
    SAME(tc_zeros(root, TC_F32, SHAPE(2)), 0, 0);
}

static void samples_of_pictures(void)
{
    tc_tensor *x = tc_reshape(root, ROW(1, 2, 3, 4), SHAPE(1, 1, 2, 2));
    /* the four centres, the middle, and beyond the right edge */
    tc_tensor *centres = ROW(-0.5, -0.5, 0.5, -0.5, -0.5, 0.5, 0.5, 0.5);
    SAME(tc_grid_sample(root, x, tc_reshape(root, centres, SHAPE(1, 2, 2, 2))), 1, 2, 3,
         4);
    tc_tensor *others = ROW(0, 0, 3, -0.5);
    SAME(tc_grid_sample(root, x, tc_reshape(root, others, SHAPE(1, 1, 2, 2))), 2.5, 2);
}

static void conversions(void)
{
    CHECK_INT(tc_dtype_of(tc_cast(root, ROW(1), TC_BF16)), TC_BF16);
    CHECK_INT(tc_dtype_size(TC_F16), 2);
    SAME(tc_cast(root, tc_cast(root, ROW(1.5f, -2), TC_F16), TC_F32), 1.5f, -2);
    uint8_t bytes[] = {0, 255}, back[2];
    tc_tensor *x = tc_from_host(root, TC_U8, SHAPE(2), bytes);
    SAME(tc_cast(root, x, TC_F32), 0, 255);
    CHECK(tc_to_host(root, x, TC_U8, back, sizeof back) && back[1] == 255);
    CHECK(!tc_to_host(root, x, TC_U8, back, 1));
    tc_recover(root);
}

static void layers(void)
{
    tc_tensor *identity = tc_reshape(root, ROW(1, 0, 0, 1), SHAPE(2, 2));
    SAME(tc_linear(root, ROW(3, 4), identity, ROW(1, 1)), 4, 5);
    SAME(tc_linear(root, ROW(3, 4), identity, NULL), 3, 4);
    SAME(tc_matmul(root, identity, ROW(3, 4)), 3, 4);
    tc_tensor *image = tc_reshape(root, ROW(1, 2, 3, 4), SHAPE(1, 1, 2, 2));
    tc_tensor *kernel =
        tc_reshape(root, ROW(1, 1, 1, 1, 1, 1, 1, 1, 1), SHAPE(1, 1, 3, 3));
    SAME(tc_conv2d(root, image, kernel, ROW(0.5f), 1, 1), 10.5f, 10.5f, 10.5f, 10.5f);
    SAME(tc_conv2d(root, image, kernel, NULL, 2, 1), 10);
    SAME(tc_group_norm(root, image, 1, ROW(1), ROW(0), 0), -1.3416408f, -0.4472136f,
         0.4472136f, 1.3416408f);
    SAME(tc_layer_norm(root, ROW(1, 3), ROW(1, 1), ROW(0, 1), 0), -1, 2);
    int64_t ids[] = {1, 0, 1};
    tc_tensor *table = tc_reshape(root, ROW(1, 2, 3, 4), SHAPE(2, 2));
    SAME(tc_embedding(root, tc_from_host(root, TC_I64, SHAPE(3), ids), table), 3, 4, 1, 2,
         3, 4);
    SAME(tc_resize_nearest(root, image, 2, 4), 1, 1, 2, 2, 3, 3, 4, 4);
    SAME(tc_resize_bicubic(root, image, 1, 1), 2.5f);
}

static void attention(void)
{
    tc_tensor *q = tc_zeros(root, TC_F32, SHAPE(1, 1, 2, 1));
    tc_tensor *v = tc_reshape(root, ROW(2, 4), SHAPE(1, 1, 2, 1));
    SAME(tc_attention(root, q, q, v, false), 3, 3);
    SAME(tc_attention(root, q, q, v, true), 2, 3);
}

static void finiteness(void)
{
    CHECK(tc_all_finite(root, ROW(1, 2)));
    CHECK(!tc_all_finite(root, ROW(1, NAN)));
    CHECK(!tc_all_finite(root, ROW(-INFINITY)));
}

/* The numbers are PyTorch's: torch.randn(3, generator=Generator().manual_seed(42)). */
static void random_numbers_are_pytorchs(void)
{
    tc_rng *rng = tc_rng_new(root, 42);
    SAME(tc_randn(root, rng, SHAPE(3)), 0.33669037f, 0.12880941f, 0.23446237f);
}

static void taps_see_what_is_reported(tc_scope *s, const char *name, tc_tensor *x,
                                      void *user)
{
    (void)s;
    *(int *)user += strcmp(name, "block") == 0 && tc_numel(x) == 1;
}

static void taps(void)
{
    int seen = 0;
    CHECK(!tc_has_tap(root));
    tc_set_tap(root, taps_see_what_is_reported, &seen);
    tc_tap(root, "block", ROW(1));
    tc_set_tap(root, NULL, NULL);
    CHECK_INT(seen, 1);
}

static void shapes_alone(void)
{
    struct err e = {0};
    tc_scope *meta = tc_open(&(struct tc_settings){.device = "meta"}, &e);
    tc_tensor *x = tc_zeros(meta, TC_F32, SHAPE(2, 4, 9, 9));
    tc_tensor *w = tc_zeros(meta, TC_F32, SHAPE(8, 4, 3, 3));
    x = tc_conv2d(meta, x, w, NULL, 2, 1);
    x = tc_group_norm(meta, x, 2, tc_zeros(meta, TC_F32, SHAPE(8)),
                      tc_zeros(meta, TC_F32, SHAPE(8)), 1e-5);
    CHECK_INT(tc_size(x, 1), 8);
    CHECK_INT(tc_size(x, 3), 5);
    x = tc_permute(meta, tc_reshape(meta, x, SHAPE(2, 8, 25)), SHAPE(0, 2, 1));
    x = tc_linear(meta, x, tc_zeros(meta, TC_F32, SHAPE(3, 8)), NULL);
    CHECK_INT(tc_size(x, 2), 3);
    tc_tensor *heads = tc_zeros(meta, TC_F32, SHAPE(2, 4, 25, 8));
    CHECK_INT(tc_size(tc_attention(meta, heads, heads, heads, false), 2), 25);
    tc_tensor *ids = tc_zeros(meta, TC_I64, SHAPE(2, 7));
    CHECK_INT(tc_size(tc_embedding(meta, ids, tc_zeros(meta, TC_F32, SHAPE(9, 5))), 2),
              5);
    CHECK(tc_check(meta, &e));
    tc_close(meta);
}

int main(void)
{
    struct err e = {0};
    root = tc_open(&(struct tc_settings){.device = "cpu", .threads = 1}, &e);
    RUN(arithmetic);
    RUN(constants);
    RUN(attention_in_slices_is_the_same);
    RUN(combinations_leave_out_zero_terms);
    RUN(activations);
    RUN(shapes);
    RUN(samples_of_pictures);
    RUN(conversions);
    RUN(layers);
    RUN(attention);
    RUN(finiteness);
    RUN(random_numbers_are_pytorchs);
    RUN(taps);
    RUN(shapes_alone);
    tc_close(root);
    CHECK_INT(tc_live_tensors(), 0);
    return CHECK_EXIT();
}
