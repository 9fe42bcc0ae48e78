// tc_norm.cpp: group norms, alone and with the SiLU that follows most of them; for
// channels-last f32 on the CPU in two passes over the numbers, which with libtorch's own
// are four. Leaves other devices, types and layouts to libtorch, and gradients to
// tc_norm_gradient.cpp.
#include "tc_internal.hpp"
#include "tc_norm_gradient.hpp"
#include "tc_vector.hpp"

#include <ATen/Parallel.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/group_norm.h>
#include <ATen/ops/silu.h>

#include <algorithm>
#include <cmath>
#include <vector>

// Pixels whose sums are taken in f32; those of more are added up in f64, in an order that
// does not depend on the number of threads.
static const int64_t CHUNK = 256;

// One norm; the pixels of one picture are rows of `channels`.
struct norm {
    const float *x, *weight, *bias;
    float *y;
    int64_t batch, pixels, channels, groups;
    double eps;
    bool silu;
};

// Sums, and sums of squares, of how far `count` lanes of `pixels` rows are from `base`,
// which spares what a large mean would cost in accuracy.
template <int count>
static inline __attribute__((always_inline)) void
add_columns(const float *x, int64_t pixels, int64_t channels, const float *base,
            float *sums, float *squares)
{
    lane sum[count] = {}, square[count] = {};
    for (int64_t p = 0; p < pixels; p++) {
        for (int i = 0; i < count; i++) {
            lane v = load(x + p * channels + i * LANE) - load(base + i * LANE);
            sum[i] += v;
            square[i] += v * v;
        }
    }
    for (int i = 0; i < count; i++) {
        put(sums + i * LANE) = sum[i];
        put(squares + i * LANE) = square[i];
    }
}

EACH_PROCESSOR static void sum_chunk(const float *x, int64_t pixels, int64_t channels,
                                     const float *base, float *sums, float *squares)
{
    int64_t c = 0;
    for (; c + 4 * LANE <= channels; c += 4 * LANE)
        add_columns<4>(x + c, pixels, channels, base + c, sums + c, squares + c);
    for (; c < channels; c += LANE)
        add_columns<1>(x + c, pixels, channels, base + c, sums + c, squares + c);
}

// y = x * scale + shift and, with `silu`, the SiLU of that.
EACH_PROCESSOR static void apply(const float *x, float *y, int64_t pixels,
                                 int64_t channels, const float *scale, const float *shift,
                                 bool silu)
{
    for (int64_t p = 0; p < pixels; p++) {
        for (int64_t c = 0; c < channels; c += LANE) {
            lane v = load(x + p * channels + c) * load(scale + c) + load(shift + c);
            if (silu) {
                lane e;
                exponential(-v, e);
                v = v / (1.0f + e);
            }
            put(y + p * channels + c) = v;
        }
    }
}

// The mean and variance of each group of a picture whose first pixel is `base`, as a
// scale and a shift of each channel. sums: [chunks,2,channels]
static void settle(const struct norm &n, const float *base, const float *sums,
                   int64_t chunks, float *scale, float *shift)
{
    int64_t width = n.channels / n.groups;
    double pixels = (double)n.pixels, count = (double)width * pixels;
    std::vector<double> sum((size_t)width), square((size_t)width);
    for (int64_t first = 0; first < n.channels; first += width) {
        double mean = 0, variance = 0;
        for (int64_t c = 0; c < width; c++) {
            sum[c] = square[c] = 0;
            for (int64_t k = 0; k < chunks; k++) {
                sum[c] += sums[2 * k * n.channels + first + c];
                square[c] += sums[(2 * k + 1) * n.channels + first + c];
            }
            mean += (sum[c] + pixels * base[first + c]) / count;
        }
        for (int64_t c = 0; c < width; c++) {
            double apart = base[first + c] - mean;
            variance += (square[c] + 2 * sum[c] * apart + pixels * apart * apart) / count;
        }
        double rate = 1 / std::sqrt(std::max(variance, 0.0) + n.eps);
        for (int64_t c = first; c < first + width; c++) {
            scale[c] = (float)(rate * n.weight[c]);
            shift[c] = (float)(n.bias[c] - mean * rate * n.weight[c]);
        }
    }
}

static void run(const struct norm &n)
{
    int64_t chunks = (n.pixels + CHUNK - 1) / CHUNK, row = n.channels;
    std::vector<float> sums((size_t)(n.batch * chunks * 2 * row));
    std::vector<float> factors((size_t)(n.batch * 2 * row));
    auto each_chunk = [&](auto work) {
        at::parallel_for(0, n.batch * chunks, 1, [&](int64_t begin, int64_t end) {
            for (int64_t i = begin; i < end; i++) {
                int64_t b = i / chunks, first = i % chunks * CHUNK;
                work(i, b, (b * n.pixels + first) * row,
                     std::min(CHUNK, n.pixels - first));
            }
        });
    };
    each_chunk([&](int64_t i, int64_t b, int64_t at, int64_t pixels) {
        float *to = sums.data() + 2 * i * row;
        sum_chunk(n.x + at, pixels, row, n.x + b * n.pixels * row, to, to + row);
    });
    for (int64_t b = 0; b < n.batch; b++) {
        float *to = factors.data() + 2 * b * row;
        settle(n, n.x + b * n.pixels * row, sums.data() + 2 * b * chunks * row, chunks,
               to, to + row);
    }
    each_chunk([&](int64_t, int64_t b, int64_t at, int64_t pixels) {
        const float *of = factors.data() + 2 * b * row;
        apply(n.x + at, n.y + at, pixels, row, of, of + row, n.silu);
    });
}

static bool suits(const at::Tensor &x, const at::Tensor &weight, const at::Tensor &bias)
{
    return x.device().is_cpu() && x.scalar_type() == at::kFloat && x.dim() == 4 &&
           x.size(1) % LANE == 0 && x.is_contiguous(at::MemoryFormat::ChannelsLast) &&
           weight.scalar_type() == at::kFloat && weight.is_contiguous() &&
           weight.numel() == x.size(1) && bias.scalar_type() == at::kFloat &&
           bias.is_contiguous() && bias.numel() == x.size(1);
}

static at::Tensor group_norm(const at::Tensor &x, int groups, const at::Tensor &weight,
                             const at::Tensor &bias, double eps, bool silu)
{
    TORCH_CHECK(x.size(1) % groups == 0, groups, " groups do not divide");
    if (x.is_meta())
        return at::empty_like(x);
    bool records = x.requires_grad() && at::GradMode::is_enabled(),
         suited = suits(x, weight, bias);
    if (records || !suited) {
        at::Tensor y = records && suited
                           ? group_norm_recorded(x, groups, weight, bias, eps)
                           : at::group_norm(x, groups, weight, bias, eps);
        return silu ? at::silu(y) : y;
    }
    at::Tensor y = at::empty_like(x, at::MemoryFormat::ChannelsLast);
    run({.x = x.const_data_ptr<float>(),
         .weight = weight.const_data_ptr<float>(),
         .bias = bias.const_data_ptr<float>(),
         .y = y.mutable_data_ptr<float>(),
         .batch = x.size(0),
         .pixels = x.size(2) * x.size(3),
         .channels = x.size(1),
         .groups = groups,
         .eps = eps,
         .silu = silu});
    return y;
}

tc_tensor *tc_group_norm(tc_scope *s, tc_tensor *x, int groups, tc_tensor *weight,
                         tc_tensor *bias, double eps)
{
    return tc_run(s, "group_norm", {x, weight, bias}, [&] {
        return group_norm(x->value, groups, weight->value, bias->value, eps, false);
    });
}

tc_tensor *tc_group_norm_silu(tc_scope *s, tc_tensor *x, int groups, tc_tensor *weight,
                              tc_tensor *bias, double eps)
{
    return tc_run(s, "group_norm_silu", {x, weight, bias}, [&] {
        return group_norm(x->value, groups, weight->value, bias->value, eps, true);
    });
}
