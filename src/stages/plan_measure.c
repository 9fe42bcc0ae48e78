/* plan_measure.c: measures how fast a device computes. Leaves what there is to compute to
 * plan_work.c. */
#include "stages/plan_work.h"

#include <time.h>

#define LEAST_SECONDS 0.1 /* of one measurement */

/* How fast a device computes. */
struct speed {
    double convolutions, products, bytes; /* of struct tc_work, a second */
    double call;                          /* seconds that an operation takes at least */
};

/* What is measured: a convolution [2,C,h,w] with 3x3 windows and a product of the same
 * pictures' tokens, as a network has them one level below its full size. */
struct sample {
    int64_t channels, height, width;
    enum tc_dtype dtype;
    tc_tensor *x, *kernel, *bias, *tokens, *matrix, *small;
};

typedef void sample_fn(tc_scope *s, const struct sample *sample);

static void convolve(tc_scope *s, const struct sample *sample)
{
    tc_conv2d(s, sample->x, sample->kernel, sample->bias, 1, 1);
}

static void multiply(tc_scope *s, const struct sample *sample)
{
    tc_linear(s, sample->tokens, sample->matrix, NULL);
}

static void pass_through(tc_scope *s, const struct sample *sample)
{
    tc_silu(s, sample->x);
}

static void call(tc_scope *s, const struct sample *sample)
{
    tc_silu(s, sample->small);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Seconds of one run, of so many that the clock is fine enough. */
static double time_one(tc_scope *up, sample_fn *run, const struct sample *sample)
{
    double passed = 0;
    int64_t count = 1;
    for (; passed < LEAST_SECONDS && tc_ok(up); count *= 2) {
        double start = now();
        for (int64_t i = 0; i < count; i++) {
            tc_scope *s = tc_push(up);
            run(s, sample);
            tc_pop(s, NULL);
        }
        tc_all_finite(up, sample->small); /* waits for the device */
        passed = now() - start;
    }
    return passed / (double)(count / 2);
}

/* What one run costs, as networks are counted. */
static struct tc_work price(tc_scope *up, sample_fn *run, const struct sample *sample)
{
    struct tc_work work = {0};
    tc_scope *s = tc_push(up);
    tc_count(s, &work);
    run(s, sample);
    tc_count(s, NULL);
    tc_pop(s, NULL);
    return work;
}

static void make_sample(tc_scope *s, struct sample *a)
{
    int64_t c = a->channels;
    a->x = tc_full(s, a->dtype, SHAPE(2, c, a->height, a->width), 0.5);
    a->kernel = tc_full(s, a->dtype, SHAPE(c, c, 3, 3), 0.01);
    a->kernel = tc_conv2d_pack(s, a->kernel, a->x, 1, 1);
    a->bias = tc_full(s, a->dtype, SHAPE(c), 0);
    a->tokens = tc_full(s, a->dtype, SHAPE(2 * a->height * a->width, c), 0.5);
    a->matrix = tc_full(s, a->dtype, SHAPE(4 * c, c), 0.01);
    a->matrix = tc_linear_pack(s, a->matrix, a->tokens);
    a->small = tc_full(s, a->dtype, SHAPE(16), 0.5);
}

static bool measure(tc_scope *root, struct sample sample, struct speed *speed,
                    struct err *e)
{
    tc_scope *s = tc_push(root);
    make_sample(s, &sample);
    struct tc_work convolution = price(s, convolve, &sample);
    struct tc_work product = price(s, multiply, &sample);
    struct tc_work pass = price(s, pass_through, &sample);
    speed->call = time_one(s, call, &sample);
    speed->convolutions = convolution.convolutions / time_one(s, convolve, &sample);
    speed->products = product.products / time_one(s, multiply, &sample);
    speed->bytes = pass.bytes / time_one(s, pass_through, &sample);
    bool ok = tc_check(s, e);
    tc_pop(s, NULL);
    return ok;
}

static double seconds_of(const struct tc_work *work, const struct speed *speed)
{
    return work->convolutions / speed->convolutions + work->products / speed->products +
           work->bytes / speed->bytes + work->calls * speed->call;
}

static bool add_drawing(const struct plan *p, tc_scope *root, const struct tc_work *work,
                        double *seconds, struct err *e)
{
    const struct diffuser *d = &p->diffusers[0];
    enum dtype_mode asked = p->run->options->dtype;
    bool half = asked == DTYPE_AUTO ? !tc_is_cpu(root) : asked != DTYPE_FP32;
    int64_t below = 2 * diffuser_factor(d);
    struct sample sample = {.channels = d->unet.block_out_channels[d->unet.levels > 1],
                            .height = p->height / below,
                            .width = p->width / below,
                            .dtype = !half                 ? TC_F32
                                     : asked == DTYPE_BF16 ? TC_BF16
                                                           : TC_F16};
    struct speed speed;
    if (!measure(root, sample, &speed, e))
        return false;
    *seconds += seconds_of(work, &speed);
    return true;
}

static bool add_mixing(const struct plan *p, tc_scope *root, const struct tc_work *work,
                       double *seconds, struct err *e)
{
    const struct vqgan_config *c = &p->vqgan.config;
    struct sample sample = {.channels = c->ch * c->ch_mult[c->levels > 1],
                            .height = p->vq_height / 2,
                            .width = p->vq_width / 2,
                            .dtype = TC_F32};
    struct speed speed;
    if (!measure(root, sample, &speed, e))
        return false;
    *seconds += seconds_of(work, &speed);
    return true;
}

bool plan_measure(const struct plan *p, const struct plan_work *work, double *seconds,
                  struct err *e)
{
    const struct options *o = p->run->options;
    struct tc_settings settings = {
        .device = o->device, .threads = o->threads, .deterministic = o->deterministic};
    tc_scope *root = tc_open(&settings, e);
    *seconds = 0;
    bool ok = root &&
              (work->draw.calls == 0 || add_drawing(p, root, &work->draw, seconds, e)) &&
              (work->mix.calls == 0 || add_mixing(p, root, &work->mix, seconds, e));
    tc_close(root);
    return ok;
}
