// test_device.cpp: an accelerator that is really host memory, for tests of everything
// that only shows on one: a libtorch PrivateUse1 backend ("privateuseone") that counts,
// and that can run out of memory or break. Leaves all arithmetic to libtorch's CPU
// kernels.
//
// Environment:
//   TEST_DEVICE_BYTES=N     its memory; default 4 GiB
//   TEST_DEVICE_FAIL_FROM=K the K-th allocation and all after it fail
//   TEST_DEVICE_BREAK_AT=K  the K-th kernel breaks the device, which then refuses
//   everything TEST_DEVICE_REPORT=F    what was counted, as JSON, written to F at exit
#include "test_device.h"

#include <ATen/EmptyTensor.h>
#include <ATen/core/CachingHostAllocator.h>
#include <ATen/core/Tensor.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/convolution.h>
#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/resize_native.h>
#include <ATen/ops/set_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <vector>

namespace
{

constexpr c10::DeviceType TYPE = c10::DeviceType::PrivateUse1;
const c10::Device DEVICE(TYPE, 0);

int64_t setting(const char *name, int64_t otherwise)
{
    const char *text = getenv(name);
    return text ? strtoll(text, nullptr, 10) : otherwise;
}

struct counts {
    int64_t allocations, kernels, calls_after_break;
    int64_t to_host, to_device; // copies
    int64_t waits;              // what an accelerator's host thread would wait for
    c10::CachingAllocator::Stat bytes;
    std::vector<int64_t> live_at_empty_cache;
    std::mutex memory; // autograd frees in a thread of its own

    ~counts()
    {
        const char *path = getenv("TEST_DEVICE_REPORT");
        FILE *f = path ? fopen(path, "w") : nullptr;
        if (!f)
            return;
        fprintf(f,
                "{\"allocations\": %ld, \"kernels\": %ld, \"calls_after_break\": %ld, ",
                allocations, kernels, calls_after_break);
        fprintf(f, "\"to_host\": %ld, \"to_device\": %ld, \"waits\": %ld, ", to_host,
                to_device, waits);
        fprintf(f, "\"live\": %ld, \"peak\": %ld, \"live_at_empty_cache\": [",
                bytes.current, bytes.peak);
        for (size_t i = 0; i < live_at_empty_cache.size(); i++)
            fprintf(f, "%s%ld", i ? ", " : "", live_at_empty_cache[i]);
        fprintf(f, "]}\n");
        fclose(f);
    }
} counted;

int64_t fail_at; // the allocation that fails; 0: none
bool broken;
thread_local bool falling_back; // libtorch's own copies around a kernel of the CPU

// Every call that a driver would see passes here.
void call_device()
{
    counted.calls_after_break += broken;
    if (!broken && ++counted.kernels != setting("TEST_DEVICE_BREAK_AT", -1))
        return;
    broken = true;
    throw c10::AcceleratorError({__func__, __FILE__, __LINE__}, 700,
                                "test device: an illegal memory access was encountered");
}

// Memory

constexpr size_t HEADER =
    64; // in front of each block, so that the deleter knows its size

void block_free(void *block)
{
    if (!block)
        return;
    char *base = static_cast<char *>(block) - HEADER;
    {
        std::lock_guard<std::mutex> guard(counted.memory);
        counted.bytes.decrease(*reinterpret_cast<size_t *>(base));
    }
    free(base);
}

bool must_fail(size_t bytes)
{
    std::lock_guard<std::mutex> guard(counted.memory);
    int64_t now = ++counted.allocations;
    if (now == fail_at || now >= setting("TEST_DEVICE_FAIL_FROM", INT64_MAX))
        return true;
    int64_t capacity = setting("TEST_DEVICE_BYTES", (int64_t)4 << 30);
    return counted.bytes.current + (int64_t)bytes > capacity;
}

struct allocator final : c10::DeviceAllocator {
    c10::DataPtr allocate(size_t bytes) override
    {
        if (bytes == 0)
            return {nullptr, nullptr, &block_free, DEVICE};
        TORCH_CHECK_WITH(OutOfMemoryError, !must_fail(bytes),
                         "test device out of memory. Tried to allocate ", bytes,
                         " bytes.");
        char *base =
            static_cast<char *>(aligned_alloc(64, (bytes + HEADER + 63) / 64 * 64));
        TORCH_CHECK(base, "test device: no host memory");
        *reinterpret_cast<size_t *>(base) = bytes;
        {
            std::lock_guard<std::mutex> guard(counted.memory);
            counted.bytes.increase(bytes);
        }
        memset(base + HEADER, 0xff, bytes); // NaN: memory that nobody wrote shows
        return {base + HEADER, base + HEADER, &block_free, DEVICE};
    }
    c10::DeleterFnPtr raw_deleter() const override
    {
        return &block_free;
    }
    void copy_data(void *to, const void *from, size_t bytes) const override
    {
        memcpy(to, from, bytes);
    }
    bool initialized() override
    {
        return true;
    }
    void emptyCache(c10::MempoolId_t) override
    {
        counted.calls_after_break += broken;
        counted.live_at_empty_cache.push_back(counted.bytes.current);
    }
    void recordStream(const c10::DataPtr &, c10::Stream) override
    {
    }
    c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex) override
    {
        c10::CachingDeviceAllocator::DeviceStats stats;
        stats.allocated_bytes[0] = counted.bytes;
        return stats;
    }
    void resetAccumulatedStats(c10::DeviceIndex) override
    {
    }
    void resetPeakStats(c10::DeviceIndex) override
    {
        counted.bytes.reset_peak();
    }
    std::pair<size_t, size_t> getMemoryInfo(c10::DeviceIndex) override
    {
        size_t total = (size_t)setting("TEST_DEVICE_BYTES", (int64_t)4 << 30);
        return {total - (size_t)counted.bytes.current, total};
    }
} memory;

// Host memory from which an accelerator would copy by itself.
struct pinned_allocator final : at::HostAllocator {
    c10::DataPtr allocate(size_t bytes) override
    {
        return host()->allocate(bytes);
    }
    void copy_data(void *to, const void *from, size_t bytes) const override
    {
        memcpy(to, from, bytes);
    }
    bool record_event(void *, void *, c10::Stream) override
    {
        return true;
    }
    void empty_cache() override
    {
    }
    at::HostStats get_stats() override
    {
        return {};
    }
    void reset_accumulated_stats() override
    {
    }
    void reset_peak_stats() override
    {
    }

  private:
    static c10::Allocator *host()
    {
        return c10::GetAllocator(c10::DeviceType::CPU);
    }
} pinned_memory;

// Device, stream, hooks

struct guard final : c10::impl::DeviceGuardImplInterface {
    c10::DeviceType type() const override
    {
        return TYPE;
    }
    c10::Device exchangeDevice(c10::Device) const override
    {
        return DEVICE;
    }
    c10::Device getDevice() const override
    {
        return DEVICE;
    }
    void setDevice(c10::Device) const override
    {
    }
    void uncheckedSetDevice(c10::Device) const noexcept override
    {
    }
    c10::Stream getStream(c10::Device) const override
    {
        return c10::Stream(c10::Stream::DEFAULT, DEVICE);
    }
    c10::Stream exchangeStream(c10::Stream s) const override
    {
        return s;
    }
    c10::DeviceIndex deviceCount() const noexcept override
    {
        if (!setting("TEST_DEVICE_NONE", 0))
            return 1;
        TORCH_WARN("The driver on your system is too old (found version 1)");
        return 0;
    }
    void synchronizeDevice(c10::DeviceIndex) const override
    {
        counted.waits++;
    }
    void synchronizeStream(const c10::Stream &) const override
    {
        counted.waits++;
    }
} guard_instance;

struct hooks final : at::PrivateUse1HooksInterface {
    bool isBuilt() const override
    {
        return true;
    }
    bool isAvailable() const override
    {
        return true;
    }
    bool hasPrimaryContext(c10::DeviceIndex) const override
    {
        return true;
    }
    c10::DeviceIndex deviceCount() const override
    {
        return 1;
    }
    c10::DeviceIndex getCurrentDevice() const override
    {
        return 0;
    }
    at::Allocator *getPinnedMemoryAllocator() const override
    {
        return &pinned_memory;
    }
} hooks_instance;

// Tensors

at::Tensor empty(at::IntArrayRef size, std::optional<at::ScalarType> dtype,
                 std::optional<at::Layout>, std::optional<at::Device>,
                 std::optional<bool>, std::optional<at::MemoryFormat> format)
{
    return at::detail::empty_generic(size, &memory,
                                     c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                     c10::dtype_or_default(dtype), format);
}

at::Tensor empty_strided(at::IntArrayRef size, at::IntArrayRef stride,
                         std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
                         std::optional<at::Device>, std::optional<bool>)
{
    return at::detail::empty_strided_generic(
        size, stride, &memory, c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
        c10::dtype_or_default(dtype));
}

// The same bytes as a tensor of the CPU.
at::Tensor on_host(const at::Tensor &x)
{
    if (!x.defined() || x.is_cpu())
        return x;
    return at::from_blob(x.data_ptr(), x.sizes(), x.strides(),
                         at::TensorOptions().dtype(x.scalar_type()));
}

at::Tensor copy_from(const at::Tensor &from, const at::Tensor &to, bool non_blocking)
{
    call_device();
    if (!falling_back && from.device() != to.device()) {
        (to.is_cpu() ? counted.to_host : counted.to_device)++;
        counted.waits += to.is_cpu() || !non_blocking;
    }
    on_host(to).copy_(on_host(from));
    return to;
}

at::Tensor copy_from_and_resize(const at::Tensor &from, const at::Tensor &to)
{
    to.resize_(from.sizes());
    return copy_from(from, to, false);
}

at::Scalar local_scalar(const at::Tensor &x)
{
    call_device();
    if (!falling_back) {
        counted.to_host++;
        counted.waits++;
    }
    return on_host(x).item();
}

// Kernels

// As on real accelerators: only a scalar may lie elsewhere.
void check_device(const at::Tensor &x)
{
    TORCH_CHECK(!x.defined() || x.device() == DEVICE || x.dim() == 0,
                "Expected all tensors to be on the same device, but found at least two "
                "devices, privateuseone:0 and ",
                x.device());
}

void kernel(const c10::OperatorHandle &op, torch::jit::Stack *stack)
{
    call_device();
    // As cuDNN says that memory is out, and CUDA's kernel that it adds in any order.
    TORCH_CHECK(counted.kernels != setting("TEST_DEVICE_NO_ENGINE_AT", -1),
                "GET was unable to find an engine to execute this computation");
    if (op.schema().name() == "aten::grid_sampler_2d_backward")
        at::globalContext().alertNotDeterministic("grid_sampler_2d_backward_cuda");
    size_t count = op.schema().arguments().size();
    for (const c10::IValue &value : torch::jit::last(*stack, count)) {
        if (value.isTensor())
            check_device(value.toTensor());
        else if (value.isTensorList())
            for (const at::Tensor &x : value.toTensorVector())
                check_device(x);
    }
    bool before = falling_back;
    falling_back = true;
    try {
        at::native::cpu_fallback(op, stack);
    } catch (...) {
        falling_back = before;
        throw;
    }
    falling_back = before;
}

at::Tensor on_device(const at::Tensor &x)
{
    if (!x.defined())
        return x;
    at::Tensor out = empty_strided(x.sizes(), x.strides(), x.scalar_type(), {}, {}, {});
    on_host(out).copy_(x);
    return out;
}

at::Tensor convolution(const at::Tensor &x, const at::Tensor &weight,
                       const std::optional<at::Tensor> &bias, at::IntArrayRef stride,
                       at::IntArrayRef padding, at::IntArrayRef dilation, bool transposed,
                       at::IntArrayRef output_padding, int64_t groups)
{
    call_device();
    check_device(x);
    check_device(weight);
    std::optional<at::Tensor> b;
    if (bias && bias->defined())
        b = on_host(*bias);
    return on_device(at::convolution(on_host(x), on_host(weight), b, stride, padding,
                                     dilation, transposed, output_padding, groups));
}

std::tuple<at::Tensor, at::Tensor, at::Tensor>
convolution_backward(const at::Tensor &upstream, const at::Tensor &x,
                     const at::Tensor &weight, at::IntArrayRef stride,
                     at::IntArrayRef padding, at::IntArrayRef dilation, bool transposed,
                     at::IntArrayRef output_padding, int64_t groups,
                     std::array<bool, 3> wanted)
{
    call_device();
    auto [gx, gw, gb] = at::convolution_backward(
        on_host(upstream), on_host(x), on_host(weight), at::IntArrayRef{weight.size(0)},
        stride, padding, dilation, transposed, output_padding, groups, wanted);
    return {on_device(gx), on_device(gw), on_device(gb)};
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m)
{
    m.impl("empty.memory_format", empty);
    m.impl("empty_strided", empty_strided);
    m.impl("as_strided", at::native::as_strided_tensorimpl);
    m.impl("view", at::native::view);
    m.impl("_reshape_alias", at::native::_reshape_alias);
    m.impl("resize_", at::native::resize_);
    m.impl("set_.source_Storage", [](at::Tensor &x, at::Storage s) -> at::Tensor & {
        return at::native::set_(x, s);
    });
    m.impl("set_.source_Storage_storage_offset", at::native::set_storage_cpu_);
    m.impl("_copy_from", copy_from);
    m.impl("_copy_from_and_resize", copy_from_and_resize);
    m.impl("_local_scalar_dense", local_scalar);
    m.impl("convolution_overrideable", convolution);
    m.impl("convolution_backward_overrideable", convolution_backward);
    // libtorch's stand-ins for devices without these do not take channels-last tensors.
    for (const char *name : {"native_group_norm", "native_group_norm_backward",
                             "native_layer_norm", "native_layer_norm_backward"})
        m.impl(name, torch::CppFunction::makeFromBoxedFunction<&kernel>());
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, m)
{
    m.fallback(torch::CppFunction::makeFromBoxedFunction<&kernel>());
}

const bool registered = [] {
    c10::register_privateuse1_backend("privateuseone");
    c10::SetAllocator(TYPE, &memory);
    at::setHostAllocator(TYPE, &pinned_memory);
    at::RegisterPrivateUse1HooksInterface(&hooks_instance);
    static c10::impl::DeviceGuardImplRegistrar guards(TYPE, &guard_instance);
    return true;
}();

} // namespace

void test_device_fail_at(long k)
{
    fail_at = k;
    counted.allocations = 0;
}

long test_device_allocations(void)
{
    return counted.allocations;
}

long test_device_live_bytes(void)
{
    return counted.bytes.current;
}
