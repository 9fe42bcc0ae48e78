// tc_winograd.hpp: 3x3 convolutions of stride 1 with fewer multiplications, on the CPU in
// f32. Channels in and out are multiples of 8. Leaves the choice to tc_conv.cpp.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

// Weights [Cout,Cin,3,3] in the form that the functions below want, for tiles of as many
// outputs along a side: of 2, [16,Cout,Cin]; of 4, [36,Cout,Cin], with a bit more than
// half of the multiplications. Each plane holds the panels (tc_product.hpp) of its
// transpose.
at::Tensor winograd_weights(const at::Tensor &weight, int64_t side);

// x [B,Cin,H,W], u from winograd_weights(), bias [Cout] -> [B,Cout,H',W'], channels last.
// The error is not larger than that of the direct sum for tiles of 2, twice that for 4.
at::Tensor winograd_conv2d(const at::Tensor &x, const at::Tensor &u,
                           const at::Tensor &bias, int64_t padding);

// The gradient with respect to x: [B,Cout,H',W'] -> [B,Cin,H,W]
at::Tensor winograd_conv2d_backward(const at::Tensor &gradient, const at::Tensor &u,
                                    int64_t padding);

// The same with weights as they are, [Cout,Cin,3,3], whose form is made anew: for large
// weights on small maps, where it costs less than the memory for it. Bias [Cout] or none.
at::Tensor winograd_conv2d_deep(const at::Tensor &x, const at::Tensor &weight,
                                const std::optional<at::Tensor> &bias, int64_t padding);
