// tc_internal.hpp: what the shim's files share: handles, scopes, and the one guard
// through which every call into libtorch goes. Leaves the C interface to tc.h.
#pragma once

#include "diffens/tc.h"

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/Device.h>

#include <exception>
#include <initializer_list>
#include <new>
#include <utility>

struct tc_tensor {
    at::Tensor value;
    tc_scope *owner;
    tc_tensor *before, *after; // neighbours in the owner's list
};

struct tc_rng {
    at::Generator generator;
    tc_rng *after;
};

struct tc_root;

struct tc_scope {
    tc_root *root;
    tc_scope *up;
    tc_scope *first_child, *before, *after;
    tc_tensor *first;
    tc_rng *first_rng;
    bool gradients; // operations in this scope are recorded for tc_gradient()
    bool (*go_on)(struct err *e); // asked before each operation; NULL: nobody
    char context[120];
};

struct tc_root {
    tc_scope scope; // first, so that the root scope's address is the root's
    tc_scope dead;  // handed out when no memory is left for a scope; refuses everything
    at::Device device = at::Device(at::kCPU);
    char device_name[32];
    bool pinned;           // the device copies from host memory by itself
    bool sliced_attention; // attention a part at a time
    struct err error;
    int64_t operations;
    int64_t fail_in;      // operations until the injected failure; 0: none
    struct tc_work *work; // where costs are added up, or NULL
    tc_tap_fn *tap;
    void *tap_user;
};

// Counts the operation; false when it must not run: an earlier failure, an operand that
// one left NULL, an injected failure.
bool tc_enter(tc_scope *s, const char *operation,
              std::initializer_list<const tc_tensor *> x);

// Ends an operation that asked by itself whether to go on; the sticky error says why not.
struct tc_interrupted : std::exception {
};

// Throws tc_interrupted when the gradient under way on this thread is not to go on.
void tc_gradient_go_on();

// Turns the exception in flight into the sticky error.
void tc_fail_in_flight(tc_scope *s, const char *operation,
                       std::initializer_list<const tc_tensor *> x) noexcept;

// A handle for `value` in `s`; NULL and the sticky error when memory is out.
tc_tensor *tc_adopt(tc_scope *s, at::Tensor value) noexcept;

// Adds the price of a fused kernel whose result is `out`: multiplications with an
// addition for each of its elements.
void tc_count_kernel(tc_scope *s, double tc_work::*kind, const at::Tensor &out,
                     int64_t products) noexcept;

at::ScalarType tc_scalar_type(enum tc_dtype dtype);

// From now on tc_warning() says what libtorch warns of on this thread.
void tc_hear_warnings();

// Threads that compute on the CPU from now on; 0 leaves libtorch's choice.
void tc_threads_set(int threads);

inline at::IntArrayRef tc_sizes(const struct tc_shape &shape)
{
    return at::IntArrayRef(shape.dim, (size_t)shape.rank);
}

// Runs `body`, which returns a tensor, unless the sticky error is set.
template <class Body>
tc_tensor *tc_run(tc_scope *s, const char *operation,
                  std::initializer_list<const tc_tensor *> operands, Body body) noexcept
{
    if (!tc_enter(s, operation, operands))
        return nullptr;
    try {
        at::AutoGradMode gradients(s->gradients);
        return tc_adopt(s, body());
    } catch (...) {
        tc_fail_in_flight(s, operation, operands);
        return nullptr;
    }
}

// The same for a `body` that returns nothing; true when it ran to its end.
template <class Body>
bool tc_do(tc_scope *s, const char *operation,
           std::initializer_list<const tc_tensor *> operands, Body body) noexcept
{
    if (!tc_enter(s, operation, operands))
        return false;
    try {
        at::AutoGradMode gradients(s->gradients);
        body();
        return true;
    } catch (...) {
        tc_fail_in_flight(s, operation, operands);
        return false;
    }
}
