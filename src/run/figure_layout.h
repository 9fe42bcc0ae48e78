/* figure_layout.h: sizes and places on a page of a figure. */
#ifndef DIFFENS_RUN_FIGURE_LAYOUT_H
#define DIFFENS_RUN_FIGURE_LAYOUT_H

#include "run/figure.h"
#include "run/text.h"

/* What all pages share; pixels. */
struct figure_layout {
    int factor; /* enlargement of the largest picture */
    int cell_height, cell_width;
    int unit;          /* of margins and gaps */
    int band_height;   /* 0: there is none */
    int gap, wide_gap; /* between pictures; around the columns set apart */
    int label_width;   /* of the column of row labels; 0: there is none */
    int columns_per_page, rows_per_page;
    int column_label_lines;
    struct text_style title, heading, label, strong_label, caption;
};

struct figure_layout figure_layout_make(const struct figure *f);

/* Rows and columns of one page: [row, row_end) x [column, column_end). */
struct figure_page {
    int row, row_end, column, column_end;
    int number, count; /* from 0 */
};

struct figure_page figure_layout_page(const struct figure_layout *l,
                                      const struct figure *f, int number);

/* Left edge of a column's pictures on its page. */
int figure_column_left(const struct figure_layout *l, const struct figure *f,
                       const struct figure_page *page, int column);

/* Width of a page with its margins. */
int figure_page_width(const struct figure_layout *l, const struct figure *f,
                      const struct figure_page *page);

#endif
