// tc_dense.cpp: shares a dense layer's rows and columns out to threads, in blocks that
// stay in a cache. Leaves the arithmetic to tc_product.cpp, whose panels they use.
#include "tc_dense.hpp"
#include "tc_internal.hpp"
#include "tc_product.hpp"
#include "tc_vector.hpp"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <vector>

static const int64_t BAND = 96;  // rows of a block, at most
static const int64_t GATED = 96; // columns of a GEGLU at a time

static int64_t round_up(int64_t n, int64_t unit)
{
    return (n + unit - 1) / unit * unit;
}

// Panels are made once, but that takes as long as the product with some hundred rows.
bool dense_suits(int64_t rows, int64_t out, int64_t in)
{
    bool pays = rows >= 256 || (rows >= 16 && out * in <= 1 << 18);
    return pays && out % PANEL_WIDTH == 0 && in % LANE == 0;
}

// weight [16,in] -> [in,16], two blocks of [8,8] at a time.
EACH_PROCESSOR static void fill_panel(const float *weight, int64_t in, float *to)
{
    for (int64_t i = 0; i < in; i += LANE) {
        for (int64_t o = 0; o < PANEL_WIDTH; o += LANE) {
            lane x[LANE];
            for (int k = 0; k < LANE; k++)
                x[k] = load(weight + (o + k) * in + i);
            transpose(x);
            for (int k = 0; k < LANE; k++)
                put(to + (i + k) * PANEL_WIDTH + o) = x[k];
        }
    }
}

at::Tensor dense_weights(const at::Tensor &weight)
{
    int64_t count = weight.size(0) / PANEL_WIDTH, in = weight.size(1),
            size = in * PANEL_WIDTH;
    // All that can fail comes before the first number changes its place.
    at::Tensor all = weight.view({count, in, PANEL_WIDTH});
    std::vector<float> rows((size_t)(at::get_num_threads() * size));
    float *panels = all.mutable_data_ptr<float>();
    at::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
        float *own = rows.data() + at::get_thread_num() * size;
        for (int64_t i = begin; i < end; i++) {
            std::copy_n(panels + i * size, size, own);
            fill_panel(own, in, panels + i * size);
        }
    });
    return all;
}

// Calls work(row, column, rows, columns) for blocks of [rows,columns], on all threads.
template <class Work> static void each_block(int64_t rows, int64_t columns, Work work)
{
    int64_t threads = at::get_num_threads(), bands = (rows + BAND - 1) / BAND,
            width = columns;
    if (bands < threads) // each takes some of the columns, too
        width = round_up((columns * bands + threads - 1) / threads, PANEL_WIDTH);
    else
        bands = round_up(bands, threads);
    int64_t height = round_up((rows + bands - 1) / bands, TILE_ROWS);
    int64_t down = (rows + height - 1) / height, across = (columns + width - 1) / width;
    at::parallel_for(0, down * across, 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; i++) {
            int64_t row = i / across * height, column = i % across * width;
            work(row, column, std::min(height, rows - row),
                 std::min(width, columns - column));
        }
    });
}

// What the blocks of a layer's result share.
struct layer {
    const float *x;      // [rows,in]
    const float *panels; // of [in,out]
    const float *bias;   // [out], or null
    int64_t in;
};

// Some rows and columns of the result -> c, whose rows are `line` apart
static void compute(const struct layer &l, int64_t row, int64_t column, int64_t rows,
                    int64_t columns, float *c, int64_t line)
{
    panels_multiply({.a = l.x + row * l.in,
                     .panels = l.panels + column * l.in,
                     .start = l.bias ? l.bias + column : nullptr,
                     .c = c,
                     .rows = rows,
                     .depth = l.in,
                     .columns = columns,
                     .a_line = l.in,
                     .start_line = 0,
                     .c_line = line});
}

static at::Tensor empty_like_rows(const at::Tensor &x, int64_t columns)
{
    c10::DimVector sizes(x.sizes());
    sizes.back() = columns;
    return at::empty(sizes, x.options());
}

// x [...,in] times panels, plus `bias` [columns] or zeros -> [...,columns]
static at::Tensor rows_times(const at::Tensor &x, const float *panels, const float *bias,
                             int64_t columns)
{
    at::Tensor rows_in = x.contiguous(), out = empty_like_rows(x, columns);
    struct layer l = {rows_in.const_data_ptr<float>(), panels, bias, x.size(-1)};
    float *c = out.mutable_data_ptr<float>();
    each_block(x.numel() / l.in, columns,
               [&](int64_t row, int64_t column, int64_t rows, int64_t some) {
                   compute(l, row, column, rows, some, c + row * columns + column,
                           columns);
               });
    return out;
}

static at::Tensor forward(const at::Tensor &x, const at::Tensor &panels,
                          const std::optional<at::Tensor> &bias)
{
    return rows_times(x, panels.const_data_ptr<float>(),
                      bias ? bias->const_data_ptr<float>() : nullptr,
                      panels.size(0) * PANEL_WIDTH);
}

namespace
{
struct recorded : torch::autograd::Function<recorded> {
    static at::Tensor forward(torch::autograd::AutogradContext *context,
                              const at::Tensor &x, const at::Tensor &panels,
                              const std::optional<at::Tensor> &bias)
    {
        context->save_for_backward({panels});
        return ::forward(x, panels, bias);
    }

    static torch::autograd::variable_list
    backward(torch::autograd::AutogradContext *context,
             const torch::autograd::variable_list &gradients)
    {
        tc_gradient_go_on();
        at::Tensor panels = context->get_saved_variables()[0];
        int64_t out = panels.size(0) * PANEL_WIDTH, in = panels.size(1);
        at::Tensor by_in = at::empty_like(panels);
        float *to = by_in.mutable_data_ptr<float>();
        panels_transpose(panels.const_data_ptr<float>(), in, out, to);
        return {rows_times(gradients[0], to, nullptr, in), at::Tensor(), at::Tensor()};
    }
};
} // namespace

static void check_fits(const at::Tensor &x, const at::Tensor &panels)
{
    TORCH_CHECK(x.device().is_cpu() && x.scalar_type() == at::kFloat &&
                    x.size(-1) == panels.size(1),
                "weights were packed for another layer");
}

at::Tensor dense(const at::Tensor &x, const at::Tensor &panels,
                 const std::optional<at::Tensor> &bias)
{
    check_fits(x, panels);
    return x.requires_grad() && at::GradMode::is_enabled()
               ? recorded::apply(x, panels, bias)
               : forward(x, panels, bias);
}

// value [rows,columns] times the GELU of gate -> y, whose rows are `line` apart
EACH_PROCESSOR static void apply_gate(const float *value, const float *gate, int64_t rows,
                                      int64_t columns, float *y, int64_t line)
{
    for (int64_t row = 0; row < rows; row++) {
        for (int64_t c = 0; c < columns; c += LANE, value += LANE, gate += LANE) {
            lane g;
            gelu(load(gate), g);
            put(y + row * line + c) = load(value) * g;
        }
    }
}

at::Tensor dense_geglu(const at::Tensor &x, const at::Tensor &panels,
                       const at::Tensor &bias)
{
    check_fits(x, panels);
    int64_t inner = panels.size(0) / 2 * PANEL_WIDTH;
    at::Tensor rows_in = x.contiguous(), out = empty_like_rows(x, inner);
    struct layer l = {rows_in.const_data_ptr<float>(), panels.const_data_ptr<float>(),
                      bias.const_data_ptr<float>(), x.size(-1)};
    float *y = out.mutable_data_ptr<float>();
    each_block(x.numel() / l.in, inner,
               [&](int64_t row, int64_t column, int64_t rows, int64_t columns) {
                   float value[BAND * GATED], gate[BAND * GATED];
                   for (int64_t end = column + columns; column < end; column += GATED) {
                       int64_t some = std::min(GATED, end - column);
                       compute(l, row, column, rows, some, value, some);
                       compute(l, row, inner + column, rows, some, gate, some);
                       apply_gate(value, gate, rows, some, y + row * inner + column,
                                  inner);
                   }
               });
    return out;
}
