// tc_conv.cpp: convolutions, and the choice of how to compute them on this device. Leaves
// the arithmetic to libtorch and to tc_winograd.cpp.
#include "tc_internal.hpp"
#include "tc_winograd.hpp"

#include <ATen/ops/as_strided.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <torch/csrc/autograd/custom_function.h>

// Few outputs of one picture for its channels: the deep levels of a UNet, which have most
// of its weights and little of its work.
static bool is_deep(int64_t outputs, int64_t channels)
{
    return outputs < 256 || 2 * outputs < channels;
}

// Winograd's form of weights takes 16/9 of the memory of the plain ones, which deep
// levels do not pay for unless their weights are few.
static bool is_worth_its_memory(const at::Tensor &weight, int64_t outputs)
{
    return !is_deep(outputs, weight.size(1)) ||
           (outputs >= 16 && weight.numel() <= 1 << 18);
}

// Packed weights are [16,Cout,Cin], plain ones [Cout,Cin,k,k].
static bool is_packed(const at::Tensor &weight)
{
    return weight.dim() == 3;
}

static int64_t side_out(const at::Tensor &x, int dim, int64_t kernel, int stride,
                        int padding)
{
    return (x.size(dim) + 2 * padding - kernel) / stride + 1;
}

static bool suits_winograd(const at::Tensor &x, const at::Tensor &weight, int stride,
                           int padding)
{
    return x.device().is_cpu() && x.scalar_type() == at::kFloat &&
           weight.scalar_type() == at::kFloat && weight.dim() == 4 &&
           weight.size(2) == 3 && weight.size(3) == 3 && stride == 1 && padding <= 2 &&
           weight.size(0) % 8 == 0 && weight.size(1) % 8 == 0 &&
           is_worth_its_memory(weight, side_out(x, 2, 3, 1, padding) *
                                           side_out(x, 3, 3, 1, padding));
}

tc_tensor *tc_conv2d_pack(tc_scope *s, tc_tensor *weight, tc_tensor *x, int stride,
                          int padding)
{
    return tc_run(s, "conv2d_pack", {weight, x}, [&] {
        return suits_winograd(x->value, weight->value, stride, padding)
                   ? winograd_weights(weight->value)
                   : weight->value;
    });
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

static at::Tensor conv2d_packed(const at::Tensor &x, const at::Tensor &u,
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
           is_deep(side_out(x, 2, kernel, stride, padding) *
                       side_out(x, 3, kernel, stride, padding),
                   weight.size(1));
}

// The windows of x as rows [B*Ho*Wo,k*k*Cin], times the weights [Cout,k*k*Cin].
static at::Tensor conv2d_product(const at::Tensor &x, const at::Tensor &weight,
                                 const std::optional<at::Tensor> &bias, int stride,
                                 int padding)
{
    int64_t kernel = weight.size(2), in = x.size(1);
    int64_t rows = side_out(x, 2, kernel, stride, padding),
            columns = side_out(x, 3, kernel, stride, padding);
    at::Tensor padded = at::constant_pad_nd(x, {padding, padding, padding, padding})
                            .contiguous(at::MemoryFormat::ChannelsLast);
    int64_t line = padded.size(3) * in;
    at::Tensor windows =
        at::as_strided(padded, {x.size(0), rows, columns, kernel, kernel, in},
                       {padded.size(2) * line, stride * line, stride * in, line, in, 1});
    at::Tensor y =
        at::linear(windows.reshape({-1, kernel * kernel * in}),
                   weight.permute({0, 2, 3, 1}).reshape({weight.size(0), -1}), bias);
    return y.view({x.size(0), rows, columns, -1}).permute({0, 3, 1, 2});
}

static at::Tensor conv2d(const at::Tensor &x, const at::Tensor &weight,
                         const std::optional<at::Tensor> &bias, int stride, int padding)
{
    if (x.is_meta())
        return conv2d_shape(x, weight, stride, padding);
    if (is_packed(weight))
        return conv2d_packed(x, weight, bias, stride, padding);
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
        int64_t window = is_packed(w) ? 9 * w.size(2) : w.numel() / w.size(0);
        tc_count_kernel(s, &tc_work::convolutions, out, window);
        return out;
    });
}
