/* test_figure.c: contact sheets: their size, that labels are drawn, odd labels, pages. */
#include "run/figure.h"
#include "run/font_data.h"
#include "run/text.h"

#include "check.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/diffens-figures-XXXXXX";

/* Pictures of one colour, which tells row and column; cell (1,1) is blank. */
struct source {
    int height, width, asked, bands;
};

static bool give_picture(void *user, int row, int column, struct image *out,
                         struct err *e)
{
    struct source *s = user;
    s->asked++;
    if (row == 1 && column == 1)
        return true;
    if (!image_new(out, s->width, s->height, e))
        return false;
    for (int i = 0; i < s->width * s->height; i++) {
        out->rgb[3 * i] = (uint8_t)(10 + row);
        out->rgb[3 * i + 1] = (uint8_t)(200 + column);
        out->rgb[3 * i + 2] = 7;
    }
    return true;
}

static bool refuse_picture(void *user, int row, int column, struct image *out,
                           struct err *e)
{
    (void)user;
    (void)out;
    return err_set(e, ERR_INPUT, "no picture %d %d", row, column);
}

static bool read_page(struct image *image, int page)
{
    char path[256], name[32];
    struct err e = {0};
    snprintf(path, sizeof path, "%s/%s", folder, figure_page_name(page, name));
    bool ok = image_read(image, path, NULL, &e);
    unlink(path);
    return ok;
}

static int count_color(const struct image *image, int row, int column)
{
    int count = 0;
    for (int i = 0; i < image->width * image->height; i++)
        count += image->rgb[3 * i] == 10 + row && image->rgb[3 * i + 1] == 200 + column &&
                 image->rgb[3 * i + 2] == 7;
    return count;
}

/* Dark grey pixels, which only text has, in a band of the page. */
static int count_ink(const struct image *image, int top, int bottom)
{
    int count = 0;
    for (int y = top; y < bottom && y < image->height; y++) {
        for (int x = 0; x < image->width; x++) {
            const uint8_t *p = image->rgb + 3 * (y * image->width + x);
            count += p[0] < 0x90 && p[0] == p[1] && p[1] == p[2];
        }
    }
    return count;
}

static void test_grid(void)
{
    static const char *const rows[] = {"first", "second"};
    static const char *const columns[] = {"a", "b", "c"};
    struct source source = {.height = 300, .width = 260};
    struct figure f = {.title = "Title",
                       .caption = "caption",
                       .rows = 2,
                       .columns = 3,
                       .row_labels = rows,
                       .column_labels = columns,
                       .picture_height = 300,
                       .picture_width = 260,
                       .picture = give_picture,
                       .user = &source};
    struct image page = {0}, bare = {0};
    struct err e = {0};
    int pages = 0;
    CHECK(figure_write(&f, folder, NULL, 0, &pages, &e));
    CHECK_STR(e.message, "");
    CHECK_INT(pages, 1);
    CHECK(read_page(&page, 0));
    CHECK_INT(source.asked, 6);
    for (int i = 0; i < 6; i++)
        CHECK_INT(count_color(&page, i / 3, i % 3), i == 4 ? 0 : 300 * 260);
    CHECK(count_ink(&page, 0, page.height) > 500);
    CHECK_INT(page.rgb[3 * (5 * page.width + 5)], 255);

    f.title = f.caption = NULL;
    f.row_labels = f.column_labels = NULL;
    CHECK(figure_write(&f, folder, NULL, 0, NULL, &e));
    CHECK(read_page(&bare, 0));
    CHECK_INT(count_ink(&bare, 0, bare.height), 0);
    CHECK(bare.width < page.width && bare.height < page.height);
    image_free(&page);
    image_free(&bare);
}

/* Small pictures are shown twice as large, and a smaller one fills the same cell. */
static void test_enlargement(void)
{
    struct source source = {.height = 128, .width = 128};
    struct figure f = {.rows = 1,
                       .columns = 1,
                       .picture_height = 128,
                       .picture_width = 128,
                       .picture = give_picture,
                       .user = &source};
    struct image page = {0};
    struct err e = {0};
    CHECK(figure_write(&f, folder, NULL, 0, NULL, &e));
    CHECK(read_page(&page, 0));
    CHECK_INT(count_color(&page, 0, 0), 256 * 256);
    image_free(&page);
    source.height = source.width = 64;
    CHECK(figure_write(&f, folder, NULL, 0, NULL, &e));
    CHECK(read_page(&page, 0));
    CHECK_INT(count_color(&page, 0, 0), 256 * 256);
    image_free(&page);
    source.height = 300;
    CHECK(!figure_write(&f, folder, NULL, 0, NULL, &e));
    CHECK_INT(e.code, ERR_BUG);
}

static void test_pages(void)
{
    struct source source = {.height = 64, .width = 64};
    struct figure f = {.title = "Title",
                       .rows = 25,
                       .columns = 2,
                       .picture_height = 64,
                       .picture_width = 64,
                       .picture = give_picture,
                       .user = &source};
    struct image page = {0};
    struct err e = {0};
    int pages;
    CHECK(figure_write(&f, folder, NULL, 0, &pages, &e));
    CHECK_INT(pages, 3);
    for (int number = 0; number < 3; number++) {
        CHECK(read_page(&page, number));
        CHECK_INT(count_color(&page, 12 * number, 0), 256 * 256);
        CHECK_INT(count_color(&page, 12 * number + 12, 0), 0);
        image_free(&page);
    }
    f.rows = 1;
    f.columns = 100; /* more than fit side by side */
    CHECK(figure_write(&f, folder, NULL, 0, &pages, &e));
    CHECK(pages > 1);
    for (int number = 0; number < pages; number++) {
        CHECK(read_page(&page, number));
        CHECK(page.width <= 16384);
        image_free(&page);
    }
}

/* Paints the whole band, which is white before. */
static bool paint_band(void *user, int row, struct image *page, int left, int top,
                       int width, int height, double em, struct err *e)
{
    struct source *source = user;
    (void)e;
    CHECK(left >= 0 && top > 0 && em > 0 && width > 100 && height > 100);
    CHECK(left + width <= page->width && top + height <= page->height);
    for (int y = top; y < top + height; y++) {
        for (int x = left; x < left + width; x++) {
            uint8_t *p = page->rgb + 3 * ((size_t)y * (size_t)page->width + (size_t)x);
            CHECK(p[0] == 255 && p[1] == 255 && p[2] == 255);
            p[0] = p[1] = p[2] = 254;
        }
    }
    CHECK_INT(row, source->bands);
    source->bands++;
    return true;
}

static void test_bands(void)
{
    static const char *const headings[] = {"first", NULL, "third"};
    struct source source = {.height = 64, .width = 64};
    struct figure f = {.rows = 3,
                       .columns = 2,
                       .headings = headings,
                       .picture_height = 64,
                       .picture_width = 64,
                       .picture = give_picture,
                       .band = paint_band,
                       .user = &source};
    struct image page = {0};
    struct err e = {0};
    CHECK(figure_write(&f, folder, NULL, 0, NULL, &e));
    CHECK_INT(source.bands, 3);
    CHECK(read_page(&page, 0));
    for (int row = 0; row < 3; row++)
        CHECK_INT(count_color(&page, row, 0), 256 * 256);
    image_free(&page);
}

static void test_odd_labels(void)
{
    char *huge = malloc(100001);
    memset(huge, 'W', 100000);
    huge[100000] = '\0';
    const char *labels[] = {huge,
                            "",
                            NULL,
                            "\xff\xfe broken \xe2\x82",
                            "line\nbreak\ttab\x01",
                            "\xE1\xBC\x80 \xD0\xA9 \xE7\x8C\xAB \xF0\x9F\x90\x88"};
    struct source source = {.height = 64, .width = 64};
    struct figure f = {.title = huge,
                       .caption = huge,
                       .rows = 6,
                       .columns = 6,
                       .headings = labels,
                       .row_labels = labels,
                       .column_labels = labels,
                       .first_columns = 1,
                       .last_columns = 1,
                       .picture_height = 64,
                       .picture_width = 64,
                       .picture = give_picture,
                       .user = &source};
    struct image page = {0};
    struct err e = {0};
    CHECK(figure_write(&f, folder, NULL, 0, NULL, &e));
    CHECK_STR(e.message, "");
    CHECK(read_page(&page, 0));
    CHECK_INT(count_color(&page, 5, 5), 256 * 256);
    image_free(&page);
    free(huge);
}

static void test_wrapping(void)
{
    struct text_style style = {.size = 20};
    struct text_block block;
    struct err e = {0};
    CHECK(text_wrap(&block, &style, "a house by the sea at night", 120, 8, &e));
    CHECK(block.count > 1 && block.width <= 120);
    CHECK_STR(block.line[0], "a house by");
    text_block_free(&block);
    CHECK(text_wrap(&block, &style, "a house by the sea at night", 120, 1, &e));
    CHECK_INT(block.count, 1);
    CHECK(block.width <= 120);
    CHECK_HAS(block.line[0], "\xE2\x80\xA6");
    text_block_free(&block);
    CHECK(text_wrap(&block, &style, "  \n ", 120, 3, &e));
    CHECK_INT(block.count, 0);
    text_block_free(&block);
    CHECK(text_wrap(&block, &style, "wide", 1, 2, &e));
    CHECK_INT(block.count, 2);
    text_block_free(&block);
    CHECK(text_width(&style, "WW", 2) > text_width(&style, "ii", 2));
}

/* A picture of a few pixels beside a large one is enlarged as far as that goes. */
static void test_tiny_pictures(void)
{
    struct source source = {.height = 2, .width = 2};
    struct figure f = {.rows = 1,
                       .columns = 1,
                       .picture_height = 512,
                       .picture_width = 512,
                       .picture = give_picture,
                       .user = &source};
    struct image page = {0};
    struct err e = {0};
    CHECK(figure_write(&f, folder, NULL, 0, NULL, &e));
    CHECK(read_page(&page, 0));
    CHECK(page.width >= 512);
    image_free(&page);
}

/* Ideographs are as wide as they are high; the box of a letter that no font has is not.
 */
static void test_fallback(void)
{
    struct text_style style = {.size = 100};
    double box = text_width(&style, "\xf4\x8f\xbf\xbf", 4);
    double house = text_width(&style, "\xe5\xae\xb6", 3);
    double letter = text_width(&style, "a", 1);
    CHECK(box > 0 && box < 90);
    CHECK(font_data_has_fallback ? house > 99 && house < 101 : house == box);
    CHECK(text_width(&style, "a\xe5\xae\xb6", 4) == letter + house);
}

static void test_failures(void)
{
    struct source source = {.height = 64, .width = 64};
    struct figure f = {.rows = 1,
                       .columns = 1,
                       .picture_height = 64,
                       .picture_width = 64,
                       .picture = refuse_picture,
                       .user = &source};
    struct err e = {0};
    CHECK(!figure_write(&f, folder, NULL, 0, NULL, &e));
    CHECK_STR(e.message, "no picture 0 0");
    f.picture = give_picture;
    e = (struct err){0};
    CHECK(!figure_write(&f, "/nonexistent", NULL, 0, NULL, &e));
    CHECK_INT(e.code, ERR_OUTPUT);
}

int main(void)
{
    if (!mkdtemp(folder))
        return 1;
    RUN(test_grid);
    RUN(test_enlargement);
    RUN(test_pages);
    RUN(test_bands);
    RUN(test_odd_labels);
    RUN(test_wrapping);
    RUN(test_tiny_pictures);
    RUN(test_fallback);
    RUN(test_failures);
    return rmdir(folder) != 0 || CHECK_EXIT();
}
