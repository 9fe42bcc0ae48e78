// tc_product.cpp: a tile of sums stays in the registers while a's rows and b's panels go
// by (Goto and van de Geijn, "Anatomy of high-performance matrix
// multiplication", 2008). Leaves the blocks that fit the caches to the caller.
#include "tc_product.hpp"
#include "tc_vector.hpp"

#define IN_PLACE static inline __attribute__((always_inline))

EACH_PROCESSOR void panels_transpose(const float *b, int64_t depth, int64_t columns,
                                     float *to)
{
    for (int64_t row = 0; row < depth; row += LANE) {
        for (int64_t column = 0; column < columns; column += LANE) {
            lane x[LANE];
            for (int i = 0; i < LANE; i++)
                x[i] = load(b + panel_place(depth, columns, row + i, column));
            transpose(x);
            for (int i = 0; i < LANE; i++)
                put(to + panel_place(columns, depth, column + i, row)) = x[i];
        }
    }
}

// Numbers that are computed at a time. Types with attributes cannot be parameters
// themselves.
struct eight {
    typedef lane vector;
};

struct sixteen {
    typedef float vector __attribute__((vector_size(64), aligned(4), may_alias));
};

// Where `count` vectors of b's rows begin, and how far apart rows are.
template <int COUNT> struct columns {
    const float *at[COUNT];
    int64_t line;
    int64_t first; // of c's columns
};

template <class Numbers, int ROWS, int COUNT>
IN_PLACE void multiply_tile(const struct product &p, const columns<COUNT> &b, int64_t row)
{
    typedef typename Numbers::vector vector;
    const int WIDTH = sizeof(vector) / sizeof(float);
    const float *a = p.a + row * p.a_line;
    float *c = p.c + row * p.c_line + b.first;
    vector sum[ROWS][COUNT] = {};
    if (p.start) {
        const float *start = p.start + row * p.start_line + b.first;
#pragma GCC unroll 12
        for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 2
            for (int i = 0; i < COUNT; i++)
                sum[r][i] = *(const vector *)(start + r * p.start_line + i * WIDTH);
    }
#pragma GCC unroll 4
    for (int64_t k = 0; k < p.depth; k++) {
        vector y[COUNT];
#pragma GCC unroll 2
        for (int i = 0; i < COUNT; i++)
            y[i] = *(const vector *)(b.at[i] + k * b.line);
#pragma GCC unroll 12
        for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 2
            for (int i = 0; i < COUNT; i++)
                sum[r][i] += a[r * p.a_line + k] * y[i];
    }
#pragma GCC unroll 12
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 2
        for (int i = 0; i < COUNT; i++)
            *(vector *)(c + r * p.c_line + i * WIDTH) = sum[r][i];
}

// From `row` on, as many rows at a time as ROWS, and the rest at once: one by one they
// would take as long as half of a tile each.
template <class Numbers, int ROWS, int COUNT>
IN_PLACE void multiply_rows(const struct product &p, const columns<COUNT> &b, int64_t row)
{
    for (; row + ROWS <= p.rows; row += ROWS)
        multiply_tile<Numbers, ROWS>(p, b, row);
    if constexpr (ROWS > 1)
        multiply_rows<Numbers, ROWS - 1>(p, b, row);
}

// The panels from `column` on: tiles of 6 x 16 sums fill 12 of 16 registers.
EACH_PROCESSOR static void multiply_narrow(const struct product &p, int64_t column)
{
    for (; column + PANEL_WIDTH <= p.columns; column += PANEL_WIDTH) {
        const float *b = p.panels + column * p.depth;
        multiply_rows<eight, 6, 2>(p, {{b, b + LANE}, PANEL_WIDTH, column}, 0);
    }
    if (column < p.columns)
        multiply_rows<eight, 6, 1>(p, {{p.panels + column * p.depth}, LANE, column}, 0);
}

#if defined(__x86_64__)
// The same with tiles of 12 x 32 sums, which fill 24 of 32 registers and read each number
// half as often; not the last panel where it is narrow. Returns the column it came to.
__attribute__((target("arch=x86-64-v4"))) static int64_t
multiply_wide(const struct product &p)
{
    int64_t column = 0, panel = PANEL_WIDTH * p.depth;
    for (; column + 2 * PANEL_WIDTH <= p.columns; column += 2 * PANEL_WIDTH) {
        const float *b = p.panels + column * p.depth;
        multiply_rows<sixteen, 12, 2>(p, {{b, b + panel}, PANEL_WIDTH, column}, 0);
    }
    for (; column + PANEL_WIDTH <= p.columns; column += PANEL_WIDTH)
        multiply_rows<sixteen, 12, 1>(
            p, {{p.panels + column * p.depth}, PANEL_WIDTH, column}, 0);
    return column;
}

void panels_multiply(const struct product &p)
{
    static const bool is_wide = __builtin_cpu_supports("x86-64-v4");
    multiply_narrow(p, is_wide ? multiply_wide(p) : 0);
}
#else
void panels_multiply(const struct product &p)
{
    multiply_narrow(p, 0);
}
#endif
