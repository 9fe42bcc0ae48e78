// tc_winograd.cpp: 3x3 convolutions of stride 1 on the CPU by Winograd's F(2x2,3x3),
// which needs 16 multiplications where the definition needs 36 (Lavin and Gray, "Fast
// algorithms for convolutional neural networks", 2016). Leaves the choice of where it
// pays, and other convolutions, to tc_conv.cpp, and the products to tc_product.cpp.
#include "tc_winograd.hpp"
#include "tc_product.hpp"
#include "tc_vector.hpp"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <algorithm>
#include <memory>
#include <vector>

// Bytes of transformed tiles that a thread works on at a time, so that they stay in the
// cache, and the fewest tiles, below which the products read more weights than they use.
static const int64_t BLOCK_BYTES = 1 << 20, BLOCK_TILES = 96, PLANES = 16;

struct winograd {
    const float *x;        // [B,H,W,Cin]
    const float *u;        // 16 planes of panels of [Cin,Cout]
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

// G g G' of output channel `o`: w [3,3,Cin], into 16 planes of panels of [Cout,Cin].
EACH_PROCESSOR static void transform_weights(const float *w, float *u, int64_t o,
                                             int64_t out, int64_t in)
{
    for (int64_t c = 0; c < in; c += LANE) {
        lane t[4][3];
        for (int j = 0; j < 3; j++) {
            lane g0 = load(w + j * in + c), g1 = load(w + (3 + j) * in + c),
                 g2 = load(w + (6 + j) * in + c);
            t[0][j] = g0;
            t[1][j] = 0.5f * (g0 + g1 + g2);
            t[2][j] = 0.5f * (g0 - g1 + g2);
            t[3][j] = g2;
        }
        for (int i = 0; i < 4; i++) {
            int64_t plane = out * in;
            float *to = u + 4 * i * plane + panel_place(out, in, o, c);
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

// 16 planes of panels [depth,columns] -> those of the transposes.
static void transpose_planes(const float *u, int64_t depth, int64_t columns, float *to)
{
    int64_t size = depth * columns;
    at::parallel_for(0, PLANES, 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; i++)
            panels_transpose(u + i * size, depth, columns, to + i * size);
    });
}

at::Tensor winograd_weights(const at::Tensor &weight)
{
    at::Tensor w = weight.contiguous(at::MemoryFormat::ChannelsLast);
    int64_t out = w.size(0), in = w.size(1);
    at::Tensor u = at::empty({PLANES, out, in}, w.options()), by_out = at::empty_like(u);
    const float *from = w.const_data_ptr<float>();
    float *to = u.mutable_data_ptr<float>();
    at::parallel_for(0, out, 16, [&](int64_t begin, int64_t end) {
        for (int64_t o = begin; o < end; o++)
            transform_weights(from + o * 9 * in, to, o, out, in);
    });
    transpose_planes(to, out, in, by_out.mutable_data_ptr<float>());
    return by_out;
}

// The tiles from `first` on; v and m hold [16,count,Cin] and [16,count,Cout].
static void convolve_block(const struct winograd &g, int64_t first, int64_t count,
                           float *v, float *m)
{
    for (int64_t t = 0; t < count; t++) {
        const float *d[16];
        tile_inputs(g, first + t, d);
        transform_tile(d, v + t * g.in, count * g.in, g.in, g.mirrored);
    }
    for (int64_t i = 0; i < PLANES; i++)
        panels_multiply(v + i * count * g.in, count, g.u + i * g.in * g.out, g.in,
                        m + i * count * g.out, g.out);
    for (int64_t t = 0; t < count; t++) {
        float *y[4];
        tile_outputs(g, first + t, y);
        transform_back(m + t * g.out, count * g.out, g.bias, y, g.out, g.mirrored);
    }
}

// u: 16 planes of panels of [Cin,Cout].
static at::Tensor convolve(const at::Tensor &input, const float *u, int64_t out,
                           const float *bias, int64_t padding, bool mirrored)
{
    at::Tensor x = input.contiguous(at::MemoryFormat::ChannelsLast);
    int64_t rows = x.size(2) + 2 * padding - 2, columns = x.size(3) + 2 * padding - 2;
    at::Tensor y = at::empty({x.size(0), out, rows, columns}, x.options(),
                             at::MemoryFormat::ChannelsLast);
    std::vector<float> zeros((size_t)x.size(1));
    struct winograd g = {
        .x = x.const_data_ptr<float>(),
        .u = u,
        .y = y.mutable_data_ptr<float>(),
        .bias = bias,
        .zeros = zeros.data(),
        .in = x.size(1),
        .out = out,
        .height = x.size(2),
        .width = x.size(3),
        .rows = rows,
        .columns = columns,
        .down = (rows + 1) / 2,
        .across = (columns + 1) / 2,
        .padding = padding,
        .mirrored = mirrored,
    };
    int64_t tiles = x.size(0) * g.down * g.across, each = PLANES * (g.in + g.out);
    int64_t fit = BLOCK_BYTES / (int64_t)sizeof(float) / each;
    int64_t share = (tiles + at::get_num_threads() - 1) / at::get_num_threads();
    int64_t block = std::min(share, std::max(fit, BLOCK_TILES));
    at::parallel_for(0, (tiles + block - 1) / block, 1, [&](int64_t begin, int64_t end) {
        std::unique_ptr<float[]> v(new float[(size_t)(block * each)]);
        float *m = v.get() + PLANES * block * g.in;
        for (int64_t i = begin; i < end; i++)
            convolve_block(g, i * block, std::min(block, tiles - i * block), v.get(), m);
    });
    return y;
}

at::Tensor winograd_conv2d(const at::Tensor &x, const at::Tensor &u,
                           const at::Tensor &bias, int64_t padding)
{
    return convolve(x, u.const_data_ptr<float>(), u.size(1), bias.const_data_ptr<float>(),
                    padding, false);
}

at::Tensor winograd_conv2d_backward(const at::Tensor &gradient, const at::Tensor &u,
                                    int64_t padding)
{
    at::Tensor by_in = at::empty_like(u);
    float *panels = by_in.mutable_data_ptr<float>();
    transpose_planes(u.const_data_ptr<float>(), u.size(2), u.size(1), panels);
    return convolve(gradient, panels, u.size(2), nullptr, 2 - padding, true);
}
