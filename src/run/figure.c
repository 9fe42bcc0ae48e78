/* figure.c: draws the pages of a contact sheet. Leaves sizes to figure_layout.c and
 * glyphs to text.c. */
#include "run/figure.h"

#include "base/str.h"
#include "run/enlarge.h"
#include "run/figure_layout.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t paper[3] = {0xff, 0xff, 0xff};
static const uint8_t hairline[3] = {0xd8, 0xd8, 0xd8};
static const uint8_t blank[3] = {0xf6, 0xf6, 0xf6};

/* One page being made: measured first (image.rgb is NULL), then drawn by the same code.
 */
struct canvas {
    const struct figure *f;
    const struct figure_layout *l;
    struct figure_page page;
    struct image image;
    int y;
    struct err *e;
};

static void fill(struct image *image, int left, int top, int width, int height,
                 const uint8_t *color)
{
    for (int y = top; image->rgb && y < top + height; y++)
        for (int x = left; x < left + width; x++)
            memcpy(image->rgb + ((size_t)y * (size_t)image->width + (size_t)x) * 3, color,
                   3);
}

/* Sets wrapped lines at c->y from `left`, moves below them. */
static bool set_text(struct canvas *c, const struct text_style *style, const char *text,
                     int left, int width, int most)
{
    struct text_block block;
    if (!text_wrap(&block, style, text, width, most, c->e))
        return false;
    for (int i = 0; i < block.count; i++) {
        if (c->image.rgb)
            text_draw(&c->image, style, left, c->y, block.line[i],
                      (int)strlen(block.line[i]));
        c->y += text_line_height(style);
    }
    text_block_free(&block);
    return true;
}

static int inner_width(const struct canvas *c)
{
    return c->image.width - 4 * c->l->unit;
}

static void rule(struct canvas *c)
{
    fill(&c->image, 2 * c->l->unit, c->y, inner_width(c), 1, hairline);
    c->y += 1;
}

static bool draw_title(struct canvas *c)
{
    const struct figure_layout *l = c->l;
    c->y = 2 * l->unit;
    if (!c->f->title)
        return true;
    struct str title = {0};
    str_add(&title, c->f->title);
    if (c->page.count > 1)
        str_addf(&title, "  (%d of %d)", c->page.number + 1, c->page.count);
    bool ok = title.failed ? err_set(c->e, ERR_MEMORY, "figure: out of memory")
                           : set_text(c, &l->title, str_text(&title), 2 * l->unit,
                                      inner_width(c), 2);
    str_free(&title);
    c->y += l->unit * 2 / 3;
    return ok;
}

static bool is_apart(const struct figure *f, int column)
{
    return column < f->first_columns || column >= f->columns - f->last_columns;
}

/* The labels of all columns stand on one lowest line. */
static bool draw_column_labels(struct canvas *c)
{
    const struct figure_layout *l = c->l;
    struct text_block block;
    int line = text_line_height(&l->label), lines = 1;
    if (!c->f->column_labels)
        return true;
    for (int pass = 0; pass < 2; pass++) {
        for (int column = c->page.column; column < c->page.column_end; column++) {
            const char *text = c->f->column_labels[column];
            const struct text_style *style =
                is_apart(c->f, column) ? &l->strong_label : &l->label;
            if (!text_wrap(&block, style, text ? text : "", l->cell_width,
                           l->column_label_lines, c->e))
                return false;
            int count = block.count;
            lines = count > lines ? count : lines;
            int left = figure_column_left(l, c->f, &c->page, column);
            for (int i = 0; pass && c->image.rgb && i < count; i++) {
                const char *s = block.line[i];
                double width = text_width(style, s, (int)strlen(s));
                text_draw(&c->image, style, left + (l->cell_width - width) / 2,
                          c->y + (lines - count + i) * line, s, (int)strlen(s));
            }
            text_block_free(&block);
        }
    }
    c->y += lines * line + l->unit / 3;
    return true;
}

static bool draw_picture(struct canvas *c, int row, int column)
{
    const struct figure_layout *l = c->l;
    struct image picture = {0};
    int left = figure_column_left(l, c->f, &c->page, column);
    if (!c->f->picture(c->f->user, row, column, &picture, c->e)) {
        image_free(&picture);
        return false;
    }
    bool ok = true;
    if (!picture.rgb) {
        if (!is_apart(c->f, column))
            fill(&c->image, left, c->y, l->cell_width, l->cell_height, blank);
    } else if (picture.width > l->cell_width || picture.height > l->cell_height) {
        ok = err_set(c->e, ERR_BUG,
                     "figure: found a picture of %dx%d, expected at most %dx%d",
                     picture.height, picture.width, l->cell_height, l->cell_width);
    } else {
        int across = l->cell_width / picture.width,
            down = l->cell_height / picture.height;
        int factor = across < down ? across : down;
        if (factor > ENLARGE_MAX)
            factor = ENLARGE_MAX;
        enlarge_onto(&c->image, &picture,
                     left + (l->cell_width - picture.width * factor) / 2,
                     c->y + (l->cell_height - picture.height * factor) / 2, factor);
    }
    image_free(&picture);
    return ok;
}

static bool draw_row_label(struct canvas *c, const char *text)
{
    const struct figure_layout *l = c->l;
    struct text_block block;
    if (!text_wrap(&block, &l->label, text, l->label_width + 1, 6, c->e))
        return false;
    int line = text_line_height(&l->label);
    int top = c->y + (l->cell_height - block.count * line) / 2;
    for (int i = 0; c->image.rgb && i < block.count; i++) {
        double width = text_width(&l->label, block.line[i], (int)strlen(block.line[i]));
        text_draw(&c->image, &l->label, 2 * l->unit + l->label_width - width,
                  top + i * line, block.line[i], (int)strlen(block.line[i]));
    }
    text_block_free(&block);
    return true;
}

static bool draw_band(struct canvas *c, int row)
{
    const struct figure_layout *l = c->l;
    if (l->band_height == 0 || c->page.column > 0)
        return true;
    int top = c->y + l->unit;
    c->y = top + l->band_height;
    return !c->image.rgb ||
           c->f->band(c->f->user, row, &c->image, 2 * l->unit, top, inner_width(c),
                      l->band_height, l->label.size, c->e);
}

/* The heading of the group that a row belongs to: a page that begins in the middle of one
 * says so again. */
static const char *heading_of(const struct canvas *c, int row)
{
    if (!c->f->headings)
        return NULL;
    int from = row;
    while (row == c->page.row && from > 0 && !c->f->headings[from])
        from--;
    return c->f->headings[from];
}

static bool draw_row(struct canvas *c, int row)
{
    const struct figure *f = c->f;
    const struct figure_layout *l = c->l;
    const char *heading = heading_of(c, row);
    bool first = row == c->page.row;
    if (heading) {
        c->y += first ? 0 : l->unit;
        if (!first || f->title)
            rule(c);
        c->y += l->unit / 2;
        if (!set_text(c, &l->heading, heading, 2 * l->unit, inner_width(c), 2))
            return false;
        c->y += l->unit / 3;
    } else {
        c->y += first ? 0 : l->gap;
    }
    if ((heading || first) && !draw_column_labels(c))
        return false;
    if (f->row_labels && f->row_labels[row] && !draw_row_label(c, f->row_labels[row]))
        return false;
    for (int column = c->page.column; c->image.rgb && column < c->page.column_end;
         column++)
        if (!draw_picture(c, row, column))
            return false;
    c->y += l->cell_height;
    return draw_band(c, row);
}

static bool draw_caption(struct canvas *c)
{
    const struct figure_layout *l = c->l;
    c->y += l->unit;
    if (!c->f->caption)
        return true;
    rule(c);
    c->y += l->unit / 2;
    bool ok = set_text(c, &l->caption, c->f->caption, 2 * l->unit, inner_width(c), 3);
    c->y += l->unit / 2;
    return ok;
}

static void draw_border(struct canvas *c)
{
    int width = c->image.width, height = c->image.height;
    fill(&c->image, 0, 0, width, 1, hairline);
    fill(&c->image, 0, height - 1, width, 1, hairline);
    fill(&c->image, 0, 0, 1, height, hairline);
    fill(&c->image, width - 1, 0, 1, height, hairline);
}

static bool draw(struct canvas *c)
{
    if (!draw_title(c))
        return false;
    for (int row = c->page.row; row < c->page.row_end; row++)
        if (!draw_row(c, row))
            return false;
    if (!draw_caption(c))
        return false;
    c->y += c->l->unit;
    return true;
}

static bool write_page(struct canvas *c, const char *directory,
                       const struct image_text *texts, int text_count)
{
    char name[32];
    int width = figure_page_width(c->l, c->f, &c->page);
    c->image = (struct image){.width = width};
    if (!draw(c) || !image_new(&c->image, width, c->y, c->e))
        return false;
    fill(&c->image, 0, 0, c->image.width, c->image.height, paper);
    char *path = str_path(directory, figure_page_name(c->page.number, name));
    bool ok = path || err_set(c->e, ERR_MEMORY, "figure: out of memory");
    ok = ok && draw(c) && text_check(c->e);
    draw_border(c);
    ok = ok && image_write_png(&c->image, path, texts, text_count, c->e);
    free(path);
    image_free(&c->image);
    return ok;
}

const char *figure_page_name(int page, char name[32])
{
    if (page == 0)
        snprintf(name, 32, "figure.png");
    else
        snprintf(name, 32, "figure-%d.png", page + 1);
    return name;
}

int figure_pages(const struct figure *f)
{
    struct figure_layout l = figure_layout_make(f);
    return figure_layout_page(&l, f, 0).count;
}

bool figure_write(const struct figure *f, const char *directory,
                  const struct image_text *texts, int text_count, int *pages,
                  struct err *e)
{
    struct figure_layout l = figure_layout_make(f);
    int count = figure_layout_page(&l, f, 0).count;
    for (int number = 0; number < count; number++) {
        struct canvas c = {
            .f = f, .l = &l, .page = figure_layout_page(&l, f, number), .e = e};
        if (!write_page(&c, directory, texts, text_count))
            return false;
    }
    if (pages)
        *pages = count;
    return true;
}
