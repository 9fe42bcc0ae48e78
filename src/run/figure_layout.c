/* figure_layout.c: sizes that follow from the size of the pictures. Leaves drawing to
 * figure.c. */
#include "run/figure_layout.h"

#include <string.h>

#define SMALLEST_SHOWN 256     /* pictures with a shorter side are enlarged up to it */
#define PAGE_WIDTH_MAX 12000   /* pixels */
#define PAGE_PIXELS (16 << 20) /* of pictures: bounds the memory of a page */
#define BAND_EMS 22   /* what lies below a row is as high as so many times its text */
#define NARROWEST 560 /* room for a title over a single small picture */

static int at_least(int a, int b)
{
    return a > b ? a : b;
}

static int at_most(int a, int b)
{
    return a < b ? a : b;
}

static struct text_style style(enum text_weight weight, double size, int grey)
{
    uint8_t c = (uint8_t)grey;
    return (struct text_style){.weight = weight, .size = size, .color = {c, c, c}};
}

static int label_width(const struct figure *f, const struct figure_layout *l)
{
    double widest = 0;
    for (int r = 0; f->row_labels && r < f->rows; r++) {
        const char *text = f->row_labels[r] ? f->row_labels[r] : "";
        double width = text_width(&l->label, text, (int)at_most((int)strlen(text), 256));
        widest = width > widest ? width : widest;
    }
    return at_most((int)(widest + 0.999), at_least(l->cell_width / 2, 8 * l->unit));
}

/* Left edge of `column` when `first` is the leftmost, from the left edge of the grid. */
static int offset_of(const struct figure_layout *l, const struct figure *f, int first,
                     int column)
{
    int x = 0;
    for (int c = first; c < column; c++) {
        bool apart = c + 1 == f->first_columns || c + 1 == f->columns - f->last_columns;
        x += l->cell_width + (apart ? l->wide_gap : l->gap);
    }
    return x;
}

struct figure_layout figure_layout_make(const struct figure *f)
{
    struct figure_layout l = {.factor = 1};
    int side = at_most(f->picture_height, f->picture_width);
    while (side * (l.factor + 1) <= SMALLEST_SHOWN)
        l.factor++;
    l.cell_height = f->picture_height * l.factor;
    l.cell_width = f->picture_width * l.factor;
    /* Wide figures are shown smaller: their text must stand that. */
    int grid = at_most(f->columns * l.cell_width, PAGE_WIDTH_MAX);
    double em = at_least(15, at_most(32, at_least(l.cell_width / 18, grid / 80)));
    l.unit = (int)em;
    l.gap = at_least(6, l.unit / 2);
    l.wide_gap = l.unit * 2;
    l.title = style(TEXT_BOLD, em * 1.5, 0x1c);
    l.heading = style(TEXT_BOLD, em * 1.07, 0x1c);
    l.label = style(TEXT_REGULAR, em * 0.93, 0x4a);
    l.strong_label = style(TEXT_BOLD, em * 0.93, 0x1c);
    l.caption = style(TEXT_REGULAR, em * 0.8, 0x6e);
    l.label_width = label_width(f, &l);
    l.band_height = f->band ? l.unit * BAND_EMS : 0;
    l.column_label_lines = f->column_labels ? 2 : 0;
    l.columns_per_page = at_least(1, PAGE_WIDTH_MAX / (l.cell_width + l.wide_gap));
    l.columns_per_page = at_most(l.columns_per_page, f->columns);
    int row_pixels = (l.cell_height + l.band_height) * l.cell_width * l.columns_per_page;
    l.rows_per_page =
        at_least(1, at_most(FIGURE_ROWS_PER_PAGE, PAGE_PIXELS / row_pixels));
    return l;
}

static int pieces(int whole, int piece)
{
    return (whole + piece - 1) / piece;
}

struct figure_page figure_layout_page(const struct figure_layout *l,
                                      const struct figure *f, int number)
{
    int across = pieces(f->columns, l->columns_per_page);
    int row = number / across * l->rows_per_page;
    int column = number % across * l->columns_per_page;
    return (struct figure_page){
        .row = row,
        .row_end = at_most(f->rows, row + l->rows_per_page),
        .column = column,
        .column_end = at_most(f->columns, column + l->columns_per_page),
        .number = number,
        .count = across * pieces(f->rows, l->rows_per_page),
    };
}

int figure_column_left(const struct figure_layout *l, const struct figure *f,
                       const struct figure_page *page, int column)
{
    int labels = l->label_width ? l->label_width + l->unit : 0;
    return 2 * l->unit + labels + offset_of(l, f, page->column, column);
}

int figure_page_width(const struct figure_layout *l, const struct figure *f,
                      const struct figure_page *page)
{
    int right = figure_column_left(l, f, page, page->column_end - 1) + l->cell_width;
    return at_least(NARROWEST, right + 2 * l->unit);
}
