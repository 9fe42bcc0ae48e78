// tc_attention.hpp: softmax(q k' / sqrt(D)) v on the CPU in f32, without gradients.
// Leaves the choice to tc_ops.cpp.
#pragma once

#include <ATen/core/Tensor.h>

// Whether attention_rows() takes them: the numbers of a head lie beside each other, and
// are a multiple of 8.
bool attention_suits(const at::Tensor &q, const at::Tensor &k, const at::Tensor &v);

// q [B,heads,T,D], k and v [B,heads,S,D] -> [B,heads,T,D], which lies as [B,T,heads,D].
at::Tensor attention_rows(const at::Tensor &q, const at::Tensor &k, const at::Tensor &v);
