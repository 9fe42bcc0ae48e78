// tc_conv.cpp: convolutions, and the choice of how to compute them on this device. Leaves
// the arithmetic to libtorch, tc_winograd.cpp and tc_dense.cpp.
#include "tc_dense.hpp"
#include "tc_internal.hpp"
#include "tc_product.hpp"
#include "tc_winograd.hpp"

#include <ATen/ops/as_strided.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

// Few outputs of one picture for its channels: the deep levels of a UNet, which have most
// of its weights and little of its work.
static bool is_deep(int64_t outputs, int64_t channels)
{
    return outputs < 256 || 2 * outputs < channels;
}

static int64_t side_out(const at::Tensor &x, int dim, int64_t kernel, int stride,
                        int padding)
{
    return (x.size(dim) + 2 * padding - kernel) / stride + 1;
}

static int64_t outputs_of(const at::Tensor &x, const at::Tensor &weight, int stride,
                          int padding)
{
    return side_out(x, 2, weight.size(2), stride, padding) *
           side_out(x, 3, weight.size(3), stride, padding);
}

static bool suits_winograd(const at::Tensor &x, const at::Tensor &weight, int stride,
                           int padding)
{
    return x.device().is_cpu() && x.scalar_type() == at::kFloat &&
           weight.scalar_type() == at::kFloat && weight.dim() == 4 &&
           weight.size(2) == 3 && weight.size(3) == 3 && stride == 1 && padding <= 2 &&
           weight.size(0) % 8 == 0 && weight.size(1) % 8 == 0;
}

// The side of Winograd's tiles for which the weights' form is kept; 0: none. The forms
// take 16/9 and 4 times the memory of the plain weights, which is paid where they are
// few, or few for the outputs that they make.
static int64_t winograd_side(const at::Tensor &x, const at::Tensor &weight, int stride,
                             int padding)
{
    if (!suits_winograd(x, weight, stride, padding))
        return 0;
    int64_t outputs = outputs_of(x, weight, stride, padding);
    int64_t few = std::max<int64_t>(1 << 18, 512 * outputs);
    if (outputs >= 16 && weight.numel() <= few)
        return 4;
    return is_deep(outputs, weight.size(1)) ? 0 : 2;
}

// Whether it pays to make the weights' form each time.
static bool suits_winograd_deep(const at::Tensor &x, const at::Tensor &weight, int stride,
                                int padding)
{
    return suits_winograd(x, weight, stride, padding) && !at::GradMode::is_enabled() &&
           outputs_of(x, weight, stride, padding) >= 256;
}

// Weights are plain, [Cout,Cin,k,k], or in Winograd's form, [planes,Cout,Cin], or in
// panels of a dense layer on windows, [Cout/16,k,k,Cin,16].
static bool is_winograd(const at::Tensor &weight)
{
    return weight.dim() == 3;
}

static bool is_panels(const at::Tensor &weight)
{
    return weight.dim() == 5;
}

static at::Tensor rows_of(const at::Tensor &weight)
{
    return weight.permute({0, 2, 3, 1}).reshape({weight.size(0), -1});
}

// Windows of more than one pixel are copied: not where they are many.
static bool suits_panels(const at::Tensor &x, const at::Tensor &weight, int stride,
                         int padding)
{
    int64_t kernel = weight.size(2), outputs = outputs_of(x, weight, stride, padding);
    return x.device().is_cpu() && x.scalar_type() == at::kFloat &&
           weight.scalar_type() == at::kFloat && weight.size(1) % 8 == 0 &&
           (kernel == 1 || (stride > 1 && outputs <= 1024)) &&
           dense_suits(outputs, weight.size(0), weight.numel() / weight.size(0));
}

tc_tensor *tc_conv2d_pack(tc_scope *s, tc_tensor *weight, tc_tensor *x, int stride,
                          int padding)
{
    at::Tensor transformed;
    bool ok = tc_do(s, "conv2d_pack", {weight, x}, [&] {
        at::Tensor &w = weight->value;
        int64_t side = winograd_side(x->value, w, stride, padding);
        if (side > 0) {
            transformed = winograd_weights(w, side);
        } else if (suits_panels(x->value, w, stride, padding)) {
            at::Tensor rows = rows_of(w),
                       panels =
                           rows.view({-1, w.size(2), w.size(3), w.size(1), PANEL_WIDTH});
            dense_weights(rows); // the last that may fail: it takes their memory
            w = panels;
        }
    });
    if (!ok)
        return nullptr;
    return transformed.defined() ? tc_adopt(s, transformed) : weight;
}

namespace
{
// Recorded for gradients with respect to x; weights never require any.
struct recorded : torch::autograd::Function<recorded> {
    static at::Tensor forward(torch::autograd::AutogradContext *context,
                              const at::Tensor &x, const at::Tensor &u,
                              const at::Tensor &bias, int64_t padding)
    {
        context->save_for_backward({u});
        context->saved_data["padding"] = padding;
        return winograd_conv2d(x, u, bias, padding);
    }

    static torch::autograd::variable_list
    backward(torch::autograd::AutogradContext *context,
             const torch::autograd::variable_list &gradients)
    {
        tc_gradient_go_on();
        at::Tensor u = context->get_saved_variables()[0];
        int64_t padding = context->saved_data["padding"].toInt();
        return {winograd_conv2d_backward(gradients[0], u, padding), at::Tensor(),
                at::Tensor(), at::Tensor()};
    }
};
} // namespace

static at::Tensor conv2d_winograd(const at::Tensor &x, const at::Tensor &u,
                                  const std::optional<at::Tensor> &bias, int stride,
                                  int padding)
{
    TORCH_CHECK(bias && stride == 1 && x.dim() == 4 && x.size(1) == u.size(2) &&
                    x.scalar_type() == at::kFloat,
                "weights were packed for another convolution");
    return x.requires_grad() && at::GradMode::is_enabled()
               ? recorded::apply(x, u, *bias, (int64_t)padding)
               : winograd_conv2d(x, u, *bias, padding);
}

// libtorch has no shape rule of its own for every backend's kernel.
static at::Tensor conv2d_shape(const at::Tensor &x, const at::Tensor &weight, int stride,
                               int padding)
{
    TORCH_CHECK(x.dim() == 4 && weight.dim() == 4 && x.size(1) == weight.size(1));
    return at::empty({x.size(0), weight.size(0),
                      side_out(x, 2, weight.size(2), stride, padding),
                      side_out(x, 3, weight.size(3), stride, padding)},
                     x.options());
}

// Few outputs for many weights, on the CPU: one product reads the weights where they are,
// while libtorch would put them into another order first.
static bool suits_product(const at::Tensor &x, const at::Tensor &weight, int stride,
                          int padding)
{
    int64_t kernel = weight.size(2);
    return x.device().is_cpu() && x.scalar_type() == at::kFloat && kernel > 1 &&
           !at::GradMode::is_enabled() && weight.size(1) >= 32 &&
           weight.is_contiguous(at::MemoryFormat::ChannelsLast) &&
           is_deep(outputs_of(x, weight, stride, padding), weight.size(1));
}

// The windows of x as rows: [B,Cin,H,W] -> [B,Ho,Wo,k*k*Cin]
static at::Tensor windows(const at::Tensor &x, int64_t kernel, int stride, int padding)
{
    if (kernel == 1 && stride == 1 && padding == 0)
        return x.permute({0, 2, 3, 1});
    int64_t in = x.size(1), rows = side_out(x, 2, kernel, stride, padding),
            columns = side_out(x, 3, kernel, stride, padding);
    at::Tensor padded = at::constant_pad_nd(x, {padding, padding, padding, padding})
                            .contiguous(at::MemoryFormat::ChannelsLast);
    int64_t line = padded.size(3) * in;
    at::Tensor all =
        at::as_strided(padded, {x.size(0), rows, columns, kernel, kernel, in},
                       {padded.size(2) * line, stride * line, stride * in, line, in, 1});
    return all.reshape({x.size(0), rows, columns, -1});
}

static at::Tensor conv2d_panels(const at::Tensor &x, const at::Tensor &panels,
                                const std::optional<at::Tensor> &bias, int stride,
                                int padding)
{
    TORCH_CHECK(x.dim() == 4 && x.size(1) == panels.size(3),
                "weights were packed for another convolution");
    at::Tensor rows = windows(x, panels.size(1), stride, padding);
    return dense(rows, panels.flatten(1, 3), bias).permute({0, 3, 1, 2});
}

static at::Tensor conv2d_product(const at::Tensor &x, const at::Tensor &weight,
                                 const std::optional<at::Tensor> &bias, int stride,
                                 int padding)
{
    at::Tensor rows = windows(x, weight.size(2), stride, padding);
    at::Tensor y = at::linear(rows.flatten(0, 2), rows_of(weight), bias);
    return y.view({rows.size(0), rows.size(1), rows.size(2), -1}).permute({0, 3, 1, 2});
}

static at::Tensor conv2d(const at::Tensor &x, const at::Tensor &weight,
                         const std::optional<at::Tensor> &bias, int stride, int padding)
{
    if (x.is_meta())
        return conv2d_shape(x, weight, stride, padding);
    if (is_winograd(weight))
        return conv2d_winograd(x, weight, bias, stride, padding);
    if (is_panels(weight))
        return conv2d_panels(x, weight, bias, stride, padding);
    if (suits_winograd_deep(x, weight, stride, padding))
        return winograd_conv2d_deep(x, weight, bias, padding);
    if (suits_product(x, weight, stride, padding))
        return conv2d_product(x, weight, bias, stride, padding);
    return at::conv2d(x, weight, bias, stride, padding);
}

tc_tensor *tc_conv2d(tc_scope *s, tc_tensor *x, tc_tensor *weight, tc_tensor *bias,
                     int stride, int padding)
{
    return tc_run(s, "conv2d", {x, weight}, [&] {
        const at::Tensor &w = weight->value;
        auto b = bias ? std::optional<at::Tensor>(bias->value) : std::nullopt;
        at::Tensor out = conv2d(x->value, w, b, stride, padding);
        // Counted as the definition says, whatever the way.
        int64_t window = is_winograd(w) ? 9 * w.size(2) : w.numel() / out.size(1);
        tc_count_kernel(s, &tc_work::convolutions, out, window);
        return out;
    });
}
