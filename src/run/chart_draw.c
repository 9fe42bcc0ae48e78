/* chart_draw.c: a chart as pixels, anti-aliased. Leaves ranges to chart.c. */
#include "run/chart.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define LEGEND_ROWS 8 /* at most: names of further lines are left out */

/* Told apart on white in print and by colour-blind eyes: after Okabe and Ito (2008), the
 * lighter ones darkened. */
static const uint8_t colors[CHART_COLORS][3] = {{0x00, 0x5a, 0x9c}, {0xc2, 0x4d, 0x00},
                                                {0x00, 0x7a, 0x58}, {0x9b, 0x3a, 0x7a},
                                                {0x8a, 0x6d, 0x00}, {0x3a, 0x3a, 0x3a}};
static const uint8_t grid_color[3] = {0xd8, 0xd8, 0xd8};

struct plot {
    struct image *image;
    struct chart_range range;
    double left, top, width, height; /* of the area that the axes enclose */
};

static void blend_pixel(const struct image *image, int x, int y, const uint8_t *color,
                        double part)
{
    if (x < 0 || y < 0 || x >= image->width || y >= image->height)
        return;
    uint8_t *p = image->rgb + 3 * ((size_t)y * (size_t)image->width + (size_t)x);
    for (int i = 0; i < 3; i++)
        p[i] = (uint8_t)lround(p[i] + part * (color[i] - p[i]));
}

/* A straight line of `thick` pixels; a pixel is covered as far as its centre is within.
 */
static void draw_segment(const struct image *image, double x0, double y0, double x1,
                         double y1, double thick, const uint8_t *color)
{
    double dx = x1 - x0, dy = y1 - y0, length = hypot(dx, dy), reach = thick / 2 + 1;
    if (length < 1e-9)
        return;
    for (int y = (int)floor(fmin(y0, y1) - reach); y <= fmax(y0, y1) + reach; y++) {
        for (int x = (int)floor(fmin(x0, x1) - reach); x <= fmax(x0, x1) + reach; x++) {
            double px = x + 0.5 - x0, py = y + 0.5 - y0;
            double along = (px * dx + py * dy) / length;
            /* Half open: neighbours of a polyline do not cover a pixel twice. */
            if (along < 0 || along >= length)
                continue;
            double across = fabs(px * dy - py * dx) / length;
            double part = fmin(1, thick / 2 + 0.5 - across);
            if (part > 0)
                blend_pixel(image, x, y, color, part);
        }
    }
}

static double place_x(const struct plot *p, double x)
{
    const struct chart_range *r = &p->range;
    return p->left + p->width * (x - r->x_low) / (r->x_high - r->x_low);
}

static double place_y(const struct plot *p, double y)
{
    const struct chart_range *r = &p->range;
    return p->top + p->height * (r->y_high - y) / (r->y_high - r->y_low);
}

static void draw_text(const struct plot *p, const struct text_style *style, double x,
                      double middle, const char *text, bool right)
{
    int length = (int)strlen(text);
    double width = text_width(style, text, length);
    text_draw(p->image, style, right ? x - width : x,
              (int)lround(middle - text_line_height(style) / 2.0), text, length);
}

static void draw_axes(const struct plot *p, const struct text_style *label)
{
    const struct chart_range *r = &p->range;
    int steps = (int)lround((r->y_high - r->y_low) / r->y_step);
    char text[32];
    for (int i = 0; i <= steps; i++) {
        double value = r->y_low + i * r->y_step, y = floor(place_y(p, value)) + 0.5;
        snprintf(text, sizeof text, "%.4g", fabs(value) < r->y_step / 1000 ? 0 : value);
        draw_segment(p->image, p->left, y, p->left + p->width, y, 1, grid_color);
        draw_text(p, label, p->left - label->size / 2, y, text, true);
    }
    double below = p->top + p->height + label->size;
    snprintf(text, sizeof text, "%.0f", r->x_low);
    draw_text(p, label, p->left, below, text, false);
    snprintf(text, sizeof text, "epoch %.0f", r->x_high);
    draw_text(p, label, p->left + p->width, below, text, true);
}

static void draw_level(const struct plot *p, double level, double thick,
                       const uint8_t *color)
{
    double y = place_y(p, level), dash = 4 * thick;
    for (double x = p->left; x < p->left + p->width; x += 2 * dash)
        draw_segment(p->image, x, y, fmin(x + dash, p->left + p->width), y, thick, color);
}

static void draw_line(const struct plot *p, const struct chart *c,
                      const struct chart_line *line, double thick)
{
    const uint8_t *color = colors[line->color % CHART_COLORS];
    if (!line->y)
        draw_level(p, line->level, thick, color);
    for (int i = 1; line->y && i < c->points; i++)
        if (isfinite(line->y[i - 1]) && isfinite(line->y[i]))
            draw_segment(p->image, place_x(p, c->x[i - 1]), place_y(p, line->y[i - 1]),
                         place_x(p, c->x[i]), place_y(p, line->y[i]), thick, color);
}

/* A row of the legend: a piece of the line, then its name cut to what is left. */
static bool draw_key(const struct plot *p, const struct chart_line *line, double y,
                     const struct text_style *label, double thick, struct err *e)
{
    const uint8_t *color = colors[line->color % CHART_COLORS];
    double end = p->left + 1.6 * label->size;
    struct text_block block;
    if (line->y)
        draw_segment(p->image, p->left, y, end, y, thick, color);
    else
        for (double x = p->left; x < end; x += 6 * thick)
            draw_segment(p->image, x, y, fmin(x + 3 * thick, end), y, thick, color);
    if (!text_wrap(&block, label, line->label, p->width - 2.2 * label->size, 1, e))
        return false;
    if (block.count > 0)
        draw_text(p, label, end + label->size / 2, y, block.line[0], false);
    text_block_free(&block);
    return true;
}

bool chart_draw(const struct chart *c, struct image *image, int left, int top, int width,
                int height, const struct text_style *label, struct err *e)
{
    int line = text_line_height(label);
    struct text_style title = *label;
    title.weight = TEXT_BOLD;
    struct plot p = {.image = image, .range = chart_range_of(c)};
    p.left = left + 4 * label->size;
    p.width = width - 4.5 * label->size;
    p.top = top + 1.5 * line;
    int keys = c->count < LEGEND_ROWS ? c->count : LEGEND_ROWS;
    p.height = height - (3.2 + keys) * line;
    if (p.width < line || p.height < line)
        return true;
    double thick = fmax(1.5, label->size / 9);
    draw_text(&p, &title, left, top + line / 2.0, c->title, false);
    draw_axes(&p, label);
    for (int k = c->count - 1; k >= 0; k--)
        draw_line(&p, c, &c->line[k], thick);
    double y = p.top + p.height + 2.2 * line;
    for (int k = 0; k < keys; k++, y += line)
        if (!draw_key(&p, &c->line[k], y, label, thick, e))
            return false;
    return true;
}
