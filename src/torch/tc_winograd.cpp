// tc_winograd.cpp: 3x3 convolutions of stride 1 on the CPU by Winograd's F(2x2,3x3),
// which needs 16 multiplications where the definition needs 36 (Lavin and Gray, "Fast
// algorithms for convolutional neural networks", 2016). Leaves the choice of where it
// pays, and other convolutions, to tc_conv.cpp.
#include "tc_winograd.hpp"
#include "tc_vector.hpp"

#include <ATen/Parallel.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <vector>

// Bytes of transformed tiles that are worked on at a time, so that they stay in the
// cache, and the fewest tiles, below which the products read more weights than they use.
static const int64_t BLOCK_BYTES = 8 << 20, BLOCK_TILES = 128;

struct winograd {
    const float *x;        // [B,H,W,Cin]
    float *y;              // [B,rows,columns,Cout]
    const float *bias;     // [Cout], or null
    const float *zeros;    // [Cin]: what lies outside of the picture
    int64_t in, out;       // channels
    int64_t height, width; // of x
    int64_t rows, columns; // of y
    int64_t down, across;  // tiles of 2x2 outputs
    int64_t padding;
    bool mirrored; // the weights turned by half a turn
};

// G g G' of one output channel: w [3,3,Cin], to 16 planes of u.
EACH_PROCESSOR static void transform_weights(const float *w, float *u, int64_t plane,
                                             int64_t channels)
{
    for (int64_t c = 0; c < channels; c += LANE) {
        lane t[4][3];
        for (int j = 0; j < 3; j++) {
            lane g0 = load(w + j * channels + c), g1 = load(w + (3 + j) * channels + c),
                 g2 = load(w + (6 + j) * channels + c);
            t[0][j] = g0;
            t[1][j] = 0.5f * (g0 + g1 + g2);
            t[2][j] = 0.5f * (g0 - g1 + g2);
            t[3][j] = g2;
        }
        for (int i = 0; i < 4; i++) {
            float *to = u + 4 * i * plane + c;
            put(to) = t[i][0];
            put(to + plane) = 0.5f * (t[i][0] + t[i][1] + t[i][2]);
            put(to + 2 * plane) = 0.5f * (t[i][0] - t[i][1] + t[i][2]);
            put(to + 3 * plane) = t[i][2];
        }
    }
}

// The 4x4 pixels under tile `t`, row by row.
static void tile_inputs(const struct winograd &g, int64_t t, const float *d[16])
{
    int64_t b = t / (g.down * g.across), top = t / g.across % g.down * 2 - g.padding,
            left = t % g.across * 2 - g.padding;
    for (int i = 0; i < 16; i++) {
        int64_t row = top + i / 4, column = left + i % 4;
        bool inside = row >= 0 && row < g.height && column >= 0 && column < g.width;
        d[i] = inside ? g.x + ((b * g.height + row) * g.width + column) * g.in : g.zeros;
    }
}

// B' d B of one tile, into 16 planes. Mirrored, first and last change places along both
// sides, which is what mirroring the weights does to them.
EACH_PROCESSOR static void transform_tile(const float *const d[16], float *v,
                                          int64_t plane, int64_t channels, bool mirrored)
{
    int64_t first = mirrored ? 3 : 0, last = 3 - first;
    for (int64_t c = 0; c < channels; c += LANE) {
        lane t[4][4];
        for (int j = 0; j < 4; j++) {
            lane d0 = load(d[j] + c), d1 = load(d[4 + j] + c), d2 = load(d[8 + j] + c),
                 d3 = load(d[12 + j] + c);
            t[first][j] = d0 - d2;
            t[1][j] = d1 + d2;
            t[2][j] = d2 - d1;
            t[last][j] = d1 - d3;
        }
        for (int i = 0; i < 4; i++) {
            float *to = v + 4 * i * plane + c;
            put(to + first * plane) = t[i][0] - t[i][2];
            put(to + plane) = t[i][1] + t[i][2];
            put(to + 2 * plane) = t[i][2] - t[i][1];
            put(to + last * plane) = t[i][1] - t[i][3];
        }
    }
}

// A' m A of one tile and the bias: 2x2 outputs, of which those with y[i] null are
// outside. Mirrored as in transform_tile().
EACH_PROCESSOR static void transform_back(const float *m, int64_t plane,
                                          const float *bias, float *const y[4],
                                          int64_t channels, bool mirrored)
{
    int64_t first = mirrored ? 3 : 0, last = 3 - first;
    for (int64_t c = 0; c < channels; c += LANE) {
        lane t[2][4], b = bias ? load(bias + c) : lane{};
        for (int j = 0; j < 4; j++) {
            const float *from = m + j * plane + c;
            lane m0 = load(from + 4 * first * plane), m1 = load(from + 4 * plane),
                 m2 = load(from + 8 * plane), m3 = load(from + 4 * last * plane);
            t[0][j] = m0 + m1 + m2;
            t[1][j] = m1 - m2 - m3;
        }
        for (int i = 0; i < 2; i++) {
            if (y[2 * i])
                put(y[2 * i] + c) = t[i][first] + t[i][1] + t[i][2] + b;
            if (y[2 * i + 1])
                put(y[2 * i + 1] + c) = t[i][1] - t[i][2] - t[i][last] + b;
        }
    }
}

static void tile_outputs(const struct winograd &g, int64_t t, float *y[4])
{
    int64_t b = t / (g.down * g.across), top = t / g.across % g.down * 2,
            left = t % g.across * 2;
    for (int i = 0; i < 4; i++) {
        int64_t row = top + i / 2, column = left + i % 2;
        bool inside = row < g.rows && column < g.columns;
        y[i] = inside ? g.y + ((b * g.rows + row) * g.columns + column) * g.out : nullptr;
    }
}

at::Tensor winograd_weights(const at::Tensor &weight)
{
    at::Tensor w = weight.contiguous(at::MemoryFormat::ChannelsLast);
    int64_t out = w.size(0), in = w.size(1);
    at::Tensor u = at::empty({16, out, in}, w.options());
    const float *from = w.const_data_ptr<float>();
    float *to = u.mutable_data_ptr<float>();
    at::parallel_for(0, out, 16, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; i++)
            transform_weights(from + i * 9 * in, to + i * in, out * in, in);
    });
    return u;
}

// The tiles from `first` on: v and m hold [16,count,Cin] and [16,count,Cout].
static void convolve_block(const struct winograd &g, int64_t first, const at::Tensor &v,
                           const at::Tensor &u, const at::Tensor &m)
{
    int64_t count = v.size(1);
    float *in = v.mutable_data_ptr<float>(), *out = m.mutable_data_ptr<float>();
    at::parallel_for(0, count, 8, [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; t++) {
            const float *d[16];
            tile_inputs(g, first + t, d);
            transform_tile(d, in + t * g.in, v.stride(0), g.in, g.mirrored);
        }
    });
    at::Tensor product = m;
    at::bmm_out(product, v, u);
    at::parallel_for(0, count, 8, [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; t++) {
            float *y[4];
            tile_outputs(g, first + t, y);
            transform_back(out + t * g.out, m.stride(0), g.bias, y, g.out, g.mirrored);
        }
    });
}

// u [16,Cin,Cout], in any strides.
static at::Tensor convolve(const at::Tensor &input, const at::Tensor &u,
                           const float *bias, int64_t padding, bool mirrored)
{
    at::Tensor x = input.contiguous(at::MemoryFormat::ChannelsLast);
    int64_t rows = x.size(2) + 2 * padding - 2, columns = x.size(3) + 2 * padding - 2;
    at::Tensor y = at::empty({x.size(0), u.size(2), rows, columns}, x.options(),
                             at::MemoryFormat::ChannelsLast);
    std::vector<float> zeros((size_t)x.size(1));
    struct winograd g = {
        .x = x.const_data_ptr<float>(),
        .y = y.mutable_data_ptr<float>(),
        .bias = bias,
        .zeros = zeros.data(),
        .in = x.size(1),
        .out = u.size(2),
        .height = x.size(2),
        .width = x.size(3),
        .rows = rows,
        .columns = columns,
        .down = (rows + 1) / 2,
        .across = (columns + 1) / 2,
        .padding = padding,
        .mirrored = mirrored,
    };
    int64_t tiles = x.size(0) * g.down * g.across;
    int64_t fit = BLOCK_BYTES / (int64_t)(16 * sizeof(float)) / (g.in + g.out);
    int64_t block = std::min(tiles, std::max(fit, BLOCK_TILES));
    at::Tensor v = at::empty({16, block, g.in}, x.options());
    at::Tensor m = at::empty({16, block, g.out}, x.options());
    for (int64_t first = 0; first < tiles; first += block) {
        int64_t count = std::min(block, tiles - first);
        convolve_block(g, first, v.narrow(1, 0, count), u, m.narrow(1, 0, count));
    }
    return y;
}

at::Tensor winograd_conv2d(const at::Tensor &x, const at::Tensor &u,
                           const at::Tensor &bias, int64_t padding)
{
    return convolve(x, u.transpose(1, 2), bias.const_data_ptr<float>(), padding, false);
}

at::Tensor winograd_conv2d_backward(const at::Tensor &gradient, const at::Tensor &u,
                                    int64_t padding)
{
    return convolve(gradient, u, nullptr, 2 - padding, true);
}
