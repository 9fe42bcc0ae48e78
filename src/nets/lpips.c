/* lpips.c: VGG16's feature maps and the learned perceptual distance on them, as the lpips
 * package computes them with net="vgg". Leaves the pictures' range to the caller. */
#include "diffens/nets.h"

/* lpips: ScalingLayer */
static const float shift[3] = {-0.030f, -0.088f, -0.188f};
static const float scale[3] = {0.458f, 0.448f, 0.450f};

#define UNIT_EPS 1e-10 /* lpips: normalize_tensor */

static const int stage_length[VGG_TAPS] = {2, 2, 3, 3, 3};

int vgg_feature(int i)
{
    int stage = 0, before = 0;
    while (before + stage_length[stage] <= i)
        before += stage_length[stage++];
    return 2 * i + stage; /* each convolution has its ReLU, each stage its pool */
}

/* One of three numbers for each channel. [1,3,1,1] of the type of `like` */
static tc_tensor *per_channel(tc_scope *s, const float *values, tc_tensor *like)
{
    tc_tensor *x = tc_from_host(s, TC_F32, SHAPE(1, 3, 1, 1), values);
    return tc_cast(s, x, tc_dtype_of(like));
}

/* [B,3,H,W] -> [B,3,H,W] */
static tc_tensor *scale_input(tc_scope *up, tc_tensor *x)
{
    tc_scope *s = tc_push(up);

    x = tc_sub(s, x, per_channel(s, shift, x));
    x = tc_div(s, x, per_channel(s, scale, x));
    return tc_pop(s, tc_channels_last(s, x));
}

/* The convolutions of one stage, from the one at `first` on. [B,C',h,w] -> [B,C,h,w] */
static tc_tensor *stage(tc_scope *up, weights w, const struct vgg_config *c, int first,
                        int count, tc_tensor *x)
{
    tc_scope *s = tc_push(up);

    for (int i = first; i < first + count; i++) {
        weights node = w_at(w, "features.%d", vgg_feature(i));
        tc_tensor *h = nn_conv2d(s, node, x, c->channels[i], 3, 1, 1);
        x = tc_replace(s, x, tc_relu(s, h));
    }
    return tc_pop(s, x);
}

/* [B,C,h,w] -> [B,C,h,w] */
static tc_tensor *unit_length(tc_scope *up, tc_tensor *x)
{
    tc_scope *s = tc_push(up);
    tc_tensor *length = tc_add_scalar(s, tc_norm(s, x, 1), UNIT_EPS);
    return tc_pop(s, tc_div(s, x, length));
}

void vgg_unit_maps(tc_scope *s, weights w, const struct vgg_config *c, tc_tensor *x,
                   tc_tensor *maps[VGG_TAPS])
{
    tc_tensor *h = scale_input(s, x);
    for (int i = 0, first = 0; i < VGG_TAPS; first += stage_length[i++]) {
        if (i > 0)
            h = tc_max_pool2d(s, h, 2);
        h = stage(s, w, c, first, stage_length[i], h);
        maps[i] = unit_length(s, h);
    }
}

weights lpips_head(weights heads, int i)
{
    weights all[VGG_TAPS] = {
        w_at(heads, "lin0.model.1.weight"), w_at(heads, "lin1.model.1.weight"),
        w_at(heads, "lin2.model.1.weight"), w_at(heads, "lin3.model.1.weight"),
        w_at(heads, "lin4.model.1.weight")};
    return all[i];
}

/* [1,C,h,w], [M,C,h,w] -> [M] */
static tc_tensor *map_distance(tc_scope *up, weights head, tc_tensor *a, tc_tensor *b)
{
    tc_scope *s = tc_push(up);
    int64_t channels = tc_size(a, 1);

    tc_tensor *d = tc_sub(s, a, b);
    d = tc_mul(s, d, d);
    d = tc_mean(s, tc_mean(s, d, 3), 2); /* [M,C] */
    if (!head.node)
        return tc_pop(s, tc_sum(s, d, 1));
    tc_tensor *weight = w_tensor(s, head, SHAPE(1, channels, 1, 1));
    weight = tc_reshape(s, weight, SHAPE(channels));
    return tc_pop(s, tc_matmul(s, d, weight));
}

tc_tensor *lpips_distance(tc_scope *up, weights heads, tc_tensor *const a[VGG_TAPS],
                          tc_tensor *const b[VGG_TAPS])
{
    tc_scope *s = tc_push(up);

    tc_tensor *sum = NULL;
    for (int i = 0; i < VGG_TAPS; i++) {
        weights head = heads.node ? lpips_head(heads, i) : heads;
        tc_tensor *d = map_distance(s, head, a[i], b[i]);
        sum = i == 0 ? d : tc_add(s, sum, d);
    }
    return tc_pop(s, sum);
}
