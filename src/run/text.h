/* text.h: UTF-8 text set onto a picture, anti-aliased. Leaves layout to figure.c. */
#ifndef DIFFENS_RUN_TEXT_H
#define DIFFENS_RUN_TEXT_H

#include "diffens/image.h"

#include <stdbool.h>

enum text_weight { TEXT_REGULAR, TEXT_BOLD };

struct text_style {
    enum text_weight weight;
    double size; /* pixels of an em */
    uint8_t color[3];
};

/* Pixels from one baseline to the next, and from the top of a line to its baseline. */
int text_line_height(const struct text_style *style);
int text_ascent(const struct text_style *style);

/* Width in pixels of the first `length` bytes. Line breaks and other control characters
 * count as blanks; what is not UTF-8, as U+FFFD. */
double text_width(const struct text_style *style, const char *text, int length);

/* Draws one line, its top left corner at (x, top); what lies outside is cut off. Letters
 * for which there was no memory are left out, which text_check() tells. */
void text_draw(struct image *image, const struct text_style *style, double x, int top,
               const char *text, int length);

/* False with ERR_MEMORY where this thread has left out letters since it was asked last. */
bool text_check(struct err *e);

#define TEXT_MAX_LINES 8

/* A text broken into lines, the last of which may end in an ellipsis. */
struct text_block {
    int count;
    char *line[TEXT_MAX_LINES];
    double width; /* of the widest */
};

/* Breaks `text` at blanks, or within words that are wider than `width`, into at most
 * `most` lines (1..TEXT_MAX_LINES); an ellipsis stands for the rest. ERR_MEMORY. */
bool text_wrap(struct text_block *block, const struct text_style *style, const char *text,
               double width, int most, struct err *e);

/* Accepts a zeroed block. */
void text_block_free(struct text_block *block);

#endif
