/* figure.h: labelled contact sheets. Leaves what is shown in which cell to the caller. */
#ifndef DIFFENS_RUN_FIGURE_H
#define DIFFENS_RUN_FIGURE_H

#include "diffens/image.h"

#define FIGURE_ROWS_PER_PAGE 12

/* Fetches the picture of a cell into `out`, which is zeroed and freed by the figure; left
 * zeroed, the cell stays grey, or empty in a column set apart. Pictures are fetched row
 * by row, one at a time. */
typedef bool figure_picture_fn(void *user, int row, int column, struct image *out,
                               struct err *e);

/* Draws what belongs below a row, such as curves, onto the white rectangle at (left, top)
 * of `page`. Sizes of texts go by `em`, in pixels. */
typedef bool figure_band_fn(void *user, int row, struct image *page, int left, int top,
                            int width, int height, double em, struct err *e);

/* Texts are UTF-8 and belong to the caller; arrays and entries of arrays may be NULL. */
struct figure {
    const char *title;             /* one line, at most two */
    const char *caption;           /* small, below the grid, at most three lines */
    int rows, columns;             /* 1 and more */
    const char *const *headings;   /* [rows]: above the row over the whole width; begins
                                      a group of rows */
    const char *const *row_labels; /* [rows]: left of the row */
    const char *const *column_labels; /* [columns]: above the pictures */
    int first_columns, last_columns;  /* set apart from the others: the parents */
    int picture_height,
        picture_width; /* of the largest picture, at most 4096; smaller ones
                          are enlarged by whole factors while they fit, and
                          all are where even the largest is small */
    figure_picture_fn *picture;
    figure_band_fn *band; /* below each row, on pages with the first column; NULL: none */
    void *user;
};

/* The name of page `page`, from 0: "figure.png", "figure-2.png", ... Returns `name`. */
const char *figure_page_name(int page, char name[32]);

/* How many pages figure_write() will publish. */
int figure_pages(const struct figure *f);

/* Publishes the pages in `directory`, at most FIGURE_ROWS_PER_PAGE rows on each, and
 * fewer where the pictures are large; each carries `texts`. *pages (may be NULL) is how
 * many. ERR_OUTPUT, ERR_MEMORY, or what `picture` reports. */
bool figure_write(const struct figure *f, const char *directory,
                  const struct image_text *texts, int text_count, int *pages,
                  struct err *e);

#endif
