// tc_dense.hpp: dense layers on the CPU in f32 on weights that lie ready in panels.
// Leaves the choice of where that pays to the caller.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

// Whether it pays to put weights [out,in] into panels for so many rows of each picture;
// of how many pictures must not matter, lest numbers depend on it.
bool dense_suits(int64_t rows, int64_t out, int64_t in);

// Weights [out,in], contiguous -> panels of their transpose [out/16,in,16], in place:
// memory that is new to the process costs more time than the order.
at::Tensor dense_weights(const at::Tensor &weight);

// x [...,in], those panels, bias [out] or none -> [...,out]. Recorded for gradients with
// respect to x; weights never require any.
at::Tensor dense(const at::Tensor &x, const at::Tensor &panels,
                 const std::optional<at::Tensor> &bias);

// The first half of dense()'s columns times the GELU of the second. x [...,in], panels of
// [out,in], which are an even number, bias [out] -> [...,out/2]. Not recorded.
at::Tensor dense_geglu(const at::Tensor &x, const at::Tensor &panels,
                       const at::Tensor &bias);
