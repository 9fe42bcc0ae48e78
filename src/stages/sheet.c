/* sheet.c: says what stands where in the contact sheet. Leaves drawing it to
 * run/figure.h. */
#include "stages/sheet.h"

#include "base/str.h"
#include "models/ensemble.h"
#include "models/prompts.h"
#include "run/figure.h"
#include "run/record.h"

#include <stdlib.h>

struct sheet {
    const struct plan *p;
    bool mixed;
    int before, after; /* columns of parents at the left and at the right */
    int layers;        /* rows a case */
};

/* A pair stands at both ends of its mixtures; more parents stand before them. */
static struct sheet sheet_of(const struct plan *p)
{
    struct sheet sheet = {.p = p, .mixed = p->mixture_count > 0, .layers = 1};
    bool pair = sheet.mixed && p->run->options->weights.count == 0;
    sheet.before = pair ? 1 : p->models;
    sheet.after = pair ? 1 : 0;
    if (sheet.mixed)
        sheet.layers = p->layer_count;
    return sheet;
}

/* The record's cell at a place of the sheet. */
static int cell_at(const struct sheet *sheet, int row, int column)
{
    const struct plan *p = sheet->p;
    int64_t n = row / sheet->layers;
    if (column < sheet->before)
        return plan_parent_cell(p, n, column);
    if (column - sheet->before < p->mixture_count)
        return plan_mixture_cell(p, n, row % sheet->layers, column - sheet->before);
    return plan_parent_cell(p, n, 1);
}

static bool picture_at(void *user, int row, int column, struct image *out, struct err *e)
{
    const struct sheet *sheet = user;
    const struct record *r = sheet->p->run->record;
    int cell = cell_at(sheet, row, column);
    return !record_cell_is_done(r, cell) ||
           image_read(out, record_cell_path(r, cell), NULL, e);
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
    for (int page = 0; page < figure_pages(f); page++) {
        char name[32];
        if (!record_add_file(r, figure_page_name(page, name), e))
            return false;
    }
    const struct image_text *texts;
    int count = record_figure_texts(r, &texts, e);
    if (count == 0 || !figure_write(f, r->directory, texts, count, NULL, e))
        return false;
    progress_note(p->run->progress, NOTE_INFO, "figure: %s/figure.png", r->directory);
    return true;
}

static bool write_labelled(struct sheet *sheet, char **cases, const char **rows,
                           const char **columns, struct err *e)
{
    const struct plan *p = sheet->p;
    struct figure f = {.rows = (int)p->cases * sheet->layers,
                       .columns = sheet->before + p->mixture_count + sheet->after,
                       .first_columns = sheet->mixed ? sheet->before : 0,
                       .last_columns = sheet->after,
                       .picture = picture_at,
                       .user = sheet};
    f.picture_height = (int)(p->height > p->vq_height ? p->height : p->vq_height);
    f.picture_width = (int)(p->width > p->vq_width ? p->width : p->vq_width);
    const char **headings = calloc((size_t)f.rows, sizeof *headings);
    if (!headings)
        return err_set(e, ERR_MEMORY, "no host memory for a figure of %d rows", f.rows);
    for (int64_t n = 0; n < p->cases; n++) {
        if (!(cases[n] = case_label(p, n))) {
            free(headings);
            return err_set(e, ERR_MEMORY, "no host memory for the labels of a figure");
        }
        headings[n * sheet->layers] = cases[n];
    }
    for (int row = 0; sheet->mixed && row < f.rows; row++)
        rows[row] = plan_layer_name(p->layers[row % sheet->layers]);
    for (int column = 0; column < f.columns; column++) {
        int k = column - sheet->before;
        columns[column] = k < 0                  ? p->model_names[column]
                          : k < p->mixture_count ? p->mixtures[k].label
                                                 : p->model_names[1];
    }
    f.headings = headings;
    f.row_labels = rows;
    f.column_labels = columns;
    bool ok = publish(p, &f, e);
    free(headings);
    return ok;
}

bool sheet_write(const struct plan *p, struct err *e)
{
    struct sheet sheet = sheet_of(p);
    size_t rows = (size_t)p->cases * (size_t)sheet.layers;
    char **cases = calloc((size_t)p->cases, sizeof *cases);
    const char **row_labels = calloc(rows, sizeof *row_labels);
    const char **columns =
        calloc((size_t)(p->models + p->mixture_count + 1), sizeof *columns);
    bool ok = cases && row_labels && columns
                  ? write_labelled(&sheet, cases, row_labels, columns, e)
                  : err_set(e, ERR_MEMORY, "no host memory for the labels of a figure");
    for (int64_t n = 0; cases && n < p->cases; n++)
        free(cases[n]);
    free(cases);
    free(row_labels);
    free(columns);
    return ok;
}
