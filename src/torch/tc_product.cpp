// tc_product.cpp: a tile of 6 x 16 sums stays in the registers while a's rows and b's
// panel go by (Goto and van de Geijn, "Anatomy of high-performance matrix
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

template <int ROWS, int LANES>
IN_PLACE void multiply_tile(const struct product &p, const float *b, int64_t row,
                            int64_t column)
{
    const float *a = p.a + row * p.a_line;
    float *c = p.c + row * p.c_line + column;
    lane sum[ROWS][LANES] = {};
    if (p.start) {
        const float *start = p.start + row * p.start_line + column;
#pragma GCC unroll 6
        for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 2
            for (int i = 0; i < LANES; i++)
                sum[r][i] = load(start + r * p.start_line + i * LANE);
    }
#pragma GCC unroll 4
    for (int64_t k = 0; k < p.depth; k++, b += LANES * LANE) {
#pragma GCC unroll 6
        for (int r = 0; r < ROWS; r++) {
            float f = a[r * p.a_line + k];
            lane x = {f, f, f, f, f, f, f, f};
#pragma GCC unroll 2
            for (int i = 0; i < LANES; i++)
                sum[r][i] += x * load(b + i * LANE);
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 2
        for (int i = 0; i < LANES; i++)
            put(c + r * p.c_line + i * LANE) = sum[r][i];
}

template <int LANES> IN_PLACE void multiply_panel(const struct product &p, int64_t column)
{
    const float *b = p.panels + column * p.depth;
    int64_t row = 0;
    for (; row + TILE_ROWS <= p.rows; row += TILE_ROWS)
        multiply_tile<TILE_ROWS, LANES>(p, b, row, column);
    switch (p.rows - row) { // alone, each would take as long as two thirds of a tile
    case 5:
        return multiply_tile<5, LANES>(p, b, row, column);
    case 4:
        return multiply_tile<4, LANES>(p, b, row, column);
    case 3:
        return multiply_tile<3, LANES>(p, b, row, column);
    case 2:
        return multiply_tile<2, LANES>(p, b, row, column);
    case 1:
        return multiply_tile<1, LANES>(p, b, row, column);
    }
}

EACH_PROCESSOR void panels_multiply(const struct product &p)
{
    int64_t column = 0;
    for (; column + PANEL_WIDTH <= p.columns; column += PANEL_WIDTH)
        multiply_panel<2>(p, column);
    if (column < p.columns)
        multiply_panel<1>(p, column);
}
