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

// What is worked on at a time where the weights are the larger part.
static const int64_t DEEP_CHANNELS = 64, DEEP_TILES = 512;

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
    int64_t down, across;  // tiles of a picture
    int64_t tiles;         // of all pictures
    int64_t padding;
    bool mirrored; // the weights turned by half a turn
};

// G g G' of eight output channels, w [8,3,3,in], into planes of the panels of
// [in,columns], as columns from `column` on.
template <int SIDE>
IN_PLACE void transform_weights(const float *w, int64_t in, float *u, int64_t columns,
                                int64_t column)
{
    const int N = SIDE + 2;
    for (int64_t c = 0; c < in; c += LANE) {
        lane planes[N * N][LANE];
        for (int o = 0; o < LANE; o++) {
            const float *from = w + o * 9 * in + c;
            lane t[3][N];
            for (int j = 0; j < 3; j++) {
                lane g[3] = {load(from + j * in), load(from + (3 + j) * in),
                             load(from + (6 + j) * in)};
                transform<SIDE>::weights(g, t[j]);
            }
            for (int i = 0; i < N; i++) {
                lane g[3] = {t[0][i], t[1][i], t[2][i]}, row[N];
                transform<SIDE>::weights(g, row);
                for (int j = 0; j < N; j++)
                    planes[i * N + j][o] = row[j];
            }
        }
        for (int i = 0; i < N * N; i++) {
            transpose(planes[i]);
            for (int k = 0; k < LANE; k++)
                put(u + i * in * columns + panel_place(in, columns, c + k, column)) =
                    planes[i][k];
        }
    }
}

// The plane of points i and j. Mirrored, they change places along both sides, which is
// what mirroring the weights does to them.
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

// The weights w [columns,3,3,in] -> planes of panels of [in,columns].
EACH_PROCESSOR static void weights_of(int64_t side, const float *w, int64_t in, float *u,
                                      int64_t columns, int64_t column)
{
    if (side == 4)
        transform_weights<4>(w + column * 9 * in, in, u, columns, column);
    else
        transform_weights<2>(w + column * 9 * in, in, u, columns, column);
}

EACH_PROCESSOR static void inputs_of(const struct winograd &g, const float *const *d,
                                     float *v, int64_t plane)
{
    if (g.side == 4)
        transform_inputs<4>(d, v, plane, g.in, g.mirrored);
    else
        transform_inputs<2>(d, v, plane, g.in, g.mirrored);
}

// y: where the first of `channels` is
EACH_PROCESSOR static void outputs_of(const struct winograd &g, const float *m,
                                      int64_t plane, const float *bias, float *const *y,
                                      int64_t channels)
{
    if (g.side == 4)
        transform_outputs<4>(m, plane, bias, y, channels, g.mirrored);
    else
        transform_outputs<2>(m, plane, bias, y, channels, g.mirrored);
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
            *d++ =
                inside ? g.x + ((b * g.height + row) * g.width + column) * g.in : g.zeros;
        }
    }
}

// The outputs of tile `t` from channel `first` on, row by row.
static void find_outputs(const struct winograd &g, int64_t t, int64_t first, float **y)
{
    int64_t b = t / (g.down * g.across), top = t / g.across % g.down * g.side,
            left = t % g.across * g.side;
    for (int64_t row = top; row < top + g.side; row++) {
        for (int64_t column = left; column < left + g.side; column++) {
            bool inside = row < g.rows && column < g.columns;
            *y++ = inside
                       ? g.y + ((b * g.rows + row) * g.columns + column) * g.out + first
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
    at::Tensor u = at::empty({planes, out, in}, w.options());
    const float *from = w.const_data_ptr<float>();
    float *to = u.mutable_data_ptr<float>();
    at::parallel_for(0, out / LANE, 1, [&](int64_t begin, int64_t end) {
        for (int64_t o = begin; o < end; o++)
            weights_of(side, from, in, to, out, o * LANE);
    });
    return u;
}

// `count` tiles from `first` on -> v, rows of Cin, in planes that are `plane` apart
static void take_inputs(const struct winograd &g, int64_t first, int64_t count, float *v,
                        int64_t plane)
{
    for (int64_t t = 0; t < count; t++) {
        const float *d[MOST_PLANES];
        find_inputs(g, first + t, d);
        inputs_of(g, d, v + t * g.in, plane);
    }
}

// v [planes,count,Cin] of the tiles from `first` on times u, planes of panels of
// [Cin,channels] -> those channels of the outputs, by way of m [planes,count,channels].
static void make_outputs(const struct winograd &g, int64_t first, int64_t count,
                         const float *v, const float *u, int64_t channel,
                         int64_t channels, float *m)
{
    for (int64_t i = 0; i < g.planes; i++)
        panels_multiply({.a = v + i * count * g.in,
                         .panels = u + i * g.in * channels,
                         .start = nullptr,
                         .c = m + i * count * channels,
                         .rows = count,
                         .depth = g.in,
                         .columns = channels,
                         .a_line = g.in,
                         .start_line = 0,
                         .c_line = channels});
    for (int64_t t = 0; t < count; t++) {
        float *y[MOST_PLANES];
        find_outputs(g, first + t, channel, y);
        outputs_of(g, m + t * channels, count * channels,
                   g.bias ? g.bias + channel : nullptr, y, channels);
    }
}

static struct winograd geometry(const at::Tensor &x, int64_t out, int64_t side,
                                int64_t padding)
{
    int64_t rows = x.size(2) + 2 * padding - 2, columns = x.size(3) + 2 * padding - 2;
    struct winograd g = {};
    g.x = x.const_data_ptr<float>();
    g.in = x.size(1);
    g.out = out;
    g.height = x.size(2);
    g.width = x.size(3);
    g.rows = rows;
    g.columns = columns;
    g.side = side;
    g.planes = (side + 2) * (side + 2);
    g.down = (rows + side - 1) / side;
    g.across = (columns + side - 1) / side;
    g.tiles = x.size(0) * g.down * g.across;
    g.padding = padding;
    return g;
}

static at::Tensor outputs_for(const at::Tensor &x, const struct winograd &g)
{
    return at::empty({x.size(0), g.out, g.rows, g.columns}, x.options(),
                     at::MemoryFormat::ChannelsLast);
}

// u: planes of panels of [Cin,Cout].
static at::Tensor convolve(const at::Tensor &input, const at::Tensor &u,
                           const float *bias, int64_t padding, bool mirrored)
{
    at::Tensor x = input.contiguous(at::MemoryFormat::ChannelsLast);
    struct winograd g = geometry(x, u.size(1), u.size(0) == MOST_PLANES ? 4 : 2, padding);
    std::vector<float> zeros((size_t)g.in);
    at::Tensor y = outputs_for(x, g);
    g.y = y.mutable_data_ptr<float>();
    g.bias = bias;
    g.zeros = zeros.data();
    g.mirrored = mirrored;
    const float *weights = u.const_data_ptr<float>();
    int64_t each = g.planes * (g.in + g.out);
    int64_t fit = BLOCK_BYTES / (int64_t)sizeof(float) / each;
    int64_t share = (g.tiles + at::get_num_threads() - 1) / at::get_num_threads();
    int64_t block = std::min(share, std::max(fit, BLOCK_TILES));
    at::parallel_for(
        0, (g.tiles + block - 1) / block, 1, [&](int64_t begin, int64_t end) {
            std::unique_ptr<float[]> v(new float[(size_t)(block * each)]);
            for (int64_t i = begin; i < end; i++) {
                int64_t first = i * block, count = std::min(block, g.tiles - first);
                float *m = v.get() + g.planes * count * g.in;
                take_inputs(g, first, count, v.get(), count * g.in);
                make_outputs(g, first, count, v.get(), weights, 0, g.out, m);
            }
        });
    return y;
}

at::Tensor winograd_conv2d(const at::Tensor &x, const at::Tensor &u,
                           const at::Tensor &bias, int64_t padding)
{
    return convolve(x, u, bias.const_data_ptr<float>(), padding, false);
}

at::Tensor winograd_conv2d_backward(const at::Tensor &gradient, const at::Tensor &u,
                                    int64_t padding)
{
    at::Tensor by_in = at::empty({u.size(0), u.size(2), u.size(1)}, u.options());
    transpose_planes(u.const_data_ptr<float>(), u.size(0), u.size(2), u.size(1),
                     by_in.mutable_data_ptr<float>());
    return convolve(gradient, by_in, nullptr, 2 - padding, true);
}

// Some output channels at a time, of all of the tiles from `first` on.
static void convolve_deep(const struct winograd &g, const float *w, int64_t first,
                          int64_t count, float *v)
{
    at::parallel_for(0, count, 8, [&](int64_t begin, int64_t end) {
        take_inputs(g, first + begin, end - begin, v + begin * g.in, count * g.in);
    });
    int64_t groups = (g.out + DEEP_CHANNELS - 1) / DEEP_CHANNELS;
    at::parallel_for(0, groups, 1, [&](int64_t begin, int64_t end) {
        int64_t size = g.planes * DEEP_CHANNELS;
        std::unique_ptr<float[]> u(new float[(size_t)(size * (g.in + count))]);
        for (int64_t i = begin; i < end; i++) {
            int64_t o = i * DEEP_CHANNELS, channels = std::min(DEEP_CHANNELS, g.out - o);
            for (int64_t c = 0; c < channels; c += LANE)
                weights_of(g.side, w + o * 9 * g.in, g.in, u.get(), channels, c);
            make_outputs(g, first, count, v, u.get(), o, channels, u.get() + size * g.in);
        }
    });
}

at::Tensor winograd_conv2d_deep(const at::Tensor &input, const at::Tensor &weight,
                                const std::optional<at::Tensor> &bias, int64_t padding)
{
    at::Tensor x = input.contiguous(at::MemoryFormat::ChannelsLast),
               w = weight.contiguous(at::MemoryFormat::ChannelsLast);
    struct winograd g = geometry(x, w.size(0), 2, padding);
    std::vector<float> zeros((size_t)g.in);
    at::Tensor y = outputs_for(x, g);
    g.y = y.mutable_data_ptr<float>();
    g.bias = bias ? bias->const_data_ptr<float>() : nullptr;
    g.zeros = zeros.data();
    int64_t most = std::min(g.tiles, DEEP_TILES);
    at::Tensor v = at::empty({g.planes, most, g.in}, x.options());
    for (int64_t first = 0; first < g.tiles; first += most)
        convolve_deep(g, w.const_data_ptr<float>(), first,
                      std::min(most, g.tiles - first), v.mutable_data_ptr<float>());
    return y;
}
