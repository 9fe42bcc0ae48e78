/* text_wrap.c: a text broken into lines of a given width. Leaves glyphs to text.c. */
#include "base/str.h"
#include "base/utf8.h"
#include "run/text.h"

#include <stdlib.h>
#include <string.h>

#define ELLIPSIS "\xE2\x80\xA6"

/* Longest text worth measuring: more does not fit TEXT_MAX_LINES lines of any figure. */
#define LONGEST 2048

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static int next_length(const char *text, int size)
{
    uint32_t code_point;
    int length = utf8_decode(text, (size_t)size, &code_point);
    return length ? length : 1;
}

/* Bytes of `text` that fit `width`, not splitting a code point; at least one code point
 * where there is any. */
static int fitting(const struct text_style *style, const char *text, int size,
                   double width)
{
    int fits = 0;
    while (fits < size) {
        int next = fits + next_length(text + fits, size - fits);
        if (fits > 0 && text_width(style, text, next) > width)
            break;
        fits = next;
    }
    return fits;
}

/* Length of the first line: up to the last blank that fits, or within a long word. */
static int line_length(const struct text_style *style, const char *text, int size,
                       double width)
{
    int fits = fitting(style, text, size, width);
    if (fits == size || is_blank(text[fits]))
        return fits;
    for (int at = fits; at > 0; at--)
        if (is_blank(text[at - 1]))
            return at;
    return fits;
}

static int trimmed(const char *text, int length)
{
    while (length > 0 && is_blank(text[length - 1]))
        length--;
    return length;
}

static bool add_line(struct text_block *block, const struct text_style *style,
                     const char *text, int length, const char *end, struct err *e)
{
    struct str line = {0};
    str_add_bytes(&line, text, (size_t)length);
    str_add(&line, end);
    char *taken = str_take(&line);
    if (!taken)
        return err_set(e, ERR_MEMORY, "figure: out of memory");
    double width = text_width(style, taken, (int)strlen(taken));
    block->width = width > block->width ? width : block->width;
    block->line[block->count++] = taken;
    return true;
}

bool text_wrap(struct text_block *block, const struct text_style *style, const char *text,
               double width, int most, struct err *e)
{
    size_t all = strlen(text);
    int size = (int)(all < LONGEST ? all : LONGEST);
    *block = (struct text_block){0};
    double ellipsis = text_width(style, ELLIPSIS, (int)strlen(ELLIPSIS));
    while (size > 0) {
        while (size > 0 && is_blank(*text)) {
            text++;
            size--;
        }
        int length = line_length(style, text, size, width);
        bool last = block->count + 1 == most, cut = last && trimmed(text, size) > length;
        if (cut)
            length = fitting(style, text, size, width - ellipsis);
        if (size > 0 && !add_line(block, style, text, trimmed(text, length),
                                  cut ? ELLIPSIS : "", e)) {
            text_block_free(block);
            return false;
        }
        text += length;
        size -= last ? size : length;
    }
    return true;
}

void text_block_free(struct text_block *block)
{
    for (int i = 0; i < block->count; i++)
        free(block->line[i]);
    *block = (struct text_block){0};
}
