// tc_vector.hpp: eight floats at a time, of which compilers make what the processor has.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#define EACH_PROCESSOR __attribute__((target_clones("arch=x86-64-v3", "default")))
#else
#define EACH_PROCESSOR
#endif

typedef float lane __attribute__((vector_size(32), aligned(4), may_alias));
static const int LANE = 8;

static inline const lane &load(const float *from)
{
    return *reinterpret_cast<const lane *>(from);
}

static inline lane &put(float *to)
{
    return *reinterpret_cast<lane *>(to);
}

// e^x to about 1e-7 of it, between 1e-38 and 1e38: 2^n times a polynomial of what is left
// (Moshier's Cephes, expf).
static inline __attribute__((always_inline)) void exponential(const lane &x, lane &out)
{
    typedef int32_t whole __attribute__((vector_size(32)));
    const float round = 12582912; // 1.5 * 2^23: a sum with it ends at the units
    lane v = x < -87.0f ? lane{} - 87.0f : x;
    v = v > 87.0f ? lane{} + 87.0f : v;
    lane n = v * 1.44269504f + round;
    whole power = ((whole)n << 23) + 0x3f800000;
    n = n - round;
    lane r = v - n * 0.693359375f + n * 2.12194440e-4f;
    lane p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    out = (p * r * r + r + 1.0f) * (lane)power;
}

// x / 2 * (1 + erf(x / sqrt 2)), the error function to 1.5e-7 (Abramowitz and Stegun,
// 7.1.26).
static inline __attribute__((always_inline)) void gelu(const lane &x, lane &out)
{
    lane z = x * 0.70710678f, size = z < 0.0f ? -z : z, e;
    exponential(-size * size, e);
    lane t = 1.0f / (0.3275911f * size + 1.0f);
    lane p = t * 1.061405429f - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    lane half_of_rest = 0.5f * p * t * e; // (1 - erf(size)) / 2
    out = x * (z < 0.0f ? half_of_rest : 1.0f - half_of_rest);
}

// Rows become columns.
static inline __attribute__((always_inline)) void transpose(lane x[LANE])
{
    typedef int32_t places __attribute__((vector_size(32)));
    const places low = {0, 8, 1, 9, 4, 12, 5, 13}, high = {2, 10, 3, 11, 6, 14, 7, 15},
                 even = {0, 1, 8, 9, 4, 5, 12, 13}, odd = {2, 3, 10, 11, 6, 7, 14, 15},
                 first = {0, 1, 2, 3, 8, 9, 10, 11}, last = {4, 5, 6, 7, 12, 13, 14, 15};
    lane pair[LANE], four[LANE];
    for (int i = 0; i < LANE; i += 2) {
        pair[i] = __builtin_shuffle(x[i], x[i + 1], low);
        pair[i + 1] = __builtin_shuffle(x[i], x[i + 1], high);
    }
    for (int i = 0; i < LANE; i += 4) {
        for (int j = 0; j < 2; j++) {
            four[i + 2 * j] = __builtin_shuffle(pair[i + j], pair[i + j + 2], even);
            four[i + 2 * j + 1] = __builtin_shuffle(pair[i + j], pair[i + j + 2], odd);
        }
    }
    for (int i = 0; i < LANE / 2; i++) {
        x[i] = __builtin_shuffle(four[i], four[i + 4], first);
        x[i + 4] = __builtin_shuffle(four[i], four[i + 4], last);
    }
}
