/* sheet.c: says what stands where in the contact sheet. Leaves drawing it to
 * run/figure.h. */
#include "stages/sheet.h"

#include "base/stop.h"
#include "base/str.h"
#include "models/ensemble.h"
#include "models/prompts.h"
#include "run/figure.h"
#include "run/record.h"
#include "stages/losses.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SHOWN_PREVIEWS 6

/* A parent, or the result at a place among those of a row. */
struct column {
    bool parent;
    int index;
    char label[128];
};

struct sheet {
    const struct plan *p;
    int layers;      /* rows a case; 0: rows have no labels */
    int stride;      /* results of a row */
    int first, last; /* columns set apart at the left and at the right */
    int count;
    struct column *columns;
};

static void add_column(struct sheet *sheet, bool parent, int index, const char *label)
{
    struct column *c = &sheet->columns[sheet->count++];
    c->parent = parent;
    c->index = index;
    snprintf(c->label, sizeof c->label, "%s", label);
}

static void add_parents(struct sheet *sheet, int first, int end)
{
    for (int m = first; m < end; m++)
        add_column(sheet, true, m, sheet->p->model_names[m]);
}

/* A pair stands at both ends of its mixtures; more parents stand before them. */
static void add_mixtures(struct sheet *sheet)
{
    const struct plan *p = sheet->p;
    bool pair = p->run->options->weights.count == 0;
    sheet->layers = p->layer_count;
    sheet->stride = p->mixture_count;
    sheet->first = pair ? 1 : p->models;
    sheet->last = p->models - sheet->first;
    add_parents(sheet, 0, sheet->first);
    for (int k = 0; k < p->mixture_count; k++)
        add_column(sheet, false, k, p->mixtures[k].label);
    add_parents(sheet, sheet->first, p->models);
}

/* Parents, previews at even distances, the result. */
static void add_optimized(struct sheet *sheet)
{
    const struct plan *p = sheet->p;
    int previews = p->results - RESULT_PREVIEW;
    int shown = previews < SHOWN_PREVIEWS ? previews : SHOWN_PREVIEWS;
    sheet->first = p->models;
    sheet->last = 1;
    add_parents(sheet, 0, p->models);
    for (int i = 0; i < shown; i++) {
        char label[32];
        int result = RESULT_PREVIEW + (int)((int64_t)i * previews / shown);
        snprintf(label, sizeof label, "epoch %d", plan_preview_epoch(p, result));
        add_column(sheet, false, result, label);
    }
    add_column(sheet, false, RESULT_FINAL, "result");
}

static bool sheet_open(struct sheet *sheet, const struct plan *p, struct err *e)
{
    int most = p->models + p->mixture_count + SHOWN_PREVIEWS + 1;
    *sheet =
        (struct sheet){.p = p, .columns = calloc((size_t)most, sizeof(struct column))};
    if (!sheet->columns)
        return err_set(e, ERR_MEMORY, "no host memory for the columns of a figure");
    switch (p->run->options->command) {
    case COMMAND_GENERATE:
        add_parents(sheet, 0, p->models);
        break;
    case COMMAND_BLEND:
        add_mixtures(sheet);
        break;
    case COMMAND_OPTIMIZE:
        add_optimized(sheet);
        break;
    default:
        break;
    }
    return true;
}

static int rows_per_case(const struct sheet *sheet)
{
    return sheet->layers ? sheet->layers : 1;
}

/* The record's cell at a place of the sheet. */
static int cell_at(const struct sheet *sheet, int row, int column)
{
    const struct column *c = &sheet->columns[column];
    int n = row / rows_per_case(sheet), within = row % rows_per_case(sheet);
    return c->parent ? plan_parent_cell(sheet->p, n, c->index)
                     : plan_result_cell(sheet->p, n, within * sheet->stride + c->index);
}

static bool picture_at(void *user, int row, int column, struct image *out, struct err *e)
{
    const struct sheet *sheet = user;
    const struct record *r = sheet->p->run->record;
    int cell = cell_at(sheet, row, column);
    return stop_check(e) && (!record_cell_is_done(r, cell) ||
                             image_read(out, record_cell_path(r, cell), NULL, e));
}

/* The curves of a case, one beside the other; a case without a table has none. */
static bool draw_charts(const struct plan *p, int64_t n, const struct loss_table *table,
                        struct image *page, int left, int top, int width, int height,
                        double em, struct err *e)
{
    const struct text_style label = {.size = em, .color = {0x4a, 0x4a, 0x4a}};
    struct loss_levels levels;
    struct chart charts[LOSS_CHARTS];
    int gap = (int)em, each = (width + gap) / LOSS_CHARTS;
    if (!losses_levels(p, n, &levels, e))
        return false;
    loss_charts_make(charts, table, &levels, p->models, p->model_names);
    for (int i = 0; i < LOSS_CHARTS && table->points > 1; i++)
        if (!chart_draw(&charts[i], page, left + i * each, top, each - gap, height,
                        &label, e))
            return false;
    return true;
}

static bool band_at(void *user, int row, struct image *page, int left, int top, int width,
                    int height, double em, struct err *e)
{
    const struct plan *p = ((const struct sheet *)user)->p;
    struct loss_table table = {0};
    char name[256];
    const char *path =
        record_file_path(p->run->record, plan_losses_file(p, row, name, sizeof name));
    if (access(path, F_OK) != 0 && errno == ENOENT)
        return true;
    bool ok = loss_table_read(&table, path, e) &&
              draw_charts(p, row, &table, page, left, top, width, height, em, e);
    loss_table_free(&table);
    return ok;
}

/* "000  a castle on a hill"; the name alone where there is no prompt or several. */
static char *case_label(const struct plan *p, int64_t n)
{
    struct str label = {0};
    const struct prompts *prompts = p->run->prompts;
    str_add(&label, p->case_names[n]);
    if (prompts)
        str_addf(&label, "  %s", prompts->given[n]);
    return str_take(&label);
}

static bool publish(const struct plan *p, const struct figure *f, struct err *e)
{
    struct record *r = p->run->record;
    int pages = figure_pages(f);
    for (int page = 0; page < pages; page++) {
        char name[32];
        if (!record_add_file(r, figure_page_name(page, name), e))
            return false;
    }
    const struct image_text *texts;
    int count = record_figure_texts(r, &texts, e);
    if (count == 0 || !figure_write(f, r->directory, texts, count, NULL, e))
        return false;
    for (int page = 0; page < pages; page++) {
        char name[32];
        if (!record_file_done(r, figure_page_name(page, name), e))
            return false;
    }
    progress_note(p->run->progress, NOTE_INFO, "figure: %s/figure.png", r->directory);
    return true;
}

/* Labels of a figure; arrays are owned, texts are not but for the headings. */
struct labels {
    char **cases;          /* [cases] */
    const char **headings; /* [rows] */
    const char **rows;     /* [rows] */
    const char **columns;  /* [columns] */
};

static bool labels_open(struct labels *l, const struct sheet *sheet, struct err *e)
{
    const struct plan *p = sheet->p;
    int per_case = rows_per_case(sheet);
    size_t rows = (size_t)p->cases * (size_t)per_case;
    *l = (struct labels){calloc((size_t)p->cases, sizeof *l->cases),
                         calloc(rows, sizeof *l->headings), calloc(rows, sizeof *l->rows),
                         calloc((size_t)sheet->count, sizeof *l->columns)};
    bool ok = l->cases && l->headings && l->rows && l->columns;
    for (int64_t n = 0; ok && n < p->cases; n++) {
        l->headings[n * per_case] = l->cases[n] = case_label(p, n);
        ok = l->cases[n] != NULL;
    }
    if (!ok)
        return err_set(e, ERR_MEMORY, "no host memory for the labels of a figure");
    for (size_t row = 0; sheet->layers && row < rows; row++)
        l->rows[row] = plan_layer_name(p->layers[row % (size_t)per_case]);
    for (int column = 0; column < sheet->count; column++)
        l->columns[column] = sheet->columns[column].label;
    return true;
}

static void labels_close(struct labels *l, int64_t cases)
{
    for (int64_t n = 0; l->cases && n < cases; n++)
        free(l->cases[n]);
    free(l->cases);
    free(l->headings);
    free(l->rows);
    free(l->columns);
}

static bool write_labelled(struct sheet *sheet, const struct labels *l, struct err *e)
{
    const struct plan *p = sheet->p;
    struct figure f = {.rows = (int)p->cases * rows_per_case(sheet),
                       .columns = sheet->count,
                       .first_columns = sheet->first,
                       .last_columns = sheet->last,
                       .headings = l->headings,
                       .row_labels = l->rows,
                       .column_labels = l->columns,
                       .picture = picture_at,
                       .band =
                           p->run->options->command == COMMAND_OPTIMIZE ? band_at : NULL,
                       .user = sheet};
    f.picture_height = (int)(p->height > p->vq_height ? p->height : p->vq_height);
    f.picture_width = (int)(p->width > p->vq_width ? p->width : p->vq_width);
    return publish(p, &f, e);
}

bool sheet_write(const struct plan *p, struct err *e)
{
    struct sheet sheet = {0};
    struct labels labels = {0};
    bool ok = sheet_open(&sheet, p, e) && labels_open(&labels, &sheet, e) &&
              write_labelled(&sheet, &labels, e);
    labels_close(&labels, p->cases);
    free(sheet.columns);
    return ok;
}
