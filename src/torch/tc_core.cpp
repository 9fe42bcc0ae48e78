// tc_core.cpp: the root, scopes, the sticky error, sizes, and the way between host and
// device. Leaves arithmetic and layers to tc_ops.cpp.
#include "tc_internal.hpp"

#include "base/host_memory.h"
#include "diffens/tc_machine.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/DeviceAccelerator.h>
#include <ATen/core/CachingHostAllocator.h>
#include <ATen/ops/all.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/isfinite.h>
#include <c10/core/DeviceGuard.h>
#include <c10/util/Exception.h>
#include <torch/headeronly/version.h>

#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <malloc.h>
#include <string>

static std::atomic<int64_t> live_tensors;

// Handles and scopes
static void list_insert(tc_scope *s, tc_tensor *x)
{
    x->owner = s;
    x->before = nullptr;
    x->after = s->first;
    if (s->first)
        s->first->before = x;
    s->first = x;
}

static void list_remove(tc_tensor *x)
{
    if (x->before)
        x->before->after = x->after;
    else
        x->owner->first = x->after;
    if (x->after)
        x->after->before = x->before;
}

// Views share the memory of another tensor, which is counted once: from its first handle
// to its last.
static int64_t own_bytes(const at::Tensor &x)
{
    return x.has_storage() && x.storage().use_count() == 1 ? (int64_t)x.storage().nbytes()
                                                           : 0;
}

static void count_made(struct tc_work *work, const at::Tensor &x)
{
    int64_t bytes = own_bytes(x);
    work->calls++;
    work->bytes += (double)bytes;
    work->live += bytes;
    if (work->live > work->peak)
        work->peak = work->live;
}

void tc_count_kernel(tc_scope *s, double tc_work::*kind, const at::Tensor &out,
                     int64_t products) noexcept
{
    struct tc_work *work = s->root->work;
    if (!work)
        return;
    work->*kind += 2 * (double)out.numel() * (double)products;
    work->results += (double)own_bytes(out);
    work->bytes -= (double)own_bytes(out); // tc_adopt() will add it
}

void tc_count(tc_scope *s, struct tc_work *work)
{
    s->root->work = work;
}

static void tensor_free(tc_tensor *x)
{
    if (x->owner->root->work)
        x->owner->root->work->live -= own_bytes(x->value);
    list_remove(x);
    delete x;
    live_tensors--;
}

tc_tensor *tc_adopt(tc_scope *s, at::Tensor value) noexcept
{
    tc_tensor *x = new (std::nothrow) tc_tensor{std::move(value), s, nullptr, nullptr};
    if (!x) {
        tc_fail(s, ERR_MEMORY, "no host memory for a tensor handle");
        return nullptr;
    }
    live_tensors++;
    if (s->root->work)
        count_made(s->root->work, x->value);
    list_insert(s, x);
    return x;
}

int64_t tc_live_tensors(void)
{
    return live_tensors;
}

static void scope_clear(tc_scope *s);

static void scope_free(tc_scope *s)
{
    scope_clear(s);
    if (s->before)
        s->before->after = s->after;
    else
        s->up->first_child = s->after;
    if (s->after)
        s->after->before = s->before;
    delete s;
}

static void scope_clear(tc_scope *s)
{
    while (s->first_child)
        scope_free(s->first_child);
    while (s->first)
        tensor_free(s->first);
    while (s->first_rng) {
        tc_rng *rng = s->first_rng;
        s->first_rng = rng->after;
        delete rng;
    }
}

tc_scope *tc_push(tc_scope *up)
{
    if (up == &up->root->dead)
        return up;
    tc_scope *s = new (std::nothrow) tc_scope{};
    if (!s) {
        tc_fail(up, ERR_MEMORY, "no host memory for a scope");
        return &up->root->dead;
    }
    s->root = up->root;
    s->up = up;
    s->gradients = up->gradients;
    s->go_on = up->go_on;
    s->after = up->first_child;
    if (s->after)
        s->after->before = s;
    up->first_child = s;
    return s;
}

tc_tensor *tc_pop(tc_scope *s, tc_tensor *out)
{
    if (s == &s->root->dead)
        return nullptr;
    if (out && out->owner == s) {
        list_remove(out);
        list_insert(s->up, out);
    }
    bool ok = tc_ok(s);
    scope_free(s);
    return ok ? out : nullptr;
}

void tc_interruptible(tc_scope *s, bool (*go_on)(struct err *e))
{
    if (s != &s->root->dead)
        s->go_on = go_on;
}

tc_tensor *tc_replace(tc_scope *s, tc_tensor *old, tc_tensor *next)
{
    if (old && old != next && old->owner == s)
        tensor_free(old);
    return next;
}

// The root
static at::Device device_named(const char *name)
{
    try {
        return at::Device(std::string(name));
    } catch (const c10::Error &) { // which lists every backend there ever was
        TORCH_CHECK(false, "expected a device such as cpu, cuda, cuda:1, xpu or mps");
    }
}

static at::Device device_choose(const char *asked)
{
    if (strcmp(asked, "auto") != 0)
        return device_named(asked);
    // A CUDA build without a GPU still names CUDA here: only the count tells.
    auto accelerator = at::accelerator::getAccelerator(false);
    if (accelerator && at::accelerator::deviceCount() > 0)
        return at::Device(*accelerator);
    return at::Device(at::kCPU);
}

// Refuses a device that is not there in words, before libtorch lists all of its backends.
static void device_check(at::Device device)
{
    if (device.is_cpu()) {
        TORCH_CHECK(device.index() <= 0, "expected cpu, of which there is one");
        return;
    }
    auto accelerator = at::accelerator::getAccelerator(false);
    int count = accelerator ? at::accelerator::deviceCount() : 0;
    std::string warning = tc_warning();
    TORCH_CHECK(count > 0, "expected cpu, the only device that libtorch finds here",
                warning.empty() ? "" : ": ", warning);
    std::string name = c10::DeviceTypeName(*accelerator, true);
    TORCH_CHECK(device.type() == *accelerator, "expected cpu or ", name);
    TORCH_CHECK(device.index() < count, "expected an index below ", count);
}

static at::Tensor host_empty(const tc_root *root, enum tc_dtype dtype,
                             const struct tc_shape &shape)
{
    at::TensorOptions options = at::TensorOptions().dtype(tc_scalar_type(dtype));
    return at::empty(tc_sizes(shape), options.pinned_memory(root->pinned));
}

// Memory from which the device copies by itself, while the host goes on, where it has
// any.
static void root_try_pinned(tc_root *root)
{
    if (!at::getHostAllocator(root->device.type()))
        return;
    try {
        root->pinned = true;
        host_empty(root, TC_U8, {1, {1}});
    } catch (...) {
        root->pinned = false;
    }
}

static void root_configure(tc_root *root, const struct tc_settings *settings)
{
    tc_hear_warnings();
    root->device = device_choose(settings->device);
    if (!root->device.is_meta())
        device_check(root->device);
    if (!root->device.is_cpu() && !root->device.is_meta()) {
        if (!root->device.has_index())
            root->device.set_index(0);
        // Finds out now, not after minutes of loading, that a device is not there.
        at::empty({1}, at::TensorOptions().device(root->device));
        at::accelerator::setDeviceIndex(root->device.index());
        root_try_pinned(root);
    }
    snprintf(root->device_name, sizeof root->device_name, "%s",
             root->device.str().c_str());
    if (root->device.is_meta()) // what follows is the process's: shapes need none of it
        return;
    tc_threads_set(settings->threads);
    at::Context &context = at::globalContext();
    if (settings->deterministic) // without it libtorch refuses cuBLAS (CUDABlas.cpp)
        setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", 0);
    context.setDeterministicAlgorithms(settings->deterministic, false);
    context.setAllowTF32CuBLAS(!settings->deterministic);
    context.setAllowTF32CuDNN(!settings->deterministic);
}

static void one_line(char *text)
{
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < ' ')
            *c = ' ';
    for (size_t n = strlen(text); n > 0 && text[n - 1] == ' '; n--)
        text[n - 1] = 0;
}

// glibc raises its own threshold with every mapping that is freed, until large tensors
// come from a heap that smaller ones leave in pieces.
static void heap_configure(void)
{
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
}

tc_scope *tc_open(const struct tc_settings *settings, struct err *e)
{
    heap_configure();
    tc_root *root = new (std::nothrow) tc_root{};
    if (!root) {
        err_set(e, ERR_MEMORY, "no host memory for the tensor library");
        return nullptr;
    }
    root->scope.root = root->dead.root = root;
    try {
        root_configure(root, settings);
        return &root->scope;
    } catch (const c10::OutOfMemoryError &error) {
        err_set(e, ERR_MEMORY, "device: %s: %s", settings->device,
                error.what_without_backtrace());
    } catch (const c10::Error &error) {
        err_set(e, ERR_DEVICE, "device: found \"%s\": %s", settings->device,
                error.what_without_backtrace());
    } catch (const std::exception &error) {
        err_set(e, ERR_DEVICE, "device: found \"%s\": %s", settings->device,
                error.what());
    } catch (...) {
        err_set(e, ERR_DEVICE, "device: found \"%s\": unknown failure", settings->device);
    }
    one_line(e->message);
    if (e->code == ERR_DEVICE)
        err_hint(e, "diffens doctor lists the devices that are there");
    tc_close(&root->scope);
    return nullptr;
}

void tc_close(tc_scope *scope)
{
    if (!scope)
        return;
    tc_root *root = scope->root;
    scope_clear(&root->scope);
    delete root;
}

const char *tc_device(const tc_scope *s)
{
    return s->root->device_name;
}

bool tc_is_cpu(const tc_scope *s)
{
    return s->root->device.is_cpu();
}

bool tc_is_meta(const tc_scope *s)
{
    return s->root->device.is_meta();
}

const char *tc_version(void)
{
    return TORCH_VERSION;
}

static struct tc_memory memory_of_host(void)
{
    struct host_memory host = host_memory_read("");
    return {-1, -1, host.available, host.total};
}

struct tc_memory tc_memory_stats(const tc_scope *s)
{
    at::Device device = s->root->device;
    if (device.is_cpu() || device.is_meta())
        return memory_of_host();
    struct tc_memory memory = {-1, -1, -1, -1};
    try {
        auto stats = at::accelerator::getDeviceStats(device.index());
        memory.live = stats.allocated_bytes[0].current;
        memory.peak = stats.allocated_bytes[0].peak;
        auto [free, total] = at::accelerator::getMemoryInfo(device.index());
        memory.free = (int64_t)free;
        memory.total = (int64_t)total;
    } catch (...) {
        // A backend without statistics answers -1, as the contract says.
    }
    return memory;
}

void tc_empty_cache(tc_scope *s)
{
    if (s->root->error.code == ERR_DEVICE) // it broke: no further calls
        return;
    try {
        if (!s->root->device.is_cpu() && !s->root->device.is_meta())
            at::accelerator::emptyCache();
        if (s->root->pinned)
            at::accelerator::emptyHostCache();
    } catch (...) {
        tc_fail_in_flight(s, "empty_cache", {});
    }
    malloc_trim(0);
}

// The sticky error
void tc_context(tc_scope *s, const char *format, ...)
{
    if (s == &s->root->dead)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(s->context, sizeof s->context, format, args);
    va_end(args);
}

bool tc_ok(const tc_scope *s)
{
    return s->root->error.code == ERR_OK;
}

// Writes the contexts of the scopes around s, outermost first.
static void context_write(const tc_scope *s, char *out, size_t size)
{
    if (s->up)
        context_write(s->up, out, size);
    size_t used = strlen(out);
    if (s->context[0])
        snprintf(out + used, size - used, "%s: ", s->context);
}

void tc_fail(tc_scope *s, int code, const char *format, ...)
{
    char text[768], context[sizeof s->root->error.message - sizeof text] = "";
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    one_line(text);
    context_write(s, context, sizeof context);
    err_set(&s->root->error, code, "%s%s", context, text);
}

bool tc_check(const tc_scope *s, struct err *e)
{
    const struct err *error = &s->root->error;
    if (error->code == ERR_OK)
        return true;
    if (e->code == ERR_OK)
        *e = *error;
    return false;
}

void tc_recover(tc_scope *s)
{
    s->root->error = {};
}

static const char *dtype_name(const at::Tensor &x)
{
    return c10::toString(x.scalar_type());
}

// "add([2,4] Float, [3] Float)": for the sticky error's text.
static void describe(char *out, size_t size, const char *operation,
                     std::initializer_list<const tc_tensor *> operands)
{
    std::string text = operation;
    text += '(';
    for (const tc_tensor *x : operands) {
        if (text.back() != '(')
            text += ", ";
        text += '[';
        for (int64_t i = 0; x && i < x->value.dim(); i++) {
            if (i > 0)
                text += ',';
            text += std::to_string(x->value.size(i));
        }
        text += "] ";
        text += x ? dtype_name(x->value) : "null";
    }
    snprintf(out, size, "%s)", text.c_str());
}

// Not all of libtorch throws an OutOfMemoryError when memory is out: not the CPU's
// allocator, nor cuBLAS and cuDNN, which then find no way to compute (Conv_v8.cpp) or do
// not come up.
static bool is_out_of_memory(const char *text)
{
    static const char *const signs[] = {
        "can't allocate memory",
        "not enough memory",
        "out of memory",
        "ALLOC_FAILED",
        "CUBLAS_STATUS_NOT_INITIALIZED",
        "unable to find an engine to execute this computation",
        "Unable to find a valid cuDNN algorithm",
    };
    for (const char *sign : signs)
        if (strstr(text, sign))
            return true;
    return false;
}

static void fail_out_of_memory(tc_scope *s, const char *what, const char *text)
{
    struct tc_memory memory = tc_memory_stats(s);
    tc_fail(s, ERR_MEMORY, "%s: out of memory on %s, %lld MB free of %lld: %s", what,
            s->root->device_name, (long long)memory.free / 1000000,
            (long long)memory.total / 1000000, text);
}

void tc_fail_in_flight(tc_scope *s, const char *operation,
                       std::initializer_list<const tc_tensor *> operands) noexcept
{
    char what[256] = "";
    try {
        describe(what, sizeof what, operation, operands);
    } catch (...) {
        snprintf(what, sizeof what, "%s", operation);
    }
    try {
        throw;
    } catch (const tc_interrupted &) {
        return;
    } catch (const c10::OutOfMemoryError &error) {
        fail_out_of_memory(s, what, error.what_without_backtrace());
    } catch (const c10::AcceleratorError &error) {
        const char *text = error.what_without_backtrace();
        if (is_out_of_memory(text)) // CUDA's own, where libtorch's allocator is not asked
            fail_out_of_memory(s, what, text);
        else
            tc_fail(s, ERR_DEVICE, "%s: %s", what, text);
    } catch (const c10::Error &error) {
        const char *text = error.what_without_backtrace();
        if (is_out_of_memory(text))
            fail_out_of_memory(s, what, text);
        else if (strstr(text, "does not have a deterministic implementation"))
            tc_fail(s, ERR_DEVICE,
                    "%s: found no deterministic way to compute it on %s, expected one "
                    "for --deterministic",
                    what, s->root->device_name);
        else
            tc_fail(s, ERR_BUG, "%s: %s", what, text);
    } catch (const std::bad_alloc &) {
        fail_out_of_memory(s, what, "no host memory");
    } catch (const std::exception &error) {
        tc_fail(s, ERR_BUG, "%s: %s", what, error.what());
    } catch (...) {
        tc_fail(s, ERR_BUG, "%s: unknown failure", what);
    }
}

bool tc_enter(tc_scope *s, const char *operation,
              std::initializer_list<const tc_tensor *> x)
{
    tc_root *root = s->root;
    if (root->error.code != ERR_OK)
        return false;
    if (s->go_on && !s->go_on(&root->error))
        return false;
    for (const tc_tensor *operand : x) {
        if (!operand) {
            tc_fail(s, ERR_BUG, "%s: an operand is missing", operation);
            return false;
        }
    }
    root->operations++;
    if (root->fail_in > 0 && --root->fail_in == 0) {
        tc_fail(s, ERR_BUG, "%s: injected failure", operation);
        return false;
    }
    return true;
}

void tc_inject_failure(tc_scope *root, int64_t n)
{
    root->root->fail_in = n;
}

int64_t tc_operations(const tc_scope *root)
{
    return root->root->operations;
}

// Taps
void tc_set_tap(tc_scope *root, tc_tap_fn *tap, void *user)
{
    root->root->tap = tap;
    root->root->tap_user = user;
}

bool tc_has_tap(const tc_scope *s)
{
    return s->root->tap != nullptr;
}

void tc_tap(tc_scope *s, const char *name, tc_tensor *x)
{
    if (s->root->tap && x)
        s->root->tap(s, name, x, s->root->tap_user);
}

// Sizes
int64_t tc_size(const tc_tensor *x, int dim)
{
    if (!x)
        return 1;
    int64_t rank = x->value.dim(), index = dim < 0 ? dim + rank : dim;
    return index >= 0 && index < rank ? x->value.sizes()[(size_t)index] : 1;
}

int tc_rank(const tc_tensor *x)
{
    return x ? (int)x->value.dim() : 1;
}

int64_t tc_numel(const tc_tensor *x)
{
    return x ? x->value.numel() : 1;
}

static const at::ScalarType scalar_types[] = {
    [TC_F32] = at::kFloat,  [TC_F16] = at::kHalf, [TC_BF16] = at::kBFloat16,
    [TC_F64] = at::kDouble, [TC_I64] = at::kLong, [TC_I32] = at::kInt,
    [TC_U8] = at::kByte,
};

at::ScalarType tc_scalar_type(enum tc_dtype dtype)
{
    return scalar_types[dtype];
}

enum tc_dtype tc_dtype_of(const tc_tensor *x)
{
    for (int i = TC_F32; x && i <= TC_U8; i++)
        if (scalar_types[i] == x->value.scalar_type())
            return (enum tc_dtype)i;
    return TC_F32;
}

size_t tc_dtype_size(enum tc_dtype dtype)
{
    return c10::elementSize(scalar_types[dtype]);
}

// Host and device

// The host need not wait: libtorch keeps pinned memory until the copy is done.
static at::Tensor to_device(const tc_root *root, const at::Tensor &host)
{
    return host.to(root->device, host.scalar_type(), root->pinned);
}

tc_tensor *tc_from_host(tc_scope *s, enum tc_dtype dtype, struct tc_shape shape,
                        const void *data)
{
    return tc_run(s, "from_host", {}, [&] {
        at::Tensor host = host_empty(s->root, dtype, shape);
        if (host.nbytes() > 0) // else neither points anywhere
            memcpy(host.mutable_data_ptr(), data, host.nbytes());
        return to_device(s->root, host);
    });
}

bool tc_to_host(tc_scope *s, const tc_tensor *x, enum tc_dtype dtype, void *out,
                size_t bytes)
{
    return tc_do(s, "to_host", {x}, [&] {
        at::Tensor host = x->value.to(at::kCPU, tc_scalar_type(dtype)).contiguous();
        TORCH_CHECK(host.nbytes() == bytes, "found ", host.nbytes(), " bytes, expected ",
                    bytes);
        if (bytes > 0)
            memcpy(out, host.const_data_ptr(), bytes);
    });
}

bool tc_all_finite(tc_scope *s, const tc_tensor *x)
{
    bool finite = false;
    tc_do(s, "all_finite", {x},
          [&] { finite = at::all(at::isfinite(x->value)).item<bool>(); });
    return finite;
}

// Random numbers
tc_rng *tc_rng_new(tc_scope *s, uint64_t seed)
{
    tc_rng *rng = nullptr;
    tc_do(s, "rng_new", {}, [&] {
        rng = new tc_rng{at::detail::createCPUGenerator(seed), s->first_rng};
        s->first_rng = rng;
    });
    return rng;
}

tc_tensor *tc_randn(tc_scope *s, tc_rng *rng, struct tc_shape shape)
{
    return tc_run(s, "randn", {}, [&] {
        TORCH_CHECK(rng, "the generator is missing");
        at::Tensor host = host_empty(s->root, TC_F32, shape);
        return to_device(s->root, host.normal_(0, 1, rng->generator));
    });
}
