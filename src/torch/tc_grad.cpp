// tc_grad.cpp: gradients, Adam, and the operations that losses are made of. Leaves the
// rules of scopes to tc_core.cpp and the networks' operations to tc_ops.cpp.
#include "tc_internal.hpp"

#include <ATen/ops/_fused_adam.h>
#include <ATen/ops/add.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/amin.h>
#include <ATen/ops/asin.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full.h>
#include <ATen/ops/grid_sampler_2d.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/max_pool2d.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/sub.h>
#include <torch/csrc/autograd/autograd.h>

#include <vector>

tc_scope *tc_push_grad(tc_scope *up)
{
    tc_scope *s = tc_push(up);
    if (s != &s->root->dead)
        s->gradients = true;
    return s;
}

tc_tensor *tc_leaf(tc_scope *s, tc_tensor *x)
{
    return tc_run(s, "leaf", {x},
                  [&] { return x->value.detach().clone().requires_grad_(true); });
}

tc_tensor *tc_detach(tc_scope *s, tc_tensor *x)
{
    return tc_run(s, "detach", {x}, [&] { return x->value.detach(); });
}

// The scope of the gradient that this thread takes. Those of an accelerator are taken on
// threads of libtorch's own, and are short.
static thread_local const tc_scope *differentiating;

void tc_gradient_go_on()
{
    const tc_scope *s = differentiating;
    if (s && s->go_on && !s->go_on(&s->root->error))
        throw tc_interrupted();
}

namespace
{
struct differentiating_in {
    explicit differentiating_in(const tc_scope *s)
    {
        differentiating = s;
    }
    ~differentiating_in()
    {
        differentiating = nullptr;
    }
    differentiating_in(const differentiating_in &) = delete;
    differentiating_in &operator=(const differentiating_in &) = delete;
};
} // namespace

tc_tensor *tc_gradient(tc_scope *s, tc_tensor *y, tc_tensor *upstream, tc_tensor *leaf)
{
    return tc_run(s, "gradient", {y, leaf}, [&] {
        differentiating_in here(s);
        torch::autograd::variable_list seeds;
        if (upstream)
            seeds.push_back(upstream->value);
        return torch::autograd::grad({y->value}, {leaf->value}, seeds)[0];
    });
}

// x - x.detach() is exactly 0 for finite x, and NaN where x is not finite.
static at::Tensor forward_as(const at::Tensor &value, const at::Tensor &x)
{
    return at::add(value, at::sub(x, x.detach()));
}

tc_tensor *tc_straight_through(tc_scope *s, tc_tensor *value, tc_tensor *z)
{
    return tc_run(s, "straight_through", {value, z}, [&] {
        TORCH_CHECK(value->value.sizes() == z->value.sizes(), "shapes differ");
        return forward_as(value->value.detach(), z->value);
    });
}

tc_tensor *tc_clamp_inward(tc_scope *s, tc_tensor *x, double low, double high)
{
    return tc_run(s, "clamp_inward", {x}, [&] {
        at::Tensor clamped = at::clamp(x->value.detach(), low, high);
        at::Tensor y = forward_as(clamped, x->value);
        if (y.requires_grad()) {
            at::Tensor excess = at::sub(x->value.detach(), clamped);
            y.register_hook([excess](const at::Tensor &gradient) {
                return at::mul(gradient, at::mul(gradient, excess).ge(0));
            });
        }
        return y;
    });
}

bool tc_adam_step(tc_scope *s, const struct tc_adam *adam, tc_tensor *x,
                  tc_tensor *gradient, tc_tensor *m, tc_tensor *v)
{
    return tc_do(s, "adam_step", {x, gradient, m, v}, [&] {
        at::AutoGradMode off(false);
        at::TensorOptions counter = x->value.options().dtype(at::kFloat);
        at::Tensor step = at::full({}, (double)adam->step, counter);
        at::Tensor dense = gradient->value.contiguous(x->value.suggest_memory_format());
        at::_fused_adam_({x->value}, {dense}, {m->value}, {v->value}, {}, {step},
                         adam->rate, adam->beta1, adam->beta2, 0, adam->eps, false,
                         false);
    });
}

// What losses are made of

tc_tensor *tc_relu(tc_scope *s, tc_tensor *x)
{
    return tc_run(s, "relu", {x}, [&] {
        return x->value.is_meta() ? at::empty_like(x->value) : at::relu(x->value);
    });
}

tc_tensor *tc_asin(tc_scope *s, tc_tensor *x)
{
    return tc_run(s, "asin", {x}, [&] { return at::asin(x->value); });
}

tc_tensor *tc_mean(tc_scope *s, tc_tensor *x, int dim)
{
    return tc_run(s, "mean", {x}, [&] { return at::mean(x->value, {dim}); });
}

tc_tensor *tc_norm(tc_scope *s, tc_tensor *x, int dim)
{
    return tc_run(s, "norm", {x}, [&] {
        return at::linalg_vector_norm(x->value, 2, at::IntArrayRef(dim), true);
    });
}

tc_tensor *tc_amin(tc_scope *s, tc_tensor *x, int dim)
{
    return tc_run(s, "amin", {x}, [&] { return at::amin(x->value, {dim}); });
}

tc_tensor *tc_amax(tc_scope *s, tc_tensor *x, int dim)
{
    return tc_run(s, "amax", {x}, [&] { return at::amax(x->value, {dim}); });
}

tc_tensor *tc_clamp_between(tc_scope *s, tc_tensor *x, tc_tensor *low, tc_tensor *high)
{
    return tc_run(s, "clamp_between", {x, low, high},
                  [&] { return at::clamp(x->value, low->value, high->value); });
}

tc_tensor *tc_max_pool2d(tc_scope *s, tc_tensor *x, int side)
{
    return tc_run(s, "max_pool2d", {x}, [&] {
        return at::max_pool2d(x->value, {side, side});
    });
}

tc_tensor *tc_windows(tc_scope *s, tc_tensor *x, int count, const int64_t *top,
                      const int64_t *left, int64_t side)
{
    return tc_run(s, "windows", {x}, [&] {
        std::vector<at::Tensor> parts;
        for (int i = 0; i < count; i++)
            parts.push_back(x->value.slice(2, top[i], top[i] + side)
                                .slice(3, left[i], left[i] + side));
        at::Tensor y = at::cat(parts);
        TORCH_CHECK(y.size(2) == side && y.size(3) == side, "a window of side ", side,
                    " leaves the picture");
        return y;
    });
}

tc_tensor *tc_grid_sample(tc_scope *s, tc_tensor *x, tc_tensor *places)
{
    enum { BILINEAR = 0, BORDER = 1 }; // as at::native::GridSamplerInterpolation counts
    return tc_run(s, "grid_sample", {x, places}, [&] {
        return at::grid_sampler_2d(x->value, places->value, BILINEAR, BORDER, false);
    });
}
