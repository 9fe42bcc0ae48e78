// tc_product.hpp: matrix products whose second factor lies ready in panels, for factors
// that are used again and for many small ones, where a library's preparations weigh.
// Leaves threads to the caller.
#pragma once

#include <cstdint>

// The panels of b [depth,columns] are [columns/16,depth,16], a last one of 8 columns
// [depth,8]; the columns are a multiple of 8.
static const int64_t PANEL_WIDTH = 16;

// Rows are computed in groups of which this is a multiple.
static const int64_t TILE_ROWS = 12;

// Where b[row][column] lies among the panels.
static inline int64_t panel_place(int64_t depth, int64_t columns, int64_t row,
                                  int64_t column)
{
    int64_t first = column / PANEL_WIDTH * PANEL_WIDTH, left = columns - first;
    return first * depth + row * (left < PANEL_WIDTH ? left : PANEL_WIDTH) + column -
           first;
}

// The panels of b [depth,columns] -> those of its transpose, both multiples of 8.
void panels_transpose(const float *b, int64_t depth, int64_t columns, float *to);

// c [rows,columns] = start + a [rows,depth] times b [depth,columns]. Each element is
// summed from the first to the last, however many rows there are.
struct product {
    const float *a;
    const float *panels; // of b
    const float *start;  // null: zeros
    float *c;            // may be start
    int64_t rows, depth, columns;
    int64_t a_line, start_line,
        c_line; // from one row to the next; 0: always the same row
};

void panels_multiply(const struct product &p);
