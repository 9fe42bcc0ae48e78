// tc_attention.cpp: attention in blocks of queries and keys whose scores stay in a cache,
// with the softmax of all keys kept up to date from block to block (Milakov and
// Gimelshein, "Online normalizer calculation for softmax", 2018; Dao et al.,
// "FlashAttention", 2022). Leaves the products to tc_product.cpp.
#include "tc_attention.hpp"
#include "tc_product.hpp"
#include "tc_vector.hpp"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

static const int64_t QUERIES = 96, KEYS = 512; // of a block, at most
static const float NEVER = -std::numeric_limits<float>::infinity();

// Numbers of keys and values that lie in panels at a time: as many as stay in a cache.
static const int64_t PACKED = 1 << 17;

struct attention {
    const at::Tensor &q, &k, &v; // [B,heads,T or S,D]
    at::Tensor y;                // [B,T,heads,D]
    int64_t heads, queries, keys, width;
    int64_t padded; // keys, up to a multiple of 8
    int64_t block;  // keys of a block
};

// One head's keys and values: panels of [D,block] and of [block,D], for each block.
struct head {
    int64_t index; // among those of all pictures
    float *keys, *values;
};

// A block of queries.
struct workspace {
    std::unique_ptr<float[]> memory;
    float *q;      // [QUERIES,D], divided by sqrt(D)
    float *scores; // [QUERIES,block]
    float *y;      // [QUERIES,D]
    float most[QUERIES], sum[QUERIES];

    explicit workspace(const struct attention &a)
        : memory(new float[(size_t)(QUERIES * (2 * a.width + a.block))]), q(memory.get()),
          scores(q + QUERIES * a.width), y(scores + QUERIES * a.block)
    {
    }
};

bool attention_suits(const at::Tensor &q, const at::Tensor &k, const at::Tensor &v)
{
    auto suits = [&](const at::Tensor &x) {
        return x.device().is_cpu() && x.scalar_type() == at::kFloat && x.dim() == 4 &&
               x.size(0) == q.size(0) && x.size(1) == q.size(1) &&
               x.size(3) == q.size(3) && x.stride(3) == 1 && x.size(3) % LANE == 0;
    };
    return suits(q) && suits(k) && suits(v) && k.size(2) == v.size(2) && k.size(2) > 0;
}

static const float *row_of(const at::Tensor &x, int64_t head, int64_t row)
{
    int64_t b = head / x.size(1), h = head % x.size(1);
    return x.const_data_ptr<float>() + b * x.stride(0) + h * x.stride(1) +
           row * x.stride(2);
}

// Eight keys from `first` on and their values; behind the last key are zeros.
EACH_PROCESSOR static void pack_keys(const struct attention &a, const struct head &head,
                                     int64_t first)
{
    int64_t start = first / a.block * a.block, within = first - start,
            count = std::min(a.block, a.padded - start);
    float *keys = head.keys + start * a.width, *values = head.values + start * a.width;
    const float *k[LANE], *v[LANE];
    for (int i = 0; i < LANE; i++) {
        bool inside = first + i < a.keys;
        k[i] = inside ? row_of(a.k, head.index, first + i) : nullptr;
        v[i] = inside ? row_of(a.v, head.index, first + i) : nullptr;
    }
    for (int64_t c = 0; c < a.width; c += LANE) {
        lane x[LANE];
        for (int i = 0; i < LANE; i++) {
            x[i] = k[i] ? load(k[i] + c) : lane{};
            put(values + panel_place(count, a.width, within + i, c)) =
                v[i] ? load(v[i] + c) : lane{};
        }
        transpose(x);
        for (int i = 0; i < LANE; i++)
            put(keys + panel_place(a.width, count, c + i, within)) = x[i];
    }
}

// scores [rows,count] of keys from `first` on: how much each counts, before they are
// divided by the sum; and y [rows,D] and the sums so far in the same measure.
EACH_PROCESSOR static void soften(const struct attention &a, struct workspace *w,
                                  int64_t rows, int64_t first, int64_t count)
{
    for (int64_t r = 0; r < rows; r++) {
        float *scores = w->scores + r * a.block, *y = w->y + r * a.width;
        for (int64_t i = a.keys - first; i < count; i++)
            scores[i] = NEVER;
        lane most = lane{} + w->most[r];
        for (int64_t i = 0; i < count; i += LANE) {
            lane x = load(scores + i);
            most = x > most ? x : most;
        }
        float peak = most[0];
        for (int i = 1; i < LANE; i++)
            peak = std::max(peak, most[i]);
        lane sum = {};
        for (int64_t i = 0; i < count; i += LANE) {
            lane e;
            exponential(load(scores + i) - peak, e);
            put(scores + i) = e;
            sum += e;
        }
        float fade = std::exp(w->most[r] - peak);
        w->sum[r] *= fade;
        for (int i = 0; i < LANE; i++)
            w->sum[r] += sum[i];
        w->most[r] = peak;
        if (fade != 1)
            for (int64_t c = 0; c < a.width; c += LANE)
                put(y + c) = load(y + c) * fade;
    }
}

static void take_keys(const struct attention &a, const struct head &head,
                      struct workspace *w, int64_t rows, int64_t first)
{
    int64_t count = std::min(a.block, a.padded - first);
    panels_multiply({.a = w->q,
                     .panels = head.keys + first * a.width,
                     .start = nullptr,
                     .c = w->scores,
                     .rows = rows,
                     .depth = a.width,
                     .columns = count,
                     .a_line = a.width,
                     .start_line = 0,
                     .c_line = a.block});
    soften(a, w, rows, first, count);
    panels_multiply({.a = w->scores,
                     .panels = head.values + first * a.width,
                     .start = w->y,
                     .c = w->y,
                     .rows = rows,
                     .depth = count,
                     .columns = a.width,
                     .a_line = a.block,
                     .start_line = a.width,
                     .c_line = a.width});
}

// The queries from `first` on of one head.
static void attend(const struct attention &a, const struct head &head,
                   struct workspace *w, int64_t first)
{
    int64_t rows = std::min(QUERIES, a.queries - first);
    float scale = 1 / std::sqrt((float)a.width);
    for (int64_t r = 0; r < rows; r++) {
        const float *q = row_of(a.q, head.index, first + r);
        for (int64_t c = 0; c < a.width; c++)
            w->q[r * a.width + c] = q[c] * scale;
        w->most[r] = NEVER;
        w->sum[r] = 0;
    }
    std::fill(w->y, w->y + rows * a.width, 0.0f);
    for (int64_t key = 0; key < a.padded; key += a.block)
        take_keys(a, head, w, rows, key);
    int64_t line = a.heads * a.width, b = head.index / a.heads, h = head.index % a.heads;
    float *y =
        a.y.mutable_data_ptr<float>() + (b * a.queries + first) * line + h * a.width;
    for (int64_t r = 0; r < rows; r++) {
        float factor = 1 / w->sum[r];
        for (int64_t c = 0; c < a.width; c++)
            y[r * line + c] = w->y[r * a.width + c] * factor;
    }
}

// Some heads at a time: all threads put their keys and values into panels, then take
// their queries.
static void attend_all(const struct attention &a)
{
    int64_t all = a.q.size(0) * a.heads, size = 2 * a.padded * a.width,
            blocks = (a.queries + QUERIES - 1) / QUERIES, eights = a.padded / LANE;
    int64_t enough = (4 * at::get_num_threads() + blocks - 1) / blocks;
    int64_t some = std::min(all, std::max(PACKED / size, enough));
    at::Tensor panels = at::empty({some, size}, a.y.options());
    for (int64_t first = 0; first < all; first += some) {
        int64_t count = std::min(some, all - first);
        float *memory = panels.mutable_data_ptr<float>();
        auto head = [&](int64_t i) {
            float *keys = memory + i * size;
            return (struct head){first + i, keys, keys + size / 2};
        };
        at::parallel_for(0, count * eights, 32, [&](int64_t begin, int64_t end) {
            for (int64_t i = begin; i < end; i++)
                pack_keys(a, head(i / eights), i % eights * LANE);
        });
        at::parallel_for(0, count * blocks, 1, [&](int64_t begin, int64_t end) {
            struct workspace w(a);
            for (int64_t i = begin; i < end; i++)
                attend(a, head(i / blocks), &w, i % blocks * QUERIES);
        });
    }
}

at::Tensor attention_rows(const at::Tensor &q, const at::Tensor &k, const at::Tensor &v)
{
    int64_t padded = (k.size(2) + LANE - 1) / LANE * LANE;
    struct attention a = {
        .q = q,
        .k = k,
        .v = v,
        .y = at::empty({q.size(0), q.size(2), q.size(1), q.size(3)}, q.options()),
        .heads = q.size(1),
        .queries = q.size(2),
        .keys = k.size(2),
        .width = q.size(3),
        .padded = padded,
        .block = std::min(KEYS, padded),
    };
    attend_all(a);
    return a.y.permute({0, 2, 1, 3});
}
