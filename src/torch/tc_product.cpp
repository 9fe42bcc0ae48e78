// tc_product.cpp: a tile of 6 x 16 sums stays in the registers while a's rows and b's
// panel go by (Goto and van de Geijn, "Anatomy of high-performance matrix
// multiplication", 2008). Leaves the blocks that fit the caches to the caller.
#include "tc_product.hpp"
#include "tc_vector.hpp"

#define IN_PLACE static inline __attribute__((always_inline))

static const int TILE_ROWS = 6;

void panels_transpose(const float *b, int64_t depth, int64_t columns, float *to)
{
    for (int64_t row = 0; row < depth; row += LANE) {
        for (int64_t column = 0; column < columns; column += LANE) {
            const float *from = b + panel_place(depth, columns, row, column);
            float *out = to + panel_place(columns, depth, column, row);
            int64_t line = panel_place(depth, columns, 1, column) -
                           panel_place(depth, columns, 0, column);
            int64_t line_out =
                panel_place(columns, depth, 1, row) - panel_place(columns, depth, 0, row);
            for (int i = 0; i < LANE; i++)
                for (int j = 0; j < LANE; j++)
                    out[j * line_out + i] = from[i * line + j];
        }
    }
}

template <int ROWS, int LANES>
IN_PLACE void multiply_tile(const float *a, const float *b, int64_t depth, float *c,
                            int64_t columns)
{
    lane sum[ROWS][LANES] = {};
#pragma GCC unroll 4
    for (int64_t k = 0; k < depth; k++, b += LANES * LANE) {
#pragma GCC unroll 6
        for (int r = 0; r < ROWS; r++) {
            float f = a[r * depth + k];
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
            put(c + r * columns + i * LANE) = sum[r][i];
}

template <int LANES>
IN_PLACE void multiply_panel(const float *a, int64_t rows, const float *b, int64_t depth,
                             float *c, int64_t columns)
{
    for (; rows >= TILE_ROWS; rows -= TILE_ROWS) {
        multiply_tile<TILE_ROWS, LANES>(a, b, depth, c, columns);
        a += TILE_ROWS * depth;
        c += TILE_ROWS * columns;
    }
    switch (rows) { // alone, each would take as long as two thirds of a tile
    case 5:
        return multiply_tile<5, LANES>(a, b, depth, c, columns);
    case 4:
        return multiply_tile<4, LANES>(a, b, depth, c, columns);
    case 3:
        return multiply_tile<3, LANES>(a, b, depth, c, columns);
    case 2:
        return multiply_tile<2, LANES>(a, b, depth, c, columns);
    case 1:
        return multiply_tile<1, LANES>(a, b, depth, c, columns);
    }
}

EACH_PROCESSOR void panels_multiply(const float *a, int64_t rows, const float *b,
                                    int64_t depth, float *c, int64_t columns)
{
    int64_t first = 0;
    for (; first + PANEL_WIDTH <= columns; first += PANEL_WIDTH)
        multiply_panel<2>(a, rows, b + first * depth, depth, c + first, columns);
    if (first < columns)
        multiply_panel<1>(a, rows, b + first * depth, depth, c + first, columns);
}
