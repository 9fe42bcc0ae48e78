/* chart.c: the range of a chart's axes, and the chart as SVG. Leaves pixels to
 * chart_draw.c. */
#include "run/chart.h"

#include "run/html.h"

#include <math.h>

#define WIDTH 420
#define HEIGHT 220
#define LEFT 52
#define RIGHT 12
#define TOP 12
#define BOTTOM 26

static void include(struct chart_range *r, double y)
{
    if (!isfinite(y))
        return;
    r->y_low = fmin(r->y_low, y);
    r->y_high = fmax(r->y_high, y);
}

/* 1, 2 or 5 times a power of ten, at least a fifth of `span`. */
static double nice_step(double span)
{
    double power = pow(10, floor(log10(span / 5)));
    double part = span / 5 / power;
    return power * (part <= 1 ? 1 : part <= 2 ? 2 : part <= 5 ? 5 : 10);
}

struct chart_range chart_range_of(const struct chart *c)
{
    struct chart_range r = {.x_high = 1, .y_low = INFINITY, .y_high = -INFINITY};
    if (c->points > 0) {
        r.x_low = c->x[0];
        r.x_high = fmax(c->x[c->points - 1], r.x_low + 1);
    }
    for (int k = 0; k < c->count; k++) {
        for (int i = 0; c->line[k].y && i < c->points; i++)
            include(&r, c->line[k].y[i]);
        if (!c->line[k].y)
            include(&r, c->line[k].level);
    }
    if (!(r.y_low <= r.y_high))
        r.y_low = r.y_high = 0;
    double span = fmax(r.y_high - r.y_low, 1e-6 * fmax(1, fabs(r.y_high)));
    r.y_step = nice_step(span);
    r.y_low = floor(r.y_low / r.y_step) * r.y_step;
    r.y_high = ceil(r.y_high / r.y_step) * r.y_step;
    if (r.y_high <= r.y_low)
        r.y_high = r.y_low + r.y_step;
    return r;
}

static double place_x(const struct chart_range *r, double x)
{
    return LEFT + (WIDTH - LEFT - RIGHT) * (x - r->x_low) / (r->x_high - r->x_low);
}

static double place_y(const struct chart_range *r, double y)
{
    return TOP + (HEIGHT - TOP - BOTTOM) * (r->y_high - y) / (r->y_high - r->y_low);
}

static void add_axes(struct str *out, const struct chart_range *r)
{
    int steps = (int)lround((r->y_high - r->y_low) / r->y_step);
    for (int i = 0; i <= steps; i++) {
        double value = r->y_low + i * r->y_step;
        double y = place_y(r, value);
        str_addf(out, "<path class=\"grid\" d=\"M%d %.1fH%d\"/>", LEFT, y, WIDTH - RIGHT);
        str_addf(out, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.4g</text>",
                 LEFT - 6, y + 4, fabs(value) < r->y_step / 1000 ? 0 : value);
    }
    str_addf(out, "<text x=\"%d\" y=\"%d\">%.0f</text>", LEFT, HEIGHT - 8, r->x_low);
    str_addf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">epoch %.0f</text>\n",
             WIDTH - RIGHT, HEIGHT - 8, r->x_high);
}

static void add_line(struct str *out, const struct chart *c, const struct chart_range *r,
                     const struct chart_line *line)
{
    str_addf(out, "<path class=\"line c%d%s\" d=\"", line->color % CHART_COLORS,
             line->y ? "" : " level");
    if (!line->y)
        str_addf(out, "M%d %.1fH%d", LEFT, place_y(r, line->level), WIDTH - RIGHT);
    bool down = false;
    for (int i = 0; line->y && i < c->points; i++) {
        bool finite = isfinite(line->y[i]);
        if (finite)
            str_addf(out, "%s%.1f %.1f", down ? "L" : "M", place_x(r, c->x[i]),
                     place_y(r, line->y[i]));
        down = finite;
    }
    str_add(out, "\"/>\n");
}

static void add_legend(struct str *out, const struct chart *c)
{
    str_add(out, "<ul class=\"legend\">");
    for (int k = 0; k < c->count; k++) {
        str_addf(out, "<li class=\"c%d%s\">", c->line[k].color % CHART_COLORS,
                 c->line[k].y ? "" : " level");
        html_add_text(out, c->line[k].label);
        str_add(out, "</li>");
    }
    str_add(out, "</ul>\n");
}

void chart_add_svg(struct str *out, const struct chart *c)
{
    struct chart_range r = chart_range_of(c);
    str_add(out, "<figure class=\"chart\"><figcaption>");
    html_add_text(out, c->title);
    str_addf(out,
             "</figcaption><svg viewBox=\"0 0 %d %d\" role=\"img\" data-left=\"%d\" "
             "data-right=\"%d\" data-low=\"%.9g\" data-high=\"%.9g\" aria-label=\"",
             WIDTH, HEIGHT, LEFT, WIDTH - RIGHT, r.x_low, r.x_high);
    html_add_text(out, c->title);
    str_addf(out, " over epochs %.0f to %.0f", r.x_low, r.x_high);
    for (int k = 0; k < c->count && c->points > 0; k++) {
        const struct chart_line *line = &c->line[k];
        str_add(out, "; ");
        html_add_text(out, line->label);
        if (line->y)
            str_addf(out, " from %.4g to %.4g", line->y[0], line->y[c->points - 1]);
        else
            str_addf(out, " %.4g", line->level);
    }
    str_add(out, "\">\n");
    add_axes(out, &r);
    for (int k = c->count - 1; k >= 0; k--)
        add_line(out, c, &r, &c->line[k]);
    str_addf(out, "<path class=\"now\" d=\"M0 %dV%d\" visibility=\"hidden\"/></svg>", TOP,
             HEIGHT - BOTTOM);
    add_legend(out, c);
    str_add(out, "</figure>\n");
}
