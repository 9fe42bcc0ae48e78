// tc_norm_gradient.hpp: group normalisation with a gradient with respect to x alone, on
// the CPU in f32: weights are frozen here, and libtorch's backward of channels-last
// pictures is a scalar loop. Leaves the choice to tc_norm.cpp.
#pragma once

#include <ATen/core/Tensor.h>

// As at::group_norm() of x [B,C,H,W], channels last; the same numbers. Weights are
// contiguous.
at::Tensor group_norm_recorded(const at::Tensor &x, int64_t groups,
                               const at::Tensor &weight, const at::Tensor &bias,
                               double eps);
