/* test_dense.c: dense layers on packed weights, gated ones and attention as the CPU
 * computes them in f32, against libtorch's in f64. Leaves small sums that can be checked
 * by hand to test_operations.c, convolutions to test_convolutions.c. */
#include "check.h"
#include "error_of.h"

static tc_scope *root;

static tc_tensor *exact(tc_scope *s, tc_tensor *x)
{
    return x ? tc_cast(s, x, TC_F64) : NULL;
}

struct layer {
    int64_t batch, tokens, in, out;
    bool biased, packs;
};

static const struct layer layers[] = {
    {1, 256, 8, 16, true, true},      {2, 300, 40, 48, true, true},
    {3, 77, 128, 512, false, true},   {1, 1000, 320, 2560, true, true},
    {5, 17, 24, 32, true, true},      {2, 300, 36, 48, true, false},
    {2, 300, 40, 40, true, false},    {2, 15, 40, 48, true, false},
    {2, 64, 1280, 1280, true, false}, /* not worth the order for so few rows */
};

static void check_layer(const struct layer *l)
{
    tc_scope *s = tc_push(root), *g = tc_push_grad(s);
    tc_rng *rng = tc_rng_new(s, 5);
    tc_tensor *x = tc_randn(s, rng, SHAPE(l->batch, l->tokens, l->in));
    tc_tensor *weight = tc_randn(s, rng, SHAPE(l->out, l->in));
    tc_tensor *bias = l->biased ? tc_randn(s, rng, SHAPE(l->out)) : NULL;
    tc_tensor *upstream = tc_randn(s, rng, SHAPE(l->batch, l->tokens, l->out));
    tc_tensor *true_y = tc_linear(s, exact(s, x), exact(s, weight), exact(s, bias));
    tc_tensor *true_gradient =
        tc_matmul(s, exact(s, upstream), exact(s, weight)); /* [B,T,in] */

    weight = tc_linear_pack(s, weight, x);
    CHECK_INT(tc_rank(weight), l->packs ? 3 : 2);
    tc_tensor *leaf = tc_leaf(g, x), *y = tc_linear(g, leaf, weight, bias);
    CHECK(error_of(s, tc_linear(s, x, weight, bias), true_y) < 1e-6);
    CHECK(error_of(s, tc_detach(g, y), true_y) < 1e-6);
    CHECK(error_of(s, tc_gradient(g, y, upstream, leaf), true_gradient) < 2e-6);
    tc_pop(s, NULL);
}

static void packed_weights_make_the_same_layer(void)
{
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++)
        check_layer(&layers[i]);
}

/* The definition, of a layer's two halves. */
static tc_tensor *gated(tc_scope *s, tc_tensor *both, int64_t out)
{
    return tc_mul(s, tc_slice(s, both, 2, 0, out),
                  tc_gelu(s, tc_slice(s, both, 2, out, 2 * out)));
}

static void check_gate(int64_t tokens, int64_t in, int64_t out)
{
    tc_scope *s = tc_push(root), *g = tc_push_grad(s);
    tc_rng *rng = tc_rng_new(s, 6);
    tc_tensor *x = tc_randn(s, rng, SHAPE(2, tokens, in));
    tc_tensor *weight = tc_randn(s, rng, SHAPE(2 * out, in));
    tc_tensor *bias = tc_randn(s, rng, SHAPE(2 * out));
    tc_tensor *truth =
        gated(s, tc_linear(s, exact(s, x), exact(s, weight), exact(s, bias)), out);

    CHECK(error_of(s, tc_linear_geglu(s, x, weight, bias), truth) < 1e-6);
    weight = tc_linear_pack(s, weight, x);
    CHECK_INT(tc_rank(weight), 3);
    CHECK(error_of(s, tc_linear_geglu(s, x, weight, bias), truth) < 1e-6);
    tc_tensor *leaf = tc_leaf(g, x), *y = tc_linear_geglu(g, leaf, weight, bias);
    CHECK(error_of(s, tc_detach(g, y), truth) < 1e-6);
    CHECK(tc_gradient(g, y, tc_full(s, TC_F32, SHAPE(2, tokens, out), 1), leaf) != NULL);
    tc_pop(s, NULL);
}

static void gates_are_the_definition(void)
{
    check_gate(256, 8, 16);
    check_gate(300, 40, 128);
    check_gate(256, 8, 8); /* halves that are no whole panels */
}

/* Both tails of the normal distribution, by f64. */
static void gates_are_right_far_out(void)
{
    enum { COUNT = 16 * 64 };
    tc_scope *s = tc_push(root);
    float numbers[COUNT][8] = {{0}};
    for (int i = 0; i < COUNT; i++)
        numbers[i][0] = (float)(i - COUNT / 2) / 40;
    float weights[32][8] = {{0}};
    for (int i = 0; i < 16; i++)
        weights[16 + i][0] = 1; /* the gate is the number itself */
    tc_tensor *x = tc_from_host(s, TC_F32, SHAPE(1, COUNT, 8), numbers);
    tc_tensor *weight = tc_from_host(s, TC_F32, SHAPE(32, 8), weights);
    tc_tensor *ones = tc_cat(
        s, 2,
        (tc_tensor *[]){tc_full(s, TC_F32, SHAPE(16), 1), tc_zeros(s, TC_F32, SHAPE(16))},
        0);
    static float y[COUNT][16];
    weight = tc_linear_pack(s, weight, x);
    CHECK(tc_to_host(s, tc_linear_geglu(s, x, weight, ones), TC_F32, y, sizeof y));
    for (int i = 0; i < COUNT; i++) {
        double z = (double)numbers[i][0], truth = z / 2 * (1 + erf(z / sqrt(2)));
        CHECK(fabs((double)y[i][0] - truth) < 5e-7);
    }
    tc_pop(s, NULL);
}

/* As networks make them: views of [B,T,heads*D]. */
static tc_tensor *heads_of(tc_scope *s, tc_rng *rng, int64_t batch, int64_t tokens,
                           int64_t heads, int64_t width)
{
    tc_tensor *x = tc_randn(s, rng, SHAPE(batch, tokens, heads, width));
    return tc_permute(s, x, SHAPE(0, 2, 1, 3));
}

static void check_attention(int64_t queries, int64_t keys, int64_t width, double scale)
{
    tc_scope *s = tc_push(root);
    tc_rng *rng = tc_rng_new(s, 7);
    tc_tensor *q = tc_scale(s, heads_of(s, rng, 2, queries, 3, width), scale);
    tc_tensor *k = heads_of(s, rng, 2, keys, 3, width),
              *v = heads_of(s, rng, 2, keys, 3, width);
    tc_tensor *y = tc_attention(s, q, k, v, false);
    tc_tensor *truth = tc_attention(s, exact(s, q), exact(s, k), exact(s, v), false);
    CHECK_INT(tc_size(y, 2), queries);
    CHECK(error_of(s, y, truth) < 2e-6 * scale); /* of scores, that is */
    tc_pop(s, NULL);
}

static void attention_is_the_definition(void)
{
    check_attention(1, 1, 8, 1);
    check_attention(64, 77, 48, 1);
    check_attention(97, 512, 40, 1);
    check_attention(200, 1103, 64, 1); /* several blocks, a last one that is not full */
    check_attention(30, 1500, 16, 40); /* scores of hundreds: nearly one key alone */
}

static void numbers_that_are_not_finite_show(void)
{
    tc_scope *s = tc_push(root);
    tc_tensor *x = tc_full(s, TC_F32, SHAPE(1, 1, 300, 8), 1);
    tc_tensor *broken = tc_full(s, TC_F32, SHAPE(1, 1, 300, 8), NAN);
    CHECK(tc_all_finite(s, tc_attention(s, x, x, x, false)));
    CHECK(!tc_all_finite(s, tc_attention(s, broken, x, x, false)));
    CHECK(!tc_all_finite(s, tc_attention(s, x, x, broken, false)));
    tc_pop(s, NULL);
}

enum { SHARED = 2 * 300 * 64 };

static void compute(int threads, float dense[SHARED], float attention[SHARED])
{
    struct err e = {0};
    tc_scope *s = tc_open(&(struct tc_settings){.device = "cpu", .threads = threads}, &e);
    tc_rng *rng = tc_rng_new(s, 8);
    tc_tensor *x = tc_randn(s, rng, SHAPE(2, 300, 64));
    tc_tensor *weight = tc_linear_pack(s, tc_randn(s, rng, SHAPE(64, 64)), x);
    tc_tensor *q = tc_reshape(s, x, SHAPE(2, 300, 4, 16));
    q = tc_permute(s, q, SHAPE(0, 2, 1, 3));
    size_t size = SHARED * sizeof(float);
    CHECK(tc_to_host(s, tc_linear(s, x, weight, NULL), TC_F32, dense, size));
    CHECK(tc_to_host(s, tc_attention(s, q, q, q, false), TC_F32, attention, size));
    tc_close(s);
}

static void threads_change_no_bit(void)
{
    static float one[2][SHARED], three[2][SHARED];
    compute(1, one[0], one[1]);
    compute(3, three[0], three[1]);
    CHECK(memcmp(one, three, sizeof one) == 0);
}

/* More of them than there are rows and columns to share out. */
static void threads_may_be_many(void)
{
    struct err e = {0};
    tc_scope *s = tc_open(&(struct tc_settings){.device = "cpu", .threads = 200}, &e);
    tc_tensor *x = tc_full(s, TC_F32, SHAPE(1, 77, 8), 1);
    tc_tensor *weight = tc_linear_pack(s, tc_full(s, TC_F32, SHAPE(16, 8), 1), x);
    float y[77 * 16];
    CHECK_INT(tc_rank(weight), 3);
    CHECK(tc_to_host(s, tc_linear(s, x, weight, NULL), TC_F32, y, sizeof y));
    for (int i = 0; i < 77 * 16; i++)
        CHECK(y[i] == 8);
    tc_close(s);
}

static void pictures_beside_each_other_change_no_bit(void)
{
    tc_scope *s = tc_push(root);
    tc_rng *rng = tc_rng_new(s, 9);
    static float both[2 * 77 * 128], second[77 * 128];
    tc_tensor *x = tc_randn(s, rng, SHAPE(2, 77, 128));
    tc_tensor *weight = tc_linear_pack(s, tc_randn(s, rng, SHAPE(128, 128)), x);
    tc_tensor *alone = tc_slice(s, x, 0, 1, 2);
    CHECK(tc_to_host(s, tc_linear(s, x, weight, NULL), TC_F32, both, sizeof both));
    CHECK(
        tc_to_host(s, tc_linear(s, alone, weight, NULL), TC_F32, second, sizeof second));
    CHECK(memcmp(both + 77 * 128, second, sizeof second) == 0);
    tc_pop(s, NULL);
}

int main(void)
{
    struct err e = {0};
    root = tc_open(&(struct tc_settings){.device = "cpu", .threads = 3}, &e);
    CHECK(root);
    if (!root)
        return CHECK_EXIT();
    RUN(packed_weights_make_the_same_layer);
    RUN(gates_are_the_definition);
    RUN(gates_are_right_far_out);
    RUN(attention_is_the_definition);
    RUN(numbers_that_are_not_finite_show);
    RUN(pictures_beside_each_other_change_no_bit);
    tc_close(root);
    RUN(threads_change_no_bit);
    RUN(threads_may_be_many);
    CHECK_INT(tc_live_tensors(), 0);
    return CHECK_EXIT();
}
