// tc_ops.cpp: making tensors, shapes, arithmetic and layers, each one call into libtorch.
// Leaves scopes, errors and host copies to tc_core.cpp, convolutions to tc_conv.cpp,
// group norms to tc_norm.cpp.
#include "tc_attention.hpp"
#include "tc_dense.hpp"
#include "tc_internal.hpp"

#include <ATen/Context.h>
#include <ATen/ops/_upsample_bicubic2d_aa.h>
#include <ATen/ops/add.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/argmin.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/div.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/full.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/round.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/sub.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/upsample_nearest2d.h>
#include <ATen/ops/zeros.h>
#include <c10/util/SmallVector.h>

static at::TensorOptions on_device(const tc_scope *s, enum tc_dtype dtype)
{
    return at::TensorOptions().dtype(tc_scalar_type(dtype)).device(s->root->device);
}

// A layer's weight or bias that may be absent.
static std::optional<at::Tensor> maybe(const tc_tensor *x)
{
    return x ? std::optional<at::Tensor>(x->value) : std::nullopt;
}

// Making tensors
tc_tensor *tc_zeros(tc_scope *s, enum tc_dtype dtype, struct tc_shape shape)
{
    return tc_run(s, "zeros", {},
                  [&] { return at::zeros(tc_sizes(shape), on_device(s, dtype)); });
}

tc_tensor *tc_arange(tc_scope *s, int64_t count)
{
    return tc_run(s, "arange", {},
                  [&] { return at::arange(count, on_device(s, TC_F32)); });
}

tc_tensor *tc_full(tc_scope *s, enum tc_dtype dtype, struct tc_shape shape, double value)
{
    return tc_run(s, "full", {},
                  [&] { return at::full(tc_sizes(shape), value, on_device(s, dtype)); });
}

// Conversion and shape
tc_tensor *tc_cast(tc_scope *s, tc_tensor *x, enum tc_dtype dtype)
{
    return tc_run(s, "cast", {x}, [&] { return x->value.to(tc_scalar_type(dtype)); });
}

tc_tensor *tc_contiguous(tc_scope *s, tc_tensor *x)
{
    return tc_run(s, "contiguous", {x}, [&] { return x->value.contiguous(); });
}

tc_tensor *tc_channels_last(tc_scope *s, tc_tensor *x)
{
    return tc_run(s, "channels_last", {x},
                  [&] { return x->value.contiguous(at::MemoryFormat::ChannelsLast); });
}

tc_tensor *tc_reshape(tc_scope *s, tc_tensor *x, struct tc_shape shape)
{
    return tc_run(s, "reshape", {x}, [&] { return x->value.reshape(tc_sizes(shape)); });
}

tc_tensor *tc_permute(tc_scope *s, tc_tensor *x, struct tc_shape order)
{
    return tc_run(s, "permute", {x}, [&] { return x->value.permute(tc_sizes(order)); });
}

tc_tensor *tc_expand(tc_scope *s, tc_tensor *x, struct tc_shape shape)
{
    return tc_run(s, "expand", {x}, [&] { return x->value.expand(tc_sizes(shape)); });
}

tc_tensor *tc_slice(tc_scope *s, tc_tensor *x, int dim, int64_t start, int64_t end)
{
    return tc_run(s, "slice", {x}, [&] { return x->value.slice(dim, start, end); });
}

tc_tensor *tc_cat(tc_scope *s, int count, tc_tensor *const *x, int dim)
{
    return tc_run(s, "cat", {}, [&] {
        c10::SmallVector<at::Tensor, 8> parts;
        for (int i = 0; i < count; i++) {
            TORCH_CHECK(x[i], "part ", i, " is missing");
            parts.push_back(x[i]->value);
        }
        return at::cat(at::TensorList(parts.data(), parts.size()), dim);
    });
}

tc_tensor *tc_pad(tc_scope *s, tc_tensor *x, int left, int right, int top, int bottom)
{
    return tc_run(s, "pad", {x}, [&] {
        return at::constant_pad_nd(x->value, {left, right, top, bottom}, 0);
    });
}

// Arithmetic
tc_tensor *tc_add(tc_scope *s, tc_tensor *a, tc_tensor *b)
{
    return tc_run(s, "add", {a, b}, [&] { return at::add(a->value, b->value); });
}

tc_tensor *tc_sub(tc_scope *s, tc_tensor *a, tc_tensor *b)
{
    return tc_run(s, "sub", {a, b}, [&] { return at::sub(a->value, b->value); });
}

tc_tensor *tc_mul(tc_scope *s, tc_tensor *a, tc_tensor *b)
{
    return tc_run(s, "mul", {a, b}, [&] { return at::mul(a->value, b->value); });
}

tc_tensor *tc_div(tc_scope *s, tc_tensor *a, tc_tensor *b)
{
    return tc_run(s, "div", {a, b}, [&] { return at::div(a->value, b->value); });
}

tc_tensor *tc_scale(tc_scope *s, tc_tensor *x, double factor)
{
    return tc_run(s, "scale", {x}, [&] { return at::mul(x->value, factor); });
}

tc_tensor *tc_add_scalar(tc_scope *s, tc_tensor *x, double addend)
{
    return tc_run(s, "add_scalar", {x}, [&] { return at::add(x->value, addend); });
}

tc_tensor *tc_combine(tc_scope *s, int count, const double *c, tc_tensor *const *x)
{
    return tc_run(s, "combine", {}, [&] {
        at::Tensor sum;
        for (int i = 0; i < count; i++) {
            TORCH_CHECK(x[i], "term ", i, " is missing");
            if (c[i] == 0 && (sum.defined() || i + 1 < count))
                continue;
            if (sum.defined())
                sum = at::add(sum, x[i]->value, c[i]);
            else
                sum = c[i] == 1 ? x[i]->value : at::mul(x[i]->value, c[i]);
        }
        return sum;
    });
}

tc_tensor *tc_clamp(tc_scope *s, tc_tensor *x, double low, double high)
{
    return tc_run(s, "clamp", {x}, [&] { return at::clamp(x->value, low, high); });
}

tc_tensor *tc_round(tc_scope *s, tc_tensor *x)
{
    return tc_run(s, "round", {x}, [&] { return at::round(x->value); });
}

tc_tensor *tc_exp(tc_scope *s, tc_tensor *x)
{
    return tc_run(s, "exp", {x}, [&] { return at::exp(x->value); });
}

tc_tensor *tc_sin(tc_scope *s, tc_tensor *x)
{
    return tc_run(s, "sin", {x}, [&] { return at::sin(x->value); });
}

tc_tensor *tc_cos(tc_scope *s, tc_tensor *x)
{
    return tc_run(s, "cos", {x}, [&] { return at::cos(x->value); });
}

tc_tensor *tc_silu(tc_scope *s, tc_tensor *x)
{
    return tc_run(s, "silu", {x}, [&] { return at::silu(x->value); });
}

tc_tensor *tc_gelu(tc_scope *s, tc_tensor *x)
{
    return tc_run(s, "gelu", {x}, [&] { return at::gelu(x->value); });
}

tc_tensor *tc_quick_gelu(tc_scope *s, tc_tensor *x)
{
    return tc_run(s, "quick_gelu", {x}, [&] {
        return at::mul(x->value, at::sigmoid(at::mul(x->value, 1.702)));
    });
}

tc_tensor *tc_sum(tc_scope *s, tc_tensor *x, int dim)
{
    return tc_run(s, "sum", {x}, [&] { return at::sum(x->value, {dim}); });
}

tc_tensor *tc_argmin(tc_scope *s, tc_tensor *x, int dim)
{
    return tc_run(s, "argmin", {x}, [&] { return at::argmin(x->value, dim); });
}

tc_tensor *tc_matmul(tc_scope *s, tc_tensor *a, tc_tensor *b)
{
    return tc_run(s, "matmul", {a, b}, [&] {
        at::Tensor out = at::matmul(a->value, b->value);
        tc_count_kernel(s, &tc_work::products, out, a->value.size(-1));
        return out;
    });
}

namespace
{
// No TF32 while it lives.
struct precise_products {
    bool allowed = at::globalContext().allowTF32CuBLAS();
    precise_products()
    {
        at::globalContext().setAllowTF32CuBLAS(false);
    }
    ~precise_products()
    {
        at::globalContext().setAllowTF32CuBLAS(allowed);
    }
    precise_products(const precise_products &) = delete;
    precise_products &operator=(const precise_products &) = delete;
};
} // namespace

tc_tensor *tc_matmul_precise(tc_scope *s, tc_tensor *a, tc_tensor *b)
{
    return tc_run(s, "matmul_precise", {a, b}, [&] {
        precise_products guard;
        at::Tensor out = at::matmul(a->value, b->value);
        tc_count_kernel(s, &tc_work::products, out, a->value.size(-1));
        return out;
    });
}

// Layers
// libtorch has no shape rules of its own for some fused kernels: on the "meta" device
// these functions state the shape themselves.

// Packed weights are panels [Dout/16,Din,16], plain ones [Dout,Din].
static bool is_packed(const at::Tensor &weight)
{
    return weight.dim() == 3;
}

static bool suits_panels(const at::Tensor &x, const at::Tensor &weight)
{
    return x.device().is_cpu() && x.scalar_type() == at::kFloat && x.dim() > 2 &&
           weight.scalar_type() == at::kFloat && weight.is_contiguous() &&
           dense_suits(x.size(-2), weight.size(0), weight.size(1));
}

tc_tensor *tc_linear_pack(tc_scope *s, tc_tensor *weight, tc_tensor *x)
{
    bool ok = tc_do(s, "linear_pack", {weight, x}, [&] {
        if (suits_panels(x->value, weight->value))
            weight->value = dense_weights(weight->value);
    });
    return ok ? weight : nullptr;
}

tc_tensor *tc_linear(tc_scope *s, tc_tensor *x, tc_tensor *weight, tc_tensor *bias)
{
    return tc_run(s, "linear", {x, weight}, [&] {
        const at::Tensor &w = weight->value;
        at::Tensor out = is_packed(w) ? dense(x->value, w, maybe(bias))
                                      : at::linear(x->value, w, maybe(bias));
        tc_count_kernel(s, &tc_work::products, out, x->value.size(-1));
        return out;
    });
}

tc_tensor *tc_linear_geglu(tc_scope *s, tc_tensor *x, tc_tensor *weight, tc_tensor *bias)
{
    return tc_run(s, "linear_geglu", {x, weight, bias}, [&] {
        const at::Tensor &w = weight->value;
        at::Tensor out;
        if (is_packed(w) && w.size(0) % 2 == 0 && !at::GradMode::is_enabled()) {
            out = dense_geglu(x->value, w, bias->value);
        } else {
            at::Tensor both = is_packed(w) ? dense(x->value, w, bias->value)
                                           : at::linear(x->value, w, bias->value);
            int64_t inner = both.size(-1) / 2;
            out = at::mul(both.narrow(-1, 0, inner),
                          at::gelu(both.narrow(-1, inner, inner)));
        }
        tc_count_kernel(s, &tc_work::products, out, 2 * x->value.size(-1));
        return out;
    });
}

tc_tensor *tc_layer_norm(tc_scope *s, tc_tensor *x, tc_tensor *weight, tc_tensor *bias,
                         double eps)
{
    return tc_run(s, "layer_norm", {x, weight, bias}, [&] {
        return x->value.is_meta() ? at::empty_like(x->value)
                                  : at::layer_norm(x->value, {x->value.size(-1)},
                                                   weight->value, bias->value, eps);
    });
}

tc_tensor *tc_embedding(tc_scope *s, tc_tensor *ids, tc_tensor *table)
{
    return tc_run(s, "embedding", {ids, table}, [&] {
        if (!ids->value.is_meta())
            return at::embedding(table->value, ids->value);
        c10::SmallVector<int64_t, TC_MAX_RANK> sizes(ids->value.sizes());
        sizes.push_back(table->value.size(1));
        return at::empty(sizes, table->value.options());
    });
}

static at::Tensor attention(const at::Tensor &q, const at::Tensor &k, const at::Tensor &v,
                            bool causal)
{
    if (!causal && !at::GradMode::is_enabled() && attention_suits(q, k, v))
        return attention_rows(q, k, v);
    return at::scaled_dot_product_attention(q, k, v, {}, 0.0, causal);
}

// Some queries of one head of one picture at a time. [B,heads,T,D] -> [B,heads,T,D]
static at::Tensor sliced_attention(const at::Tensor &q, const at::Tensor &k,
                                   const at::Tensor &v, bool causal)
{
    at::Tensor out = at::empty(q.sizes(), q.options());
    int64_t tokens = q.size(2), rows = causal ? tokens : 1024;
    for (int64_t i = 0; i < q.size(0) * q.size(1); i++) {
        int64_t b = i / q.size(1), head = i % q.size(1);
        auto own = [&](const at::Tensor &x) {
            return x.narrow(0, b, 1).narrow(1, head, 1);
        };
        for (int64_t first = 0; first < tokens; first += rows) {
            int64_t end = first + rows < tokens ? first + rows : tokens;
            own(out)
                .slice(2, first, end)
                .copy_(attention(own(q).slice(2, first, end), own(k), own(v), causal));
        }
    }
    return out;
}

void tc_slice_attention(tc_scope *s, bool on)
{
    s->root->sliced_attention = on;
}

tc_tensor *tc_attention(tc_scope *s, tc_tensor *q, tc_tensor *k, tc_tensor *v,
                        bool causal)
{
    return tc_run(s, "attention", {q, k, v}, [&] {
        // A recorded graph keeps every slice: nothing is gained.
        bool sliced = s->root->sliced_attention && !s->gradients;
        at::Tensor out = q->value.is_meta() ? at::empty_like(q->value)
                         : sliced ? sliced_attention(q->value, k->value, v->value, causal)
                                  : attention(q->value, k->value, v->value, causal);
        tc_count_kernel(s, &tc_work::products, out, 2 * k->value.size(2));
        return out;
    });
}

tc_tensor *tc_resize_nearest(tc_scope *s, tc_tensor *x, int64_t height, int64_t width)
{
    return tc_run(s, "resize_nearest", {x}, [&] {
        return at::upsample_nearest2d(x->value, {height, width});
    });
}

tc_tensor *tc_resize_bicubic(tc_scope *s, tc_tensor *x, int64_t height, int64_t width)
{
    return tc_run(s, "resize_bicubic", {x}, [&] {
        return at::_upsample_bicubic2d_aa(x->value, {height, width}, false);
    });
}
