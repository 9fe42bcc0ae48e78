// tc_load.cpp: tensors of numbers from outside: read by several threads, each straight to
// where it stays, or by way of a processor's cache where type or layout change. Leaves
// what is read to the caller.
#include "tc_internal.hpp"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_strided.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <sys/mman.h>
#include <vector>

static const int64_t PIECE = 128 << 10;  // bytes read at a time; half of a small L2
static const int64_t MAPPED = 256 << 10; // a tensor of so many bytes gets its own pages
static const int64_t HUGE = 2 << 20;     // a huge page
static const int64_t STAGED = 256 << 20; // host memory for what goes to a device

// Memory that goes back to the system with its tensor, whatever the heap looks like by
// then, in huge pages: one page fault for each 4 KiB would take longer than the reading.
static char *map_memory(size_t bytes)
{
    size_t room = bytes + HUGE;
    void *start =
        mmap(nullptr, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED)
        throw std::bad_alloc();
    char *from = static_cast<char *>(start);
    size_t before = (HUGE - (uintptr_t)from % HUGE) % HUGE;
    if (before > 0)
        munmap(from, before);
    munmap(from + before + bytes, room - before - bytes);
    madvise(from + before, bytes, MADV_HUGEPAGE); // where there are none: small ones
    return from + before;
}

static at::Tensor host_tensor(at::ScalarType type, at::IntArrayRef sizes,
                              at::IntArrayRef strides)
{
    at::TensorOptions options = at::TensorOptions().dtype(type);
    int64_t bytes = (int64_t)c10::elementSize(type);
    for (int64_t size : sizes)
        bytes *= size;
    if (bytes < MAPPED)
        return at::empty_strided(sizes, strides, options);
    const int64_t page = 4096;
    size_t mapped = (size_t)((bytes + page - 1) / page * page);
    char *memory = map_memory(mapped);
    return at::from_blob(
        memory, sizes, strides, [mapped](void *start) { munmap(start, mapped); },
        options);
}

static bool is_image_like(const struct tc_shape &shape)
{
    return shape.rank == 4;
}

// Where the numbers are read to: on the CPU the tensor itself, as convolutions take it
// without re-ordering; else memory from which they go to the device as they are.
static at::Tensor destination(const tc_root *root, const struct tc_source &source)
{
    at::IntArrayRef d = tc_sizes(source.shape);
    if (root->device.is_meta())
        return at::empty(
            d, at::TensorOptions().device(at::kMeta).dtype(tc_scalar_type(source.dtype)));
    if (!root->device.is_cpu())
        return at::empty(d, at::TensorOptions()
                                .dtype(tc_scalar_type(source.stored))
                                .pinned_memory(root->pinned));
    at::ScalarType type = tc_scalar_type(source.dtype);
    if (is_image_like(source.shape))
        return host_tensor(type, d, {d[1] * d[2] * d[3], 1, d[3] * d[1], d[1]});
    std::vector<int64_t> strides(d.size());
    int64_t stride = 1;
    for (size_t i = d.size(); i-- > 0; stride *= d[i])
        strides[i] = stride;
    return host_tensor(type, d, strides);
}

// [rows,channels,area] -> [rows,area,channels]
template <class Element>
static void transpose(const void *from, void *to, int64_t rows, int64_t channels,
                      int64_t area)
{
    const Element *in = static_cast<const Element *>(from);
    Element *out = static_cast<Element *>(to);
    for (int64_t row = 0; row < rows; row++, out += channels * area)
        for (int64_t c = 0; c < channels; c++, in += area)
            for (int64_t k = 0; k < area; k++)
                out[k * channels + c] = in[k];
}

// Some rows of the first dimension, as stored, into their place in `out`.
static void place_rows(const at::Tensor &stored, int64_t row, const at::Tensor &out)
{
    int64_t rows = stored.size(0), width = stored.size(1),
            area = out.dim() == 4 ? out.size(2) * out.size(3) : 1;
    size_t size = out.element_size();
    char *place =
        static_cast<char *>(out.mutable_data_ptr()) + row * width * (int64_t)size;
    if (out.is_contiguous()) {
        at::from_blob(place, {rows, width}, out.options()).copy_(stored);
        return;
    }
    at::Tensor converted = stored.to(out.scalar_type());
    auto *work = size == 1   ? transpose<uint8_t>
                 : size == 2 ? transpose<uint16_t>
                 : size == 4 ? transpose<uint32_t>
                             : transpose<uint64_t>;
    work(converted.const_data_ptr(), place, rows, width / area, area);
}

static bool read_all(const struct tc_source &source, const at::Tensor &out, struct err *e)
{
    int64_t rows = source.shape.rank > 0 ? source.shape.dim[0] : 1;
    at::ScalarType stored = tc_scalar_type(source.stored);
    if (out.numel() == 0)
        return true;
    if (out.scalar_type() == stored && out.is_contiguous())
        return source.read(source.user, rows, out.mutable_data_ptr(), e);
    int64_t width = out.numel() / rows;
    int64_t most =
        std::clamp<int64_t>(PIECE / (width * (int64_t)c10::elementSize(stored)), 1, rows);
    at::Tensor piece = at::empty({most, width}, at::TensorOptions().dtype(stored));
    for (int64_t row = 0; row < rows; row += most) {
        int64_t count = std::min(most, rows - row);
        if (!source.read(source.user, count, piece.mutable_data_ptr(), e))
            return false;
        place_rows(piece.narrow(0, 0, count), row, out);
    }
    return true;
}

// Reads them all; of several failures the first one's counts.
static void read_in_threads(tc_scope *s, const std::vector<at::Tensor> &host,
                            const struct tc_source *sources)
{
    std::atomic<size_t> next{0};
    std::mutex lock;
    size_t failed = host.size();
    struct err failure = {};
    at::parallel_for(0, at::get_num_threads(), 1, [&](int64_t, int64_t) {
        for (size_t i; (i = next++) < host.size();) {
            struct err e = {};
            if (read_all(sources[i], host[i], &e))
                continue;
            std::lock_guard<std::mutex> guard(lock);
            next = host.size();
            if (i < failed) {
                failed = i;
                failure = e;
            }
        }
    });
    if (failed < host.size())
        tc_fail(s, failure.code, "%s", failure.message);
}

// How many sources are read at a time.
static int take(const tc_root *root, int count, const struct tc_source *sources)
{
    int64_t bytes = 0;
    int n = 0;
    bool staged = !root->device.is_cpu() && !root->device.is_meta();
    while (n < count && (!staged || bytes < STAGED)) {
        int64_t elements = 1;
        for (int64_t size : tc_sizes(sources[n].shape))
            elements *= size;
        bytes += elements * (int64_t)tc_dtype_size(sources[n].stored);
        n++;
    }
    return n;
}

// The tensor on the device, converted there, where it is quicker.
static at::Tensor finish(const tc_root *root, const struct tc_source &source,
                         const at::Tensor &host)
{
    if (root->device.is_cpu() || root->device.is_meta())
        return host;
    at::Tensor x = host.to(root->device, host.scalar_type(), root->pinned)
                       .to(tc_scalar_type(source.dtype));
    return is_image_like(source.shape) ? x.contiguous(at::MemoryFormat::ChannelsLast) : x;
}

static void load_some(tc_scope *s, int count, struct tc_source *sources)
{
    std::vector<at::Tensor> host;
    tc_do(s, "load", {}, [&] {
        for (int i = 0; i < count; i++)
            host.push_back(destination(s->root, sources[i]));
        if (!s->root->device.is_meta())
            read_in_threads(s, host, sources);
    });
    for (int i = 0; i < count && tc_ok(s); i++) {
        sources[i].tensor = tc_run(
            s, "load", {}, [&] { return finish(s->root, sources[i], host[(size_t)i]); });
        host[(size_t)i].reset();
    }
}

bool tc_load(tc_scope *s, int count, struct tc_source *sources)
{
    for (int i = 0; i < count; i++)
        sources[i].tensor = nullptr;
    for (int done = 0; done < count && tc_ok(s);) {
        int some = take(s->root, count - done, sources + done);
        load_some(s, some, sources + done);
        done += some;
    }
    return tc_ok(s);
}
