/* loss_charts.c: columns of a table and baselines become lines. */
#include "run/loss_charts.h"

#include <stdio.h>

#define CROWD 4 /* baselines of more parents than this would hide the lines */

static struct chart_line *add_line(struct chart *c, const char *label, int color)
{
    struct chart_line *line = &c->line[c->count];
    if (c->count == CHART_LINES)
        return NULL;
    *line = (struct chart_line){.color = color};
    snprintf(line->label, sizeof line->label, "%s", label);
    c->count++;
    return line;
}

static void add_column(struct chart *c, const struct loss_table *t, const char *prefix,
                       const char *name, int color)
{
    char column[256];
    snprintf(column, sizeof column, "%s%s", prefix, name);
    int index = loss_table_column(t, column);
    struct chart_line *line = index >= 0 ? add_line(c, name, color) : NULL;
    if (line)
        line->y = t->value[index];
}

static void add_level(struct chart *c, const char *label, int color, double level)
{
    struct chart_line *line = add_line(c, label, color);
    if (line)
        line->level = level;
}

/* One loss of every parent, and that of the pixel average to it. */
static void add_parents(struct chart *c, const struct loss_table *t, const char *prefix,
                        const double *average, int models, const char *const *names)
{
    for (int m = 0; m < models; m++)
        add_column(c, t, prefix, names[m], m);
    for (int m = 0; average && models <= CROWD && m < models; m++) {
        char label[96];
        snprintf(label, sizeof label, "%s, pixel average", names[m]);
        add_level(c, label, m, average[m]);
    }
}

void loss_charts_make(struct chart charts[LOSS_CHARTS], const struct loss_table *t,
                      const struct loss_levels *levels, int models,
                      const char *const *names)
{
    static const char *const titles[LOSS_CHARTS] = {"total loss",
                                                    "CLIP distance to each parent",
                                                    "perceptual distance to each parent"};
    bool known = levels->totals > 0;
    for (int i = 0; i < LOSS_CHARTS; i++)
        charts[i] =
            (struct chart){.title = titles[i], .points = t->points, .x = t->value[0]};
    add_column(&charts[0], t, "", "total", 0);
    for (int i = 0; i < levels->totals; i++)
        add_level(&charts[0], levels->total[i].name, i + 1, levels->total[i].total);
    add_parents(&charts[1], t, "clip_", known ? levels->clip : NULL, models, names);
    add_parents(&charts[2], t, "perceptual_", known ? levels->perceptual : NULL, models,
                names);
}
