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

struct attention {
    const at::Tensor &q, &k, &v; // [B,heads,T or S,D]
    at::Tensor y;                // [B,T,heads,D]
    int64_t heads, queries, keys, width;
    int64_t padded; // keys, up to a multiple of 8
    int64_t block;  // keys of a block
};

// What a thread works with: one head's keys and values in panels, and a block of queries.
struct workspace {
    int64_t head = -1; // of all pictures
    std::unique_ptr<float[]> memory;
    float *keys;   // panels of [D,block], for each block
    float *values; // panels of [block,D], for each block
    float *q;      // [QUERIES,D], divided by sqrt(D)
    float *scores; // [QUERIES,block]
    float *y;      // [QUERIES,D]
    float *zeros;  // [D]
    float most[QUERIES], sum[QUERIES];

    explicit workspace(const struct attention &a)
    {
        int64_t head_size = a.padded * a.width, rows_size = QUERIES * a.width;
        int64_t size = 2 * head_size + 2 * rows_size + QUERIES * a.block + a.width;
        memory.reset(new float[(size_t)size]);
        keys = memory.get();
        values = keys + head_size;
        q = values + head_size;
        y = q + rows_size;
        scores = y + rows_size;
        zeros = scores + QUERIES * a.block;
        std::fill(zeros, zeros + a.width, 0.0f);
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

// Eight keys from `first` on and their values, of a block of `count` from `start` on.
EACH_PROCESSOR static void pack_keys(const struct attention &a, struct workspace *w,
                                     int64_t start, int64_t count, int64_t first)
{
    float *keys = w->keys + start * a.width, *values = w->values + start * a.width;
    const float *k[LANE], *v[LANE];
    for (int i = 0; i < LANE; i++) {
        bool inside = start + first + i < a.keys;
        k[i] = inside ? row_of(a.k, w->head, start + first + i) : w->zeros;
        v[i] = inside ? row_of(a.v, w->head, start + first + i) : w->zeros;
    }
    for (int64_t c = 0; c < a.width; c += LANE) {
        lane x[LANE];
        for (int i = 0; i < LANE; i++) {
            x[i] = load(k[i] + c);
            put(values + panel_place(count, a.width, first + i, c)) = load(v[i] + c);
        }
        transpose(x);
        for (int i = 0; i < LANE; i++)
            put(keys + panel_place(a.width, count, c + i, first)) = x[i];
    }
}

static void pack_head(const struct attention &a, int64_t head, struct workspace *w)
{
    w->head = head;
    for (int64_t start = 0; start < a.padded; start += a.block) {
        int64_t count = std::min(a.block, a.padded - start);
        for (int64_t first = 0; first < count; first += LANE)
            pack_keys(a, w, start, count, first);
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

static void take_keys(const struct attention &a, struct workspace *w, int64_t rows,
                      int64_t first)
{
    int64_t count = std::min(a.block, a.padded - first);
    panels_multiply({.a = w->q,
                     .panels = w->keys + first * a.width,
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
                     .panels = w->values + first * a.width,
                     .start = w->y,
                     .c = w->y,
                     .rows = rows,
                     .depth = count,
                     .columns = a.width,
                     .a_line = a.block,
                     .start_line = a.width,
                     .c_line = a.width});
}

// The queries from `first` on of one head of one picture.
static void attend(const struct attention &a, struct workspace *w, int64_t head,
                   int64_t first)
{
    int64_t rows = std::min(QUERIES, a.queries - first);
    if (w->head != head)
        pack_head(a, head, w);
    float scale = 1 / std::sqrt((float)a.width);
    for (int64_t r = 0; r < rows; r++) {
        const float *q = row_of(a.q, head, first + r);
        for (int64_t c = 0; c < a.width; c++)
            w->q[r * a.width + c] = q[c] * scale;
        w->most[r] = NEVER;
        w->sum[r] = 0;
    }
    std::fill(w->y, w->y + rows * a.width, 0.0f);
    for (int64_t key = 0; key < a.padded; key += a.block)
        take_keys(a, w, rows, key);
    int64_t line = a.heads * a.width, b = head / a.heads, h = head % a.heads;
    float *y =
        a.y.mutable_data_ptr<float>() + (b * a.queries + first) * line + h * a.width;
    for (int64_t r = 0; r < rows; r++) {
        float factor = 1 / w->sum[r];
        for (int64_t c = 0; c < a.width; c++)
            y[r * line + c] = w->y[r * a.width + c] * factor;
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
    int64_t blocks = (a.queries + QUERIES - 1) / QUERIES;
    at::parallel_for(0, q.size(0) * a.heads * blocks, 1, [&](int64_t begin, int64_t end) {
        struct workspace w(a);
        for (int64_t i = begin; i < end; i++)
            attend(a, &w, i / blocks, i % blocks * QUERIES);
    });
    return a.y.permute({0, 2, 1, 3});
}
