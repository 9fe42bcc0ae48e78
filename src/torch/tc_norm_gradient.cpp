// tc_norm_gradient.cpp: the gradient of group normalisation with respect to pictures
// whose channels come last. Leaves going forward to libtorch.
#include "tc_norm_gradient.hpp"
#include "tc_vector.hpp"

#include <ATen/Parallel.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/native_group_norm.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <vector>

// Pixels whose sums are taken in f32, in one go whatever the number of threads.
static const int64_t CHUNK = 512;

// One picture: x, y's gradient dy and the result dx are [pixels,channels].
struct group_norm {
    const float *x, *dy;
    float *dx;
    const float *weight;      // [channels]
    const float *mean, *rstd; // [groups]
    int64_t pixels, channels, groups;
};

// Of each channel the sums of dy * x and of dy: [2,channels]
EACH_PROCESSOR static void add_up(const float *x, const float *dy, int64_t pixels,
                                  int64_t channels, float *sums)
{
    float *products = sums, *plain = sums + channels;
    for (int64_t p = 0; p < pixels; p++, x += channels, dy += channels) {
        for (int64_t c = 0; c < channels; c++) {
            products[c] += dy[c] * x[c];
            plain[c] += dy[c];
        }
    }
}

// dx = dy * a + x * b + c, channel by channel
EACH_PROCESSOR static void combine(const float *x, const float *dy, float *dx,
                                   int64_t pixels, int64_t channels, const float *a,
                                   const float *b, const float *c)
{
    for (int64_t p = 0; p < pixels; p++, x += channels, dy += channels, dx += channels)
        for (int64_t i = 0; i < channels; i++)
            dx[i] = dy[i] * a[i] + (x[i] * b[i] + c[i]);
}

// a, b and c of combine() from the sums: [3,channels]. ATen's GroupNormBackward has the
// formula.
static void coefficients(const struct group_norm &g, const std::vector<double> &sums,
                         std::vector<float> &out)
{
    int64_t each = g.channels / g.groups;
    double count = (double)(g.pixels * each);
    for (int64_t i = 0; i < g.groups; i++) {
        double product = 0, plain = 0, mean = g.mean[i], rstd = g.rstd[i];
        for (int64_t c = i * each; c < (i + 1) * each; c++) {
            product += g.weight[c] * sums[(size_t)c];
            plain += g.weight[c] * sums[(size_t)(g.channels + c)];
        }
        double b = (plain * mean - product) * rstd * rstd * rstd / count;
        double c0 = -b * mean - plain * rstd / count;
        for (int64_t c = i * each; c < (i + 1) * each; c++) {
            out[(size_t)c] = (float)(g.weight[c] * rstd);
            out[(size_t)(g.channels + c)] = (float)b;
            out[(size_t)(2 * g.channels + c)] = (float)c0;
        }
    }
}

static void backward_one(const struct group_norm &g)
{
    int64_t chunks = (g.pixels + CHUNK - 1) / CHUNK, width = 2 * g.channels;
    std::vector<float> part((size_t)(chunks * width)), all((size_t)(3 * g.channels));
    std::vector<double> sums((size_t)width);
    at::parallel_for(0, chunks, 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; i++)
            add_up(g.x + i * CHUNK * g.channels, g.dy + i * CHUNK * g.channels,
                   std::min(CHUNK, g.pixels - i * CHUNK), g.channels,
                   part.data() + i * width);
    });
    for (int64_t i = 0; i < chunks * width; i++)
        sums[(size_t)(i % width)] += part[(size_t)i];
    coefficients(g, sums, all);
    at::parallel_for(0, g.pixels, CHUNK, [&](int64_t begin, int64_t end) {
        int64_t at = begin * g.channels;
        combine(g.x + at, g.dy + at, g.dx + at, end - begin, g.channels, all.data(),
                all.data() + g.channels, all.data() + width);
    });
}

static at::Tensor backward(const at::Tensor &gradient, const at::Tensor &x,
                           const at::Tensor &weight, const at::Tensor &mean,
                           const at::Tensor &rstd)
{
    at::Tensor dy = gradient.contiguous(at::MemoryFormat::ChannelsLast);
    at::Tensor dx = at::empty_like(x);
    int64_t size = x.size(1) * x.size(2) * x.size(3);
    struct group_norm g = {};
    g.weight = weight.const_data_ptr<float>();
    g.pixels = x.size(2) * x.size(3);
    g.channels = x.size(1);
    g.groups = mean.size(1);
    for (int64_t i = 0; i < x.size(0); i++) {
        g.x = x.const_data_ptr<float>() + i * size;
        g.dy = dy.const_data_ptr<float>() + i * size;
        g.dx = dx.mutable_data_ptr<float>() + i * size;
        g.mean = mean.const_data_ptr<float>() + i * g.groups;
        g.rstd = rstd.const_data_ptr<float>() + i * g.groups;
        backward_one(g);
    }
    return dx;
}

namespace
{
struct recorded : torch::autograd::Function<recorded> {
    static at::Tensor forward(torch::autograd::AutogradContext *context,
                              const at::Tensor &x, int64_t groups,
                              const at::Tensor &weight, const at::Tensor &bias,
                              double eps)
    {
        auto [y, mean, rstd] = at::native_group_norm(
            x, weight, bias, x.size(0), x.size(1), x.size(2) * x.size(3), groups, eps);
        context->save_for_backward({x, weight, mean, rstd});
        return y;
    }

    static torch::autograd::variable_list
    backward(torch::autograd::AutogradContext *context,
             const torch::autograd::variable_list &gradients)
    {
        torch::autograd::variable_list saved = context->get_saved_variables();
        at::Tensor dx = ::backward(gradients[0], saved[0], saved[1], saved[2], saved[3]);
        return {dx, at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
    }
};
} // namespace

at::Tensor group_norm_recorded(const at::Tensor &x, int64_t groups,
                               const at::Tensor &weight, const at::Tensor &bias,
                               double eps)
{
    return recorded::apply(x, groups, weight, bias, eps);
}
