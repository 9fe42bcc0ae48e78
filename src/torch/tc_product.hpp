// tc_product.hpp: matrix products whose second factor lies ready in panels, for many
// small ones, where a library's preparations weigh. Leaves threads to the caller.
#pragma once

#include <cstdint>

// The panels of b [depth,columns] are [columns/16,depth,16], a last one of 8 columns
// [depth,8]; the columns are a multiple of 8.
static const int64_t PANEL_WIDTH = 16;

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

// a [rows,depth] times panels of [depth,columns] -> c [rows,columns]. Each element is
// summed from the first to the last, however many rows there are.
void panels_multiply(const float *a, int64_t rows, const float *b, int64_t depth,
                     float *c, int64_t columns);
