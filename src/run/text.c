/* text.c: glyphs out of the embedded fonts. Leaves breaking lines to text_wrap.c. */
#include "run/text.h"

#include "base/utf8.h"
#include "run/font_data.h"

#include <math.h>
#include <stdlib.h>

/* stb_truetype leaves a glyph out where memory is out, and does not say so. */
static _Thread_local bool malloc_failed;

static void *noted_malloc(size_t size)
{
    void *bytes = malloc(size);
    malloc_failed = malloc_failed || !bytes;
    return bytes;
}

#define STBTT_malloc(size, user) ((void)(user), noted_malloc(size))
#define STBTT_free(bytes, user) ((void)(user), free(bytes))
#define STBTT_STATIC
#define STB_TRUETYPE_IMPLEMENTATION
#include <stb/stb_truetype.h>

#define REPLACEMENT 0xFFFD

struct font {
    stbtt_fontinfo info;
    double scale;
};

static bool font_init(struct font *font, const unsigned char *data,
                      const struct text_style *style)
{
    bool ok = stbtt_InitFont(&font->info, data, 0) != 0;
    if (ok)
        font->scale = stbtt_ScaleForMappingEmToPixels(&font->info, (float)style->size);
    return ok;
}

int text_line_height(const struct text_style *style)
{
    return (int)ceil(style->size * 1.35);
}

int text_ascent(const struct text_style *style)
{
    return (int)lround(style->size * 1.02);
}

/* The next code point to show, at *at; false at the end. */
static bool next_shown(const char *text, int length, int *at, uint32_t *code_point)
{
    if (*at >= length)
        return false;
    int size = utf8_decode(text + *at, (size_t)(length - *at), code_point);
    if (size == 0)
        *code_point = REPLACEMENT;
    if (*code_point < 0x20 || *code_point == 0x7f)
        *code_point = ' ';
    *at += size ? size : 1;
    return true;
}

/* Where the pen goes: the glyph and its advance, kerned against the glyph before. */
struct pen {
    struct font fonts[2]; /* the second for letters that the first has not */
    int font_count;
    const struct font *font; /* of the glyph */
    double x;
    int glyph;
};

static bool pen_begin(struct pen *pen, const struct text_style *style, double x)
{
    const unsigned char *first =
        style->weight == TEXT_BOLD ? font_data_bold : font_data_regular;
    *pen = (struct pen){.x = x, .glyph = -1};
    if (!font_init(&pen->fonts[0], first, style))
        return false;
    bool more =
        font_data_has_fallback && font_init(&pen->fonts[1], font_data_fallback, style);
    pen->font_count = 1 + more;
    return true;
}

/* The first font that has it; a box in the first where none has. */
static const struct font *choose_font(const struct pen *pen, uint32_t code_point,
                                      int *glyph)
{
    for (int i = 0; i < pen->font_count; i++)
        if ((*glyph = stbtt_FindGlyphIndex(&pen->fonts[i].info, (int)code_point)) != 0)
            return &pen->fonts[i];
    return &pen->fonts[0];
}

/* Moves to the next glyph; returns its advance. pen->x is its origin. */
static double pen_next(struct pen *pen, uint32_t code_point)
{
    int advance, bearing, glyph;
    const struct font *font = choose_font(pen, code_point, &glyph);
    if (pen->glyph >= 0 && font == pen->font)
        pen->x += font->scale * stbtt_GetGlyphKernAdvance(&font->info, pen->glyph, glyph);
    stbtt_GetGlyphHMetrics(&font->info, glyph, &advance, &bearing);
    pen->glyph = glyph;
    pen->font = font;
    return font->scale * advance;
}

double text_width(const struct text_style *style, const char *text, int length)
{
    struct pen pen;
    uint32_t code_point;
    if (!pen_begin(&pen, style, 0))
        return 0;
    for (int at = 0; next_shown(text, length, &at, &code_point);)
        pen.x += pen_next(&pen, code_point);
    return pen.x;
}

static void blend(uint8_t *pixel, const uint8_t *color, int alpha)
{
    for (int c = 0; c < 3; c++)
        pixel[c] = (uint8_t)((pixel[c] * (255 - alpha) + color[c] * alpha + 127) / 255);
}

static void draw_bitmap(struct image *image, const struct text_style *style, int left,
                        int top, const unsigned char *alpha, int width, int height)
{
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
            int px = left + x, py = top + y;
            if (px < 0 || py < 0 || px >= image->width || py >= image->height)
                continue;
            blend(image->rgb + ((size_t)py * (size_t)image->width + (size_t)px) * 3,
                  style->color, alpha[y * width + x]);
        }
    }
}

static void draw_glyph(struct image *image, const struct text_style *style,
                       const struct pen *pen, int baseline)
{
    double whole = floor(pen->x);
    int width, height, left, above;
    unsigned char *alpha = stbtt_GetGlyphBitmapSubpixel(
        &pen->font->info, (float)pen->font->scale, (float)pen->font->scale,
        (float)(pen->x - whole), 0, pen->glyph, &width, &height, &left, &above);
    if (alpha)
        draw_bitmap(image, style, (int)whole + left, baseline + above, alpha, width,
                    height);
    stbtt_FreeBitmap(alpha, NULL);
}

bool text_check(struct err *e)
{
    bool failed = malloc_failed;
    malloc_failed = false;
    return !failed || err_set(e, ERR_MEMORY, "figure: out of memory for a letter");
}

void text_draw(struct image *image, const struct text_style *style, double x, int top,
               const char *text, int length)
{
    struct pen pen;
    uint32_t code_point;
    if (!pen_begin(&pen, style, x))
        return;
    for (int at = 0; next_shown(text, length, &at, &code_point);) {
        double advance = pen_next(&pen, code_point);
        draw_glyph(image, style, &pen, top + text_ascent(style));
        pen.x += advance;
    }
}
