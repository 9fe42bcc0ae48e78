/* report_case.c: the section of one case. What moves in it, report/script.js adds; the
 * classes and data- attributes here are what it looks for. */
#include "run/report_internal.h"

#include "run/html.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct planned_cell *cell_of(const struct report_page *p, int64_t n, int i)
{
    return &p->record->state->cells[p->about->cell(p->about->user, n, i)];
}

/* Two parents whose weights are 1 - gamma and gamma. */
static bool is_pair(const struct record_cell *c)
{
    return c->parent_count == 2 && c->parents[0].weight == 1 - c->parents[1].weight;
}

static void add_label(struct str *out, const struct record_cell *c)
{
    const char *which = c->optimized.which;
    if (!c->layer) {
        html_add_text(out, c->parents[0].model);
    } else if (which && strcmp(which, "preview") == 0) {
        str_addf(out, "epoch %d", c->optimized.epoch);
    } else if (which) {
        str_add(out, strcmp(which, "best") == 0 ? "best by loss" : "result");
    } else if (is_pair(c)) {
        str_addf(out, "gamma %.6g", c->parents[1].weight);
    } else {
        for (int i = 0; i < c->parent_count; i++)
            str_addf(out, "%s%.6g", i ? ", " : "weights ", c->parents[i].weight);
    }
}

/* The prompt below a parent, where it is not the same for all. */
static void add_caption(struct str *out, const struct record_cell *c)
{
    str_add(out, "<figcaption>");
    add_label(out, c);
    if (!c->layer && c->parents[0].prompt) {
        str_addf(out, ", seed %llu<br>", (unsigned long long)c->parents[0].seed);
        html_add_text(out, c->parents[0].prompt);
    }
    str_add(out, "</figcaption>");
}

static bool add_picture(struct report_page *p, const struct planned_cell *cell,
                        const char *class, struct err *e)
{
    struct str *out = &p->text;
    const struct record_cell *c = &cell->is;
    str_addf(out, "<figure class=\"picture%s\" data-label=\"", class);
    add_label(out, c);
    str_add(out, "\"");
    if (c->optimized.which && strcmp(c->optimized.which, "best") != 0)
        str_addf(out, " data-epoch=\"%d\"",
                 strcmp(c->optimized.which, "preview") == 0
                     ? c->optimized.epoch
                     : p->record->state->about.options->optimize.epochs);
    str_add(out, ">");
    if (strcmp(cell->state, "done") == 0) {
        str_add(out, "<a href=\"");
        html_add_url(out, c->file);
        str_addf(out, "\"><img width=\"%d\" height=\"%d\" loading=\"lazy\" alt=\"",
                 c->width, c->height);
        html_add_text(out, c->case_name);
        str_addf(out, ", %s%s", c->layer && !c->optimized.which ? c->layer : "",
                 c->layer && !c->optimized.which ? ", " : "");
        add_label(out, c);
        str_add(out, "\" src=\"");
        if (!report_add_picture_url(out, cell->path, p->longest_side, e))
            return false;
        str_add(out, "\"></a>");
    } else {
        str_add(out, "<div class=\"missing\">not made: ");
        html_add_text(out, cell->state);
        str_add(out, "</div>");
    }
    add_caption(out, c);
    str_add(out, "</figure>\n");
    return report_flush(p, e);
}

/* The parents; the script puts its viewer between the two of a pair. */
static bool add_parents(struct report_page *p, int64_t n, struct err *e)
{
    int results = p->about->results, parents = p->about->parents;
    const struct record_cell *first =
        results ? &cell_of(p, n, parents)->is : &cell_of(p, n, 0)->is;
    bool optimized = first->optimized.which != NULL;
    bool pair = results && !optimized && is_pair(first);
    str_addf(&p->text, "<div class=\"stage\" data-slider=\"%s\" data-start=\"%s\">\n",
             optimized ? "epoch"
             : pair    ? "gamma"
                       : "weights",
             optimized ? "end" : "middle");
    for (int m = 0; m < parents; m++)
        if (!add_picture(p, cell_of(p, n, m), pair && m == 1 ? " after" : "", e))
            return false;
    str_add(&p->text, "</div>\n");
    return true;
}

/* A row of results: those of a layer, or an optimisation in the order of its epochs. */
static void open_strip(struct str *out, const char *name, bool layer, int count,
                       const char *animation)
{
    str_addf(out, "<h3>%s", name);
    if (animation) {
        str_add(out, " <a href=\"");
        html_add_url(out, animation);
        str_add(out, "\">animation</a>");
    }
    str_addf(out, "</h3>\n<div class=\"strip\" style=\"--count: %d\" data-row=\"%s\"",
             count, name);
    if (layer)
        str_addf(out, " data-layer=\"%s\"", name);
    str_add(out, ">\n");
}

static int count_at(const struct report_page *p, int64_t n, const char *layer)
{
    int count = 0;
    for (int i = 0; i < p->about->results; i++)
        count += strcmp(cell_of(p, n, p->about->parents + i)->is.layer, layer) == 0;
    return count;
}

static bool add_mixtures(struct report_page *p, const struct report_case *about,
                         int64_t n, struct err *e)
{
    const char *layer = NULL;
    int row = 0;
    for (int i = 0; i < p->about->results; i++) {
        const struct planned_cell *cell = cell_of(p, n, p->about->parents + i);
        if (!layer || strcmp(layer, cell->is.layer) != 0) {
            str_add(&p->text, layer ? "</div>\n" : "");
            open_strip(&p->text, cell->is.layer, true, count_at(p, n, cell->is.layer),
                       about->animations[row++]);
        }
        layer = cell->is.layer;
        if (!add_picture(p, cell, "", e))
            return false;
    }
    str_add(&p->text, "</div>\n");
    return true;
}

static bool add_all_that_are(struct report_page *p, int64_t n, const char *which,
                             struct err *e)
{
    for (int i = 0; i < p->about->results; i++) {
        const struct planned_cell *cell = cell_of(p, n, p->about->parents + i);
        if (strcmp(cell->is.optimized.which, which) == 0 && !add_picture(p, cell, "", e))
            return false;
    }
    return true;
}

static bool add_optimized(struct report_page *p, const struct report_case *about,
                          int64_t n, struct err *e)
{
    open_strip(&p->text, "over the epochs", false, p->about->results - 1,
               about->animations[0]);
    if (!add_all_that_are(p, n, "preview", e) || !add_all_that_are(p, n, "final", e))
        return false;
    str_add(&p->text, "</div>\n<div class=\"strip\">\n");
    if (!add_all_that_are(p, n, "best", e))
        return false;
    str_add(&p->text, "</div>\n");
    return true;
}

static bool add_charts(struct report_page *p, int64_t n, const struct report_case *c,
                       struct err *e)
{
    const struct record_state *s = p->record->state;
    struct loss_table table = {0};
    struct loss_levels levels;
    struct chart charts[LOSS_CHARTS];
    const char *path = c->losses ? record_file_path(p->record, c->losses) : NULL;
    if (!path || (access(path, F_OK) != 0 && errno == ENOENT))
        return true;
    if (!p->about->levels(p->about->user, n, &levels, e) ||
        !loss_table_read(&table, path, e))
        return false;
    loss_charts_make(charts, &table, &levels, s->model_count, s->model_names);
    str_add(&p->text, "<div class=\"charts\">\n");
    for (int i = 0; i < LOSS_CHARTS && table.points > 1; i++)
        if (charts[i].count > 0)
            chart_add_svg(&p->text, &charts[i]);
    str_add(&p->text, "</div>\n");
    loss_table_free(&table);
    return true;
}

bool report_add_case(struct report_page *p, int64_t n, struct err *e)
{
    struct report_case c = {0};
    p->about->describe(p->about->user, n, &c);
    str_add(&p->text, "<section class=\"case\" id=\"case-");
    html_add_text(&p->text, c.name);
    str_add(&p->text, "\">\n<h2>");
    html_add_text(&p->text, c.name);
    if (c.prompt) {
        str_add(&p->text, " <span class=\"prompt\">");
        html_add_text(&p->text, c.prompt);
        str_add(&p->text, "</span>");
    }
    str_add(&p->text, "</h2>\n");
    bool optimized =
        p->about->results && cell_of(p, n, p->about->parents)->is.optimized.which;
    bool ok = add_parents(p, n, e) &&
              (!p->about->results ||
               (optimized ? add_optimized(p, &c, n, e) : add_mixtures(p, &c, n, e))) &&
              add_charts(p, n, &c, e);
    str_add(&p->text, "</section>\n");
    return ok && report_flush(p, e);
}
