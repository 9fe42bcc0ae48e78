/* nn.h: layers with weights. Each takes the node that holds its tensors and the sizes
 * that the architecture demands; a checkpoint with other shapes is refused by name.
 * Dimension letters: tc.h. Leaves the composition to nets.h. */
#ifndef DIFFENS_NN_H
#define DIFFENS_NN_H

#include "diffens/weights.h"

enum nn_activation { NN_SILU, NN_GELU, NN_QUICK_GELU };

/* Dense layer, weight and bias: [...,Din] -> [...,out] */
tc_tensor *nn_linear(tc_scope *s, weights w, tc_tensor *x, int64_t out);

/* Dense layer to twice the width, whose second half gates the first by its GELU:
 * [...,Din] -> [...,out] */
tc_tensor *nn_geglu(tc_scope *s, weights w, tc_tensor *x, int64_t out);

/* Dense layer without a bias: [...,Din] -> [...,out] */
tc_tensor *nn_project(tc_scope *s, weights w, tc_tensor *x, int64_t out);

/* Square kernel, weight and bias: [B,C,H,W] -> [B,out,H',W'] */
tc_tensor *nn_conv2d(tc_scope *s, weights w, tc_tensor *x, int64_t out, int kernel,
                     int stride, int padding);

/* [B,C,...] -> [B,C,...] */
tc_tensor *nn_group_norm(tc_scope *s, weights w, tc_tensor *x, int groups, double eps);

/* Its SiLU: [B,C,...] -> [B,C,...] */
tc_tensor *nn_group_norm_silu(tc_scope *s, weights w, tc_tensor *x, int groups,
                              double eps);

/* [...,D] -> [...,D] */
tc_tensor *nn_layer_norm(tc_scope *s, weights w, tc_tensor *x, double eps);

/* ids [B,T] i64, table [count,width] -> [B,T,width] */
tc_tensor *nn_embedding(tc_scope *s, weights w, tc_tensor *ids, int64_t count,
                        int64_t width);

/* Multi-head attention on projected q [B,T,D], k and v [B,S,D] -> [B,T,D]; D is a
 * multiple of heads. */
tc_tensor *nn_attention(tc_scope *s, tc_tensor *q, tc_tensor *k, tc_tensor *v, int heads,
                        bool causal);

tc_tensor *nn_activate(tc_scope *s, enum nn_activation activation, tc_tensor *x);

/* Reports x as the output of the module at `w`, for parity tests; returns x. */
tc_tensor *nn_tap(tc_scope *s, weights w, tc_tensor *x);

#endif
