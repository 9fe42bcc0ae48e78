// tc_winograd.cpp: 3x3 convolutions of stride 1 on the CPU by Winograd's F(2x2,3x3) and
// F(4x4,3x3), which need 16 and 36 multiplications where the definition needs 36 and 144
// (Lavin and Gray, "Fast algorithms for convolutional neural networks", 2016). Leaves the
// choice of where they pay, and other convolutions, to tc_conv.cpp, and the products to
// tc_product.cpp.
#include "tc_winograd.hpp"
#include "tc_product.hpp"
#include "tc_vector.hpp"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <algorithm>
#include <memory>
#include <vector>

#define IN_PLACE static inline __attribute__((always_inline))

// Bytes of transformed tiles that a thread works on at a time, so that they stay in the
// cache, and the fewest tiles, below which the products read more weights than they use.
static const int64_t BLOCK_BYTES = 1 << 20, BLOCK_TILES = 48, MOST_PLANES = 36;

// The transforms along one side of a tile of SIDE outputs: polynomials are evaluated at
// SIDE + 2 points, the last of which is infinity, multiplied there, and interpolated.
// MIRROR[i] is the point at which mirrored weights have the value of those at point i.
template <int SIDE> struct transform;

// At 0, 1, -1.
template <> struct transform<2> {
    static constexpr int MIRROR[] = {3, 1, 2, 0};

    IN_PLACE void weights(const lane g[3], lane u[4])
    {
        u[0] = g[0];
        u[1] = 0.5f * (g[0] + g[1] + g[2]);
        u[2] = 0.5f * (g[0] - g[1] + g[2]);
        u[3] = g[2];
    }

    IN_PLACE void inputs(const lane d[4], lane v[4])
    {
        v[0] = d[0] - d[2];
        v[1] = d[1] + d[2];
        v[2] = d[2] - d[1];
        v[3] = d[1] - d[3];
    }

    IN_PLACE void outputs(const lane m[4], lane y[2])
    {
        y[0] = m[0] + m[1] + m[2];
        y[1] = m[1] - m[2] - m[3];
    }
};

// At 0, P, -P, 1/P, -1/P. Near 2/3 the error is least: half of that at 1/2. A point and
// its inverse have weights and inputs scaled so that mirroring exchanges them.
template <> struct transform<4> {
    static constexpr int MIRROR[] = {5, 3, 4, 1, 2, 0};
    static constexpr float P = 2.0f / 3, Q = 1 / P, P2 = P * P, Q2 = Q * Q,
                           P_SCALE = P / (2 * (P2 * P2 - 1)),
                           Q_SCALE = Q / (2 * (Q2 * Q2 - 1));

    IN_PLACE void weights(const lane g[3], lane u[6])
    {
        lane at_p = Q * g[0] + P * g[2], at_q = P * g[0] + Q * g[2];
        u[0] = g[0];
        u[1] = at_p + g[1];
        u[2] = at_p - g[1];
        u[3] = at_q + g[1];
        u[4] = at_q - g[1];
        u[5] = g[2];
    }

    IN_PLACE void inputs(const lane d[6], lane v[6])
    {
        lane even_p = P_SCALE * d[4] - (P_SCALE * Q2) * d[2],
             odd_p = (P_SCALE * P) * d[3] - (P_SCALE * Q) * d[1],
             even_q = Q_SCALE * d[4] - (Q_SCALE * P2) * d[2],
             odd_q = (Q_SCALE * Q) * d[3] - (Q_SCALE * P) * d[1];
        v[0] = d[0] - (P2 + Q2) * d[2] + d[4];
        v[1] = even_p + odd_p;
        v[2] = even_p - odd_p;
        v[3] = even_q + odd_q;
        v[4] = even_q - odd_q;
        v[5] = d[1] - (P2 + Q2) * d[3] + d[5];
    }

    IN_PLACE void outputs(const lane m[6], lane y[4])
    {
        lane even_p = m[1] + m[2], odd_p = m[1] - m[2], even_q = m[3] + m[4],
             odd_q = m[3] - m[4];
        y[0] = m[0] + even_p + even_q;
        y[1] = P * odd_p + Q * odd_q;
        y[2] = P2 * even_p + Q2 * even_q;
        y[3] = (P * P2) * odd_p + (Q * Q2) * odd_q + m[5];
    }
};

struct winograd {
    const float *x;        // [B,H,W,Cin]
    const float *u;        // planes of panels of [Cin,Cout]
    float *y;              // [B,rows,columns,Cout]
    const float *bias;     // [Cout], or null
    const float *zeros;    // [Cin]: what lies outside of the picture
    int64_t in, out;       // channels
    int64_t height, width; // of x
    int64_t rows, columns; // of y
    int64_t side;          // of a tile's outputs
    int64_t planes;        // one for each pair of points
    int64_t down, across;  // tiles
    int64_t padding;
    bool mirrored; // the weights turned by half a turn
};

// G g G' of output channel `o`: w [3,3,Cin], into planes of panels of [Cout,Cin].
template <int SIDE>
IN_PLACE void transform_weights(const float *w, float *u, int64_t o, int64_t out,
                                int64_t in)
{
    const int N = SIDE + 2;
    for (int64_t c = 0; c < in; c += LANE) {
        lane t[3][N];
        for (int j = 0; j < 3; j++) {
            lane g[3] = {load(w + j * in + c), load(w + (3 + j) * in + c),
                         load(w + (6 + j) * in + c)};
            transform<SIDE>::weights(g, t[j]);
        }
        float *to = u + panel_place(out, in, o, c);
        for (int i = 0; i < N; i++) {
            lane g[3] = {t[0][i], t[1][i], t[2][i]}, row[N];
            transform<SIDE>::weights(g, row);
            for (int j = 0; j < N; j++)
                put(to + (i * N + j) * out * in) = row[j];
        }
    }
}

// The plane of points i and j. Mirrored, they change places along both sides, which is what
// mirroring the weights does to them.
template <int SIDE> IN_PLACE int plane_at(int i, int j, bool mirrored)
{
    const int *mirror = transform<SIDE>::MIRROR;
    return mirrored ? mirror[i] * (SIDE + 2) + mirror[j] : i * (SIDE + 2) + j;
}

// B' d B of one tile, whose pixels are d row by row, into planes.
template <int SIDE>
IN_PLACE void transform_inputs(const float *const *d, float *v, int64_t plane,
                               int64_t channels, bool mirrored)
{
    const int N = SIDE + 2;
    for (int64_t c = 0; c < channels; c += LANE) {
        lane t[N][N];
        for (int j = 0; j < N; j++) {
            lane column[N];
            for (int i = 0; i < N; i++)
                column[i] = load(d[i * N + j] + c);
            transform<SIDE>::inputs(column, t[j]);
        }
        for (int i = 0; i < N; i++) {
            lane row[N], at[N];
            for (int j = 0; j < N; j++)
                row[j] = t[j][i];
            transform<SIDE>::inputs(row, at);
            for (int j = 0; j < N; j++)
                put(v + plane_at<SIDE>(i, j, mirrored) * plane + c) = at[j];
        }
    }
}

// A' m A of one tile and the bias: its outputs y row by row, of which those that are null
// are outside.
template <int SIDE>
IN_PLACE void transform_outputs(const float *m, int64_t plane, const float *bias,
                                float *const *y, int64_t channels, bool mirrored)
{
    const int N = SIDE + 2;
    for (int64_t c = 0; c < channels; c += LANE) {
        lane t[N][SIDE], b = bias ? load(bias + c) : lane{};
        for (int j = 0; j < N; j++) {
            lane column[N];
            for (int i = 0; i < N; i++)
                column[i] = load(m + plane_at<SIDE>(i, j, mirrored) * plane + c);
            transform<SIDE>::outputs(column, t[j]);
        }
        for (int i = 0; i < SIDE; i++) {
            lane row[N], out[SIDE];
            for (int j = 0; j < N; j++)
                row[j] = t[j][i];
            transform<SIDE>::outputs(row, out);
            for (int j = 0; j < SIDE; j++)
                if (y[i * SIDE + j])
                    put(y[i * SIDE + j] + c) = out[j] + b;
        }
    }
}

EACH_PROCESSOR static void weights_of(int64_t side, const float *w, float *u, int64_t o,
                                      int64_t out, int64_t in)
{
    if (side == 4)
        transform_weights<4>(w, u, o, out, in);
    else
        transform_weights<2>(w, u, o, out, in);
}

EACH_PROCESSOR static void inputs_of(const struct winograd &g, const float *const *d,
                                     float *v, int64_t plane)
{
    if (g.side == 4)
        transform_inputs<4>(d, v, plane, g.in, g.mirrored);
    else
        transform_inputs<2>(d, v, plane, g.in, g.mirrored);
}

EACH_PROCESSOR static void outputs_of(const struct winograd &g, const float *m,
                                      int64_t plane, float *const *y)
{
    if (g.side == 4)
        transform_outputs<4>(m, plane, g.bias, y, g.out, g.mirrored);
    else
        transform_outputs<2>(m, plane, g.bias, y, g.out, g.mirrored);
}

// The pixels under tile `t`, row by row.
static void find_inputs(const struct winograd &g, int64_t t, const float **d)
{
    int64_t b = t / (g.down * g.across), n = g.side + 2,
            top = t / g.across % g.down * g.side - g.padding,
            left = t % g.across * g.side - g.padding;
    for (int64_t row = top; row < top + n; row++) {
        for (int64_t column = left; column < left + n; column++) {
            bool inside = row >= 0 && row < g.height && column >= 0 && column < g.width;
            *d++ = inside ? g.x + ((b * g.height + row) * g.width + column) * g.in
                          : g.zeros;
        }
    }
}

static void find_outputs(const struct winograd &g, int64_t t, float **y)
{
    int64_t b = t / (g.down * g.across), top = t / g.across % g.down * g.side,
            left = t % g.across * g.side;
    for (int64_t row = top; row < top + g.side; row++) {
        for (int64_t column = left; column < left + g.side; column++) {
            bool inside = row < g.rows && column < g.columns;
            *y++ = inside ? g.y + ((b * g.rows + row) * g.columns + column) * g.out
                          : nullptr;
        }
    }
}

// Planes of panels [depth,columns] -> those of the transposes.
static void transpose_planes(const float *u, int64_t planes, int64_t depth,
                             int64_t columns, float *to)
{
    int64_t size = depth * columns;
    at::parallel_for(0, planes, 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; i++)
            panels_transpose(u + i * size, depth, columns, to + i * size);
    });
}

at::Tensor winograd_weights(const at::Tensor &weight, int64_t side)
{
    at::Tensor w = weight.contiguous(at::MemoryFormat::ChannelsLast);
    int64_t out = w.size(0), in = w.size(1), planes = (side + 2) * (side + 2);
    at::Tensor u = at::empty({planes, out, in}, w.options()), by_out = at::empty_like(u);
    const float *from = w.const_data_ptr<float>();
    float *to = u.mutable_data_ptr<float>();
    at::parallel_for(0, out, 16, [&](int64_t begin, int64_t end) {
        for (int64_t o = begin; o < end; o++)
            weights_of(side, from + o * 9 * in, to, o, out, in);
    });
    transpose_planes(to, planes, out, in, by_out.mutable_data_ptr<float>());
    return by_out;
}

// The tiles from `first` on; v and m hold [planes,count,Cin] and [planes,count,Cout].
static void convolve_block(const struct winograd &g, int64_t first, int64_t count,
                           float *v, float *m)
{
    for (int64_t t = 0; t < count; t++) {
        const float *d[MOST_PLANES];
        find_inputs(g, first + t, d);
        inputs_of(g, d, v + t * g.in, count * g.in);
    }
    for (int64_t i = 0; i < g.planes; i++)
        panels_multiply({.a = v + i * count * g.in,
                         .panels = g.u + i * g.in * g.out,
                         .start = nullptr,
                         .c = m + i * count * g.out,
                         .rows = count,
                         .depth = g.in,
                         .columns = g.out,
                         .a_line = g.in,
                         .start_line = 0,
                         .c_line = g.out});
    for (int64_t t = 0; t < count; t++) {
        float *y[MOST_PLANES];
        find_outputs(g, first + t, y);
        outputs_of(g, m + t * g.out, count * g.out, y);
    }
}

// u: planes of panels of [Cin,Cout].
static at::Tensor convolve(const at::Tensor &input, const float *u, int64_t planes,
                           int64_t out, const float *bias, int64_t padding, bool mirrored)
{
    at::Tensor x = input.contiguous(at::MemoryFormat::ChannelsLast);
    int64_t rows = x.size(2) + 2 * padding - 2, columns = x.size(3) + 2 * padding - 2;
    at::Tensor y = at::empty({x.size(0), out, rows, columns}, x.options(),
                             at::MemoryFormat::ChannelsLast);
    std::vector<float> zeros((size_t)x.size(1));
    int64_t side = planes == MOST_PLANES ? 4 : 2;
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
        .side = side,
        .planes = planes,
        .down = (rows + side - 1) / side,
        .across = (columns + side - 1) / side,
        .padding = padding,
        .mirrored = mirrored,
    };
    int64_t tiles = x.size(0) * g.down * g.across, each = planes * (g.in + g.out);
    int64_t fit = BLOCK_BYTES / (int64_t)sizeof(float) / each;
    int64_t share = (tiles + at::get_num_threads() - 1) / at::get_num_threads();
    int64_t block = std::min(share, std::max(fit, BLOCK_TILES));
    at::parallel_for(0, (tiles + block - 1) / block, 1, [&](int64_t begin, int64_t end) {
        std::unique_ptr<float[]> v(new float[(size_t)(block * each)]);
        float *m = v.get() + planes * block * g.in;
        for (int64_t i = begin; i < end; i++)
            convolve_block(g, i * block, std::min(block, tiles - i * block), v.get(), m);
    });
    return y;
}

at::Tensor winograd_conv2d(const at::Tensor &x, const at::Tensor &u,
                           const at::Tensor &bias, int64_t padding)
{
    return convolve(x, u.const_data_ptr<float>(), u.size(0), u.size(1),
                    bias.const_data_ptr<float>(), padding, false);
}

at::Tensor winograd_conv2d_backward(const at::Tensor &gradient, const at::Tensor &u,
                                    int64_t padding)
{
    at::Tensor by_in = at::empty_like(u);
    float *panels = by_in.mutable_data_ptr<float>();
    transpose_planes(u.const_data_ptr<float>(), u.size(0), u.size(2), u.size(1), panels);
    return convolve(gradient, panels, u.size(0), u.size(2), nullptr, 2 - padding, true);
}
