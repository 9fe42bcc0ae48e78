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
