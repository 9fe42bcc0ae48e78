/* chart.h: lines over epochs, for the figure (pixels) and the report (SVG). Leaves what
 * they mean to loss_charts.h. */
#ifndef DIFFENS_RUN_CHART_H
#define DIFFENS_RUN_CHART_H

#include "base/str.h"
#include "diffens/image.h"
#include "run/text.h"

#include <stdint.h>

#define CHART_LINES 40
#define CHART_COLORS 6

/* One line: `y` at the chart's `x`, or where `y` is NULL a level from end to end, which
 * is drawn dashed. */
struct chart_line {
    char label[96];
    int color; /* 0..CHART_COLORS-1; other numbers wrap around */
    const double *y;
    double level;
};

/* The arrays belong to the caller. */
struct chart {
    const char *title;
    int points, count;
    const double *x;
    struct chart_line line[CHART_LINES];
};

struct chart_range {
    double x_low, x_high, y_low, y_high, y_step; /* y_step: between labels */
};

/* What the axes show: every line, and a little more. */
struct chart_range chart_range_of(const struct chart *c);

/* A drawing of `width` units. Lines have the classes "line" and "c0", "c1", ...; levels
 * "level" too; the SVG carries its x range for scripts. Texts are escaped. */
void chart_add_svg(struct str *out, const struct chart *c);

/* Draws onto `image` within the rectangle, which is inside it. ERR_MEMORY. */
bool chart_draw(const struct chart *c, struct image *image, int left, int top, int width,
                int height, const struct text_style *label, struct err *e);

#endif
