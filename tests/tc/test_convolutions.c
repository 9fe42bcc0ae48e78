/* test_convolutions.c: convolutions as the CPU computes them in f32, packed and not,
 * forward and backward, against the definition in f64. Leaves small sums that can be
 * checked by hand to test_operations.c. */
#include "check.h"
#include "error_of.h"

#include <time.h>

static tc_scope *root;

/* How the CPU keeps weights. */
enum form { PLAIN, WINOGRAD_2, WINOGRAD_4, PANELS };

struct shape_case {
    int64_t batch, in, out, height, width;
    int kernel, stride, padding;
    enum form form;
};

static const struct shape_case cases[] = {
    {1, 8, 8, 16, 16, 3, 1, 1, WINOGRAD_4},
    {2, 16, 24, 17, 19, 3, 1, 1, WINOGRAD_4},
    {3, 8, 16, 18, 21, 3, 1, 0, WINOGRAD_4},
    {1, 8, 8, 15, 16, 3, 1, 2, WINOGRAD_4},
    {2, 32, 8, 8, 8, 3, 1, 1, WINOGRAD_4},
    {1, 8, 8, 2, 38, 3, 1, 1, WINOGRAD_4},
    {1, 320, 64, 33, 32, 3, 1, 1, WINOGRAD_4},
    {1, 320, 192, 17, 21, 3, 1, 1, WINOGRAD_2},
    {1, 320, 192, 19, 18, 3, 1, 0, WINOGRAD_2},
    {2, 32, 8, 3, 5, 3, 1, 1, PLAIN},
    {1, 72, 408, 8, 8, 3, 1, 1, PLAIN},
    {2, 640, 72, 16, 17, 3, 1, 1, PLAIN}, /* deep: formed anew each time */
    {2, 40, 8, 17, 13, 3, 2, 0, PLAIN},
    {2, 32, 16, 17, 13, 3, 2, 1, PANELS},
    {1, 4, 8, 16, 16, 3, 1, 1, PLAIN},
    {1, 8, 8, 16, 16, 1, 1, 0, PLAIN},
    {2, 24, 48, 9, 7, 1, 1, 0, PANELS},
};

static enum form form_of(tc_tensor *weight)
{
    if (tc_rank(weight) == 5)
        return PANELS;
    if (tc_rank(weight) == 4)
        return PLAIN;
    return tc_size(weight, 0) == 36 ? WINOGRAD_4 : WINOGRAD_2;
}

static tc_tensor *noise(tc_scope *s, tc_rng *rng, struct tc_shape shape)
{
    return tc_channels_last(s, tc_randn(s, rng, shape));
}

struct operands {
    tc_tensor *x, *weight, *bias, *upstream;
};

struct results {
    tc_tensor *y, *recorded; /* the same with and without a gradient in view */
    tc_tensor *gradient;     /* d(sum of upstream * y) / dx, through a leaf */
};

static struct results convolve(tc_scope *s, const struct shape_case *c,
                               const struct operands *o)
{
    struct results r;
    tc_scope *g = tc_push_grad(s);
    tc_tensor *leaf = tc_leaf(g, o->x);
    tc_tensor *out = tc_conv2d(g, leaf, o->weight, o->bias, c->stride, c->padding);
    r.y = tc_conv2d(s, o->x, o->weight, o->bias, c->stride, c->padding);
    r.recorded = tc_cast(s, tc_detach(g, out), TC_F64);
    r.gradient = tc_pop(g, tc_gradient(g, out, o->upstream, leaf));
    return r;
}

static void check_results(tc_scope *s, struct results r, struct results truth,
                          double limit)
{
    CHECK(error_of(s, r.y, truth.y) < limit);
    CHECK(error_of(s, r.recorded, truth.y) < limit);
    CHECK(error_of(s, r.gradient, truth.gradient) < limit);
}

static struct operands exact(tc_scope *s, const struct operands *o)
{
    return (struct operands){tc_cast(s, o->x, TC_F64), tc_cast(s, o->weight, TC_F64),
                             tc_cast(s, o->bias, TC_F64),
                             tc_cast(s, o->upstream, TC_F64)};
}

static void check_case(const struct shape_case *c)
{
    tc_scope *s = tc_push(root);
    tc_rng *rng = tc_rng_new(s, 3);
    int64_t rows = (c->height + 2 * c->padding - c->kernel) / c->stride + 1,
            columns = (c->width + 2 * c->padding - c->kernel) / c->stride + 1;
    struct operands o = {
        .x = noise(s, rng, SHAPE(c->batch, c->in, c->height, c->width)),
        .weight = noise(s, rng, SHAPE(c->out, c->in, c->kernel, c->kernel)),
        .bias = tc_randn(s, rng, SHAPE(c->out)),
        .upstream = noise(s, rng, SHAPE(c->batch, c->out, rows, columns))};
    struct operands precise = exact(s, &o);
    struct results truth = convolve(s, c, &precise);

    double limit = c->in > 100 ? 3e-6 : 2e-6; /* libtorch's own were seen at 2.4e-6 */
    check_results(s, convolve(s, c, &o), truth, limit);
    o.weight = tc_conv2d_pack(s, o.weight, o.x, c->stride, c->padding);
    CHECK_INT(form_of(o.weight), c->form);
    /* Winograd's larger tiles are less exact: 4.1e-6 was seen, of 320 channels. */
    check_results(s, convolve(s, c, &o), truth,
                  c->form == WINOGRAD_4 ? 2 * limit : limit);
    tc_pop(s, NULL);
}

static void every_way_to_compute_is_the_definition(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_case(&cases[i]);
}

static void packed_weights_serve_one_convolution(void)
{
    tc_scope *s = tc_push(root);
    tc_tensor *x = tc_zeros(s, TC_F32, SHAPE(1, 8, 16, 16));
    tc_tensor *weight = tc_zeros(s, TC_F32, SHAPE(8, 8, 3, 3));
    tc_tensor *bias = tc_zeros(s, TC_F32, SHAPE(8));
    tc_tensor *packed = tc_conv2d_pack(s, weight, x, 1, 1);
    CHECK(tc_conv2d(s, x, packed, bias, 1, 1) != NULL);
    CHECK(tc_conv2d(s, x, packed, bias, 2, 1) == NULL);
    tc_recover(root);
    CHECK(tc_conv2d(s, tc_cast(s, x, TC_F64), packed, bias, 1, 1) == NULL);
    tc_recover(root);
    CHECK(tc_conv2d(s, x, packed, NULL, 1, 1) == NULL);
    tc_recover(root);
    tc_pop(s, NULL);
}

static double seconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

enum { SHARED = 32 * 96 * 96 };

/* Returns how much of the processors' time was the calling thread's. */
static double convolve_packed(int threads, float *out)
{
    struct err e = {0};
    tc_scope *s = tc_open(&(struct tc_settings){.device = "cpu", .threads = threads}, &e);
    tc_rng *rng = tc_rng_new(s, 3);
    tc_tensor *x = noise(s, rng, SHAPE(1, 32, 96, 96)),
              *bias = tc_randn(s, rng, SHAPE(32));
    tc_tensor *weight = noise(s, rng, SHAPE(32, 32, 3, 3)), *y = NULL;
    tc_tensor *packed = tc_conv2d_pack(s, weight, x, 1, 1);
    double mine = seconds(CLOCK_THREAD_CPUTIME_ID),
           all = seconds(CLOCK_PROCESS_CPUTIME_ID);
    for (int i = 0; i < 20; i++)
        y = tc_conv2d(s, x, packed, bias, 1, 1);
    mine = seconds(CLOCK_THREAD_CPUTIME_ID) - mine;
    all = seconds(CLOCK_PROCESS_CPUTIME_ID) - all;
    CHECK(tc_to_host(s, y, TC_F32, out, SHARED * sizeof *out));
    tc_close(s);
    return mine / all;
}

static void threads_share_the_work_and_change_no_bit(void)
{
    static float one[SHARED], three[SHARED];
    CHECK(convolve_packed(1, one) > 0.95);
    CHECK(convolve_packed(3, three) < 0.6);
    CHECK(memcmp(one, three, sizeof one) == 0);
}

static int to_go; /* refuses after as many questions */

static bool go_on(struct err *e)
{
    return to_go-- > 0 || err_set(e, ERR_STOPPED, "enough");
}

/* Of three convolutions behind each other; false where it was refused. */
static bool gradient_after(int questions, float out[16 * 20 * 20], struct err *e)
{
    tc_scope *s = tc_push_grad(root);
    tc_rng *rng = tc_rng_new(s, 1);
    tc_tensor *leaf = tc_leaf(s, tc_randn(s, rng, SHAPE(1, 16, 20, 20)));
    tc_tensor *weight = tc_randn(s, rng, SHAPE(16, 16, 3, 3));
    tc_tensor *packed = tc_conv2d_pack(s, weight, leaf, 1, 1);
    tc_tensor *bias = tc_zeros(s, TC_F32, SHAPE(16)), *y = leaf;
    CHECK_INT(tc_rank(packed), 3);
    for (int i = 0; i < 3; i++)
        y = tc_conv2d(s, y, packed, bias, 1, 1);
    tc_tensor *upstream = tc_randn(s, rng, SHAPE(1, 16, 20, 20));
    to_go = questions;
    tc_interruptible(s, go_on);
    tc_tensor *gradient = tc_gradient(s, y, upstream, leaf);
    tc_interruptible(s, NULL);
    tc_to_host(s, gradient, TC_F32, out, 16 * 20 * 20 * sizeof *out);
    bool whole = tc_check(root, e);
    tc_recover(root);
    tc_pop(s, NULL);
    return whole;
}

/* It is asked once at the start and once a convolution. */
static void gradients_can_be_interrupted(void)
{
    float whole[16 * 20 * 20], again[16 * 20 * 20];
    struct err e = {0};
    CHECK(gradient_after(1000, whole, &e));
    for (int questions = 0; questions < 4; questions++) {
        e = (struct err){0};
        CHECK(!gradient_after(questions, again, &e));
        CHECK_INT(e.code, ERR_STOPPED);
        CHECK_STR(e.message, "enough");
    }
    e = (struct err){0};
    CHECK(gradient_after(4, again, &e));
    CHECK(memcmp(whole, again, sizeof whole) == 0);
}

int main(void)
{
    struct err e = {0};
    root = tc_open(&(struct tc_settings){.device = "cpu", .threads = 3}, &e);
    CHECK(root);
    if (!root)
        return CHECK_EXIT();
    RUN(every_way_to_compute_is_the_definition);
    RUN(packed_weights_serve_one_convolution);
    RUN(gradients_can_be_interrupted);
    tc_close(root);
    RUN(threads_share_the_work_and_change_no_bit);
    CHECK_INT(tc_live_tensors(), 0);
    return CHECK_EXIT();
}
