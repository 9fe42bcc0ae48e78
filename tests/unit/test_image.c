/* test_image.c: pictures, their texts, and the image tensor. */
#include "check.h"
#include "diffens/image.h"
#include "io/exif.h"
#include "io/png.h"
#include "unit/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <zlib.h>

static void fill(struct image *image, unsigned seed)
{
    for (int i = 0; i < image->width * image->height * 3; i++)
        image->rgb[i] = (uint8_t)((unsigned)(i * i) * seed / 7 + seed);
}

static bool same(const struct image *a, const struct image *b)
{
    return a->width == b->width && a->height == b->height &&
           memcmp(a->rgb, b->rgb, (size_t)a->width * (size_t)a->height * 3) == 0;
}

static void test_png_round_trip(void)
{
    static const int sizes[][2] = {{1, 1}, {3, 2}, {64, 64}, {257, 33}, {1, 300}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct image image = {0}, again = {0};
        struct err e = {0};
        bool alpha = true;
        CHECK(image_new(&image, sizes[i][0], sizes[i][1], &e));
        fill(&image, (unsigned)i + 1);
        char path[300];
        snprintf(path, sizeof path, "%s", in_dir("p.png"));
        CHECK(image_write_png(&image, path, NULL, 0, &e));
        CHECK(image_read(&again, path, &alpha, &e));
        CHECK_STR(e.message, "");
        CHECK(!alpha && same(&image, &again));
        image_free(&image);
        image_free(&again);
        image_free(&again);
    }
}

static void test_texts(void)
{
    struct image image = {0};
    struct err e = {0};
    char path[300];
    snprintf(path, sizeof path, "%s", in_dir("t.png"));
    const struct image_text texts[] = {
        {"parameters", "caf\xc3\xa9, \xe2\x98\x83"},
        {"diffens", "{\"a\": \"caf\xc3\xa9\"}"},
        {"param", ""},
    };
    CHECK(image_new(&image, 4, 4, &e));
    CHECK(image_write_png(&image, path, texts, 3, &e));
    for (int i = 0; i < 3; i++) {
        char *text = image_read_png_text(path, texts[i].keyword, &e);
        CHECK_STR(text, texts[i].text);
        free(text);
    }
    CHECK(image_read_png_text(path, "none", &e) == NULL);
    CHECK_HAS(e.message, "t.png: found no text \"none\", expected one");
    e = (struct err){0};
    CHECK(image_read_png_text(write_file("x.png", "GIF89a", 6), "k", &e) == NULL);
    CHECK_HAS(e.message, "found no PNG signature");
    struct image_text bad = {"", "x"};
    e = (struct err){0};
    CHECK(!image_write_png(&image, path, &bad, 1, &e));
    CHECK_INT(e.code, ERR_BUG);
    image_free(&image);
}

/* A chunk of a PNG of one pixel, and what reading its text "k" says. */
static void test_texts_refused(void)
{
    static const struct {
        const char type[5];
        const char *data;
        size_t size;
        const char *message; /* NULL: it is read, and is "x" */
    } rows[] = {
        {"tEXt", "k\0x", 3, NULL},
        {"iTXt", "k\0\0\0\0\0x", 7, NULL},
        {"iTXt", "k\0\0\0de\0wort\0x", 13, NULL},
        {"tEXt", "k\0x\0", 4, "found a NUL in a tEXt chunk"},
        {"zTXt", "k\0\0x", 4, "found a compressed zTXt chunk, expected plain"},
        {"iTXt", "k\0\1\0\0\0x", 7, "found a compressed iTXt chunk, expected plain"},
        {"iTXt", "k\0\0\0\0", 5, "found a short iTXt chunk"},
        {"iTXt", "k\0\0\0de", 6, "found a short iTXt chunk"},
        {"iTXt", "k\0\0\0de\0wort", 11, "found a short iTXt chunk"},
        {"iTXt", "k\0\0\0\0\0\xff", 7, "found an iTXt chunk that is not UTF-8"},
        {"iTXt", "k\0\0\0\0\0x\0", 8, "found an iTXt chunk that is not UTF-8"},
        {"tEXt", "k", 1, "found no text \"k\""},
        {"tEXt", "kk\0x", 4, "found no text \"k\""},
        {"quIc", "k\0x", 3, "found no text \"k\""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct str png = {0};
        struct err e = {0};
        const char *t = rows[i].type;
        str_add_bytes(&png, "\x89PNG\r\n\x1a\n", 8);
        size_t begin = png_begin_chunk(&png, PNG_TYPE('I', 'H', 'D', 'R'));
        str_add_bytes(&png, "\0\0\0\1\0\0\0\1\x8\2\0\0\0", 13);
        png_end_chunk(&png, begin);
        begin = png_begin_chunk(&png, PNG_TYPE(t[0], t[1], t[2], t[3]));
        str_add_bytes(&png, rows[i].data, rows[i].size);
        png_end_chunk(&png, begin);
        png_end_chunk(&png, png_begin_chunk(&png, PNG_TYPE('I', 'E', 'N', 'D')));
        const char *path = write_file("k.png", png.bytes, png.size);
        char *text = image_read_png_text(path, "k", &e);
        if (rows[i].message)
            CHECK_HAS(e.message, rows[i].message);
        else
            CHECK_STR(text, "x");
        free(text);
        str_free(&png);
    }
}

static bool read_bytes(const void *bytes, size_t size, struct err *e)
{
    struct image image = {0};
    *e = (struct err){0};
    bool ok = image_read(&image, write_file("b.png", bytes, size), NULL, e);
    CHECK(ok || image.rgb == NULL);
    image_free(&image);
    return ok;
}

/* A JPEG of one component that has a header and no picture. */
#define FRAME1(marker, precision, size)                                                  \
    "\xff\xd8\xff" marker "\x00\x0b" precision size                                      \
    "\x01\x01\x11\x00\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00\xff\xd9"

static void test_formats_refused(void)
{
    static const struct {
        const char *bytes;
        size_t size;
        const char *message;
    } rows[] = {
        {"", 0, "b.png: found an empty file, expected PNG or JPEG"},
        {"GIF89a.....", 11, "found a GIF, expected PNG or JPEG"},
        {"RIFF....WEBPVP8 ", 16, "found a WebP"},
        {"....ftypheic....", 16, "found a HEIC"},
        {"<svg xmlns=''>", 14, "found an SVG"},
        {"8BPS\0\1........", 14, "found a PSD"},
        {"BM............", 14, "found a BMP"},
        {"\0\0\2\0\0\0\0\0\0\0\0\0", 12, "found a file of unknown format"},
        {"\x89PNG\r\n\x1a\n", 8, "PNG, byte 8: found end of file, expected a chunk"},
        {"\xff\xd8\xff\xe0", 4, "found a damaged picture"},
        {"\xff\xd8\xff\xe0\x00\x10JFIF", 10, "found a damaged picture"},
        {FRAME1("\xc0", "\x08", "\xff\x00\xff\x00"), 27,
         "size: found 65280 x 65280, expected sides of 1..16384"},
        {FRAME1("\xc0", "\x08", "\x40\x00\x40\x00"), 27, "at most 67108864 pixels"},
        {FRAME1("\xc0", "\x08", "\x00\x00\x00\x01"), 27, "found a damaged picture"},
        {FRAME1("\xc0", "\x0c", "\x00\x01\x00\x01"), 27,
         "Unsupported JPEG data precision"},
        {FRAME1("\xc3", "\x08", "\x00\x01\x00\x01"), 27,
         "found a damaged picture (Unsupp"},
        {"\xff\xd8\xff\xc0\x00\x14\x08\x00\x01\x00\x01\x04\x01\x11\x00\x02\x11\x00\x03"
         "\x11"
         "\x00\x04\x11\x00\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00\xff\xd9",
         36, "found CMYK, expected grey or RGB colours"},
        {"\xff\xd8\xff\xda\x00\x02\xff\xd9", 8, "found a damaged picture"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err e;
        CHECK(!read_bytes(rows[i].bytes, rows[i].size, &e));
        CHECK_INT(e.code, ERR_INPUT);
        CHECK_HAS(e.message, rows[i].message);
    }
}

/* EXIF data of one entry, and what they say. */
static void test_exif(void)
{
#define ENTRY "\x01\x12\0\3\0\0\0\1\0\6\0\0"
    static const struct {
        const char *bytes;
        size_t size;
        int orientation;
    } rows[] = {
        {"Exif\0\0MM\0*\0\0\0\x8\0\1" ENTRY, 28, 6},
        {"Exif\0\0II*\0\x8\0\0\0\1\0\x12\1\3\0\1\0\0\0\x8\0\0\0", 28, 8},
        {"Exif\0\0MM\0*\0\0\0\x8\0\2\x01\x11\0\3\0\0\0\1\0\6\0\0" ENTRY, 40, 6},
        {"Exif\0\0MM\0*\0\0\0\x8\0\1", 16, 1},       /* the entry is missing */
        {"Exif\0\0MM\0*\0\0\1\0\0\1" ENTRY, 28, 1},  /* the folder lies outside */
        {"Exif\0\0MM\0*\0\0\0\x8\0\0" ENTRY, 28, 1}, /* it has no entry */
        {"Exif\0\0MM\0*\0\0\0\x8\0\1\x01\x12\0\4\0\0\0\1\0\6\0\0", 28, 1},
        {"Exif\0\0MM\0*\0\0\0\x8\0\1\x01\x12\0\3\0\0\0\1\0\x9\0\0", 28, 1},
        {"Exif\0\0MM\0*\0\0\0\x8\0\1\x01\x12\0\3\0\0\0\1\0\0\0\0", 28, 1},
        {"Exif\0\0MM*\0\0\0\0\x8\0\1" ENTRY, 28, 1},
        {"exif\0\0MM\0*\0\0\0\x8\0\1" ENTRY, 28, 1},
        {"Exif\0\0MM\0*\0", 11, 1},
    };
#undef ENTRY
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t jpeg[64] = {0xFF, 0xD8, 0xFF, 0xE1, 0, (uint8_t)(rows[i].size + 2)};
        memcpy(jpeg + 6, rows[i].bytes, rows[i].size);
        memcpy(jpeg + 6 + rows[i].size, "\xFF\xDA\0\2", 4);
        CHECK_INT(exif_orientation(jpeg, 10 + rows[i].size), rows[i].orientation);
        jpeg[3] = 0xE2; /* another segment */
        CHECK_INT(exif_orientation(jpeg, 10 + rows[i].size), 1);
        jpeg[3] = 0xE1;
        jpeg[5]++; /* the next segment does not begin where it should */
        CHECK_INT(exif_orientation(jpeg, 10 + rows[i].size), rows[i].orientation);
        jpeg[5] = 1; /* less than itself */
        CHECK_INT(exif_orientation(jpeg, 10 + rows[i].size), 1);
        jpeg[5] = 0xFF; /* longer than the file */
        CHECK_INT(exif_orientation(jpeg, 10 + rows[i].size), 1);
    }
}

/* A PNG of these dimensions whose compressed data unpacks to `unpacked` zeros. */
static void make_png(struct str *out, uint32_t width, uint32_t height, int depth,
                     int colour, size_t unpacked)
{
    uint8_t header[13] = {0};
    for (int i = 0; i < 4; i++) {
        header[i] = (uint8_t)(width >> (24 - 8 * i));
        header[4 + i] = (uint8_t)(height >> (24 - 8 * i));
    }
    header[8] = (uint8_t)depth;
    header[9] = (uint8_t)colour;
    str_add_bytes(out, "\x89PNG\r\n\x1a\n", 8);
    size_t begin = png_begin_chunk(out, PNG_TYPE('I', 'H', 'D', 'R'));
    str_add_bytes(out, header, 13);
    png_end_chunk(out, begin);
    uLongf size = compressBound(unpacked);
    uint8_t *zeros = calloc(unpacked + 1, 1), *packed = malloc(size);
    compress2(packed, &size, zeros, unpacked, 9);
    begin = png_begin_chunk(out, PNG_TYPE('I', 'D', 'A', 'T'));
    str_add_bytes(out, packed, size);
    png_end_chunk(out, begin);
    png_end_chunk(out, png_begin_chunk(out, PNG_TYPE('I', 'E', 'N', 'D')));
    free(zeros);
    free(packed);
}

static void test_png_refused(void)
{
    static const struct {
        uint32_t width, height;
        int depth, colour;
        size_t unpacked;
        const char *message; /* NULL where it is a good picture */
    } rows[] = {
        {2, 2, 8, 2, 14, NULL},
        {2, 2, 8, 0, 6, NULL},
        {2, 2, 16, 6, 34, NULL},
        {0, 2, 8, 2, 14, "size: found 0 x 2"},
        {16385, 1, 8, 2, 14, "size: found 16385 x 1"},
        {16384, 16384, 8, 2, 14, "at most 67108864 pixels"},
        {4294967295u, 4294967295u, 8, 2, 14, "size: found 4294967295 x"},
        {2, 2, 8, 2, 13, "PNG: found data of 1 rows, expected all of 2 x 2"},
        {2, 2, 7, 2, 14, "PNG: found depth 7 of colour type 2"},
        {2, 2, 8, 5, 14, "PNG: found depth 8 of colour type 5"},
        {2, 2, 8, 3, 6, "PNG: found no palette in front of the data"},
        {2, 2, 8, 2, 60000000, "PNG: found more data than its rows"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct str png = {0};
        struct err e;
        make_png(&png, rows[i].width, rows[i].height, rows[i].depth, rows[i].colour,
                 rows[i].unpacked);
        bool ok = read_bytes(png.bytes, png.size, &e);
        CHECK_INT(ok, rows[i].message == NULL);
        if (rows[i].message) {
            CHECK_INT(e.code, ERR_INPUT);
            CHECK_HAS(e.message, rows[i].message);
        }
        str_free(&png);
    }
}

static void test_png_every_cut_and_flip_is_seen(void)
{
    struct str png = {0};
    struct err e;
    make_png(&png, 5, 4, 8, 2, 64);
    CHECK(read_bytes(png.bytes, png.size, &e));
    for (size_t size = 0; size < png.size; size++)
        CHECK(!read_bytes(png.bytes, size, &e));
    for (size_t at = 0; at < png.size; at++) {
        png.bytes[at] ^= 0x10;
        CHECK(!read_bytes(png.bytes, png.size, &e));
        png.bytes[at] ^= 0x10;
    }
    str_free(&png);
}

static void test_alpha_on_white(void)
{
    struct str png = {0};
    struct err e = {0};
    struct image image = {0};
    bool alpha = false;
    make_png(&png, 2, 1, 8, 6, 9); /* transparent black */
    CHECK(image_read(&image, write_file("a.png", png.bytes, png.size), &alpha, &e));
    CHECK(alpha && image.rgb[0] == 255 && image.rgb[5] == 255);
    image_free(&image);
    str_free(&png);
}

static void test_tensor_round_trip(void)
{
    struct image_tensor t = {0};
    struct image image = {0}, again = {0};
    struct err e = {0};
    char path[300];
    snprintf(path, sizeof path, "%s", in_dir("images.npy"));
    CHECK(image_tensor_create(&t, path, 3, 2, 4, 8, &e));
    CHECK_INT(t.data % 64, 0);
    CHECK_INT(count_files(".tmp."), 0);
    struct stat info;
    CHECK(stat(path, &info) == 0 && info.st_size == (off_t)t.data + 3 * 2 * 4 * 8 * 3);
    CHECK(image_new(&image, 8, 4, &e));
    fill(&image, 9);
    CHECK(image_tensor_write(&t, 2, 1, &image, &e));
    CHECK(image_tensor_read(&t, 2, 1, &again, &e) && same(&image, &again));
    CHECK(!image_tensor_write(&t, 3, 0, &image, &e));
    CHECK_INT(e.code, ERR_BUG);
    e = (struct err){0};
    image.width = 4;
    CHECK(!image_tensor_write(&t, 0, 0, &image, &e));
    image.width = 8;
    e = (struct err){0};
    CHECK(image_tensor_close(&t, &e));
    CHECK(image_tensor_close(&t, &e));

    CHECK(image_tensor_open(&t, path, &e));
    CHECK(t.cases == 3 && t.models == 2 && t.height == 4 && t.width == 8);
    CHECK(image_tensor_read(&t, 2, 1, &again, &e) && same(&image, &again));
    CHECK(image_tensor_read(&t, 0, 0, &again, &e) && again.rgb[0] == 0);
    CHECK(!image_tensor_read(&t, 0, 2, &again, &e) && again.rgb == NULL);
    e = (struct err){0};
    CHECK(image_tensor_close(&t, &e));
    struct image_tensor zeroed = {0};
    CHECK(image_tensor_close(&zeroed, &e));
    image_free(&image);
}

static void test_tensor_reopened(void)
{
    struct image_tensor t = {0};
    struct image image = {0}, again = {0};
    struct err e = {0};
    char path[300];
    snprintf(path, sizeof path, "%s", in_dir("r.npy"));
    CHECK(!image_new(&image, 0, 4, &e) && !image_new(&image, 4, -1, &e));
    CHECK_INT(e.code, ERR_BUG);
    e = (struct err){0};
    CHECK(!image_tensor_reopen(&t, path, &e));
    CHECK_HAS(e.message, "r.npy: found no such file");
    e = (struct err){0};
    CHECK(image_tensor_create(&t, path, 1, 1, 4, 8, &e) && image_tensor_close(&t, &e));
    CHECK(image_new(&image, 8, 4, &e));
    fill(&image, 3);
    CHECK(image_tensor_reopen(&t, path, &e));
    CHECK(image_tensor_write(&t, 0, 0, &image, &e) && image_tensor_close(&t, &e));
    CHECK(image_tensor_reopen(&t, path, &e));
    CHECK(image_tensor_read(&t, 0, 0, &again, &e) && same(&image, &again));
    CHECK(!image_tensor_read(&t, -1, 0, &again, &e));
    CHECK(!image_tensor_read(&t, 0, -1, &again, &e));
    image.height = 3;
    CHECK(!image_tensor_write(&t, 0, 0, &image, &e));
    CHECK_INT(e.code, ERR_BUG);
    e = (struct err){0};
    CHECK_INT(truncate(path, 150), 0);
    CHECK(!image_tensor_read(&t, 0, 0, &again, &e) && !again.rgb);
    CHECK_HAS(e.message, "r.npy: found end of file at byte 150");
    image_tensor_close(&t, &e);

    /* for writing it is not followed through a link */
    e = (struct err){0};
    CHECK(image_tensor_create(&t, path, 1, 1, 4, 8, &e) && image_tensor_close(&t, &e));
    CHECK_INT(symlink("r.npy", in_dir("link.npy")), 0);
    CHECK(!image_tensor_reopen(&t, in_dir("link.npy"), &e));
    CHECK_INT(e.code, ERR_OUTPUT);
    CHECK_HAS(e.message, "link.npy: open for writing: Too many levels");
    image_free(&image);
}

static void test_tensor_create_refused(void)
{
    struct image_tensor t;
    struct err e = {0};
    CHECK(!image_tensor_create(&t, in_dir("c.npy"), 1, 0, 64, 64, &e));
    CHECK_HAS(e.message, "c.npy: found 1 x 0 x 64 x 64 x 3 bytes, expected at least one");
    e = (struct err){0};
    CHECK(!image_tensor_create(&t, in_dir("c.npy"), 1, 1, 64, 16385, &e));
    CHECK_INT(e.code, ERR_USAGE);
    CHECK_HAS(e.hint, "--limit image-side=");
    e = (struct err){0};
    CHECK(!image_tensor_create(&t, in_dir("c.npy"), 1ll << 40, 1ll << 40, 64, 64, &e));
    CHECK_INT(e.code, ERR_USAGE);
    e = (struct err){0};
    CHECK(!image_tensor_create(&t, in_dir("c.npy"), INT64_MAX / 2, 4, 64, 64, &e));
    CHECK_INT(e.code, ERR_USAGE);
    e = (struct err){0};
    CHECK(!image_tensor_create(&t, in_dir("c.npy"), 0, 4, 64, 64, &e));
    CHECK(t.path == NULL && t.fd == -1);
    e = (struct err){0};
    CHECK(!image_tensor_create(&t, in_dir("c.npy"), 1ll << 30, 64, 512, 512, &e));
    CHECK_INT(e.code, ERR_OUTPUT);
    CHECK_HAS(e.message, "c.npy: reserve space: ");
    CHECK_INT(count_files("c.npy"), 0);
    e = (struct err){0};
    CHECK(!image_tensor_create(&t, "/nowhere/c.npy", 1, 1, 8, 8, &e));
    CHECK_INT(e.code, ERR_OUTPUT);
}

static void test_npy_headers(void)
{
    static const struct {
        const char *dict;
        size_t data;
        const char *message; /* NULL where it is accepted */
    } rows[] = {
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (1, 2, 1, 1, 3), }  \n", 6,
         NULL},
        {"{\"shape\":(1,2,1,1,3),\"descr\":\"|u1\",\"fortran_order\":False}", 6, NULL},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2, 1, 1, 3), }", 24,
         "descr: found \"<f4\", expected \"|u1\" (uint8)"},
        {"{'descr': '|i1', 'fortran_order': False, 'shape': (1, 2, 1, 1, 3), }", 6,
         "found \"|i1\""},
        {"{'descr': [('a', '|u1')], 'fortran_order': False, 'shape': (1,), }", 6,
         "found a structured type"},
        {"{'descr': '|u1', 'fortran_order': True, 'shape': (1, 2, 1, 1, 3), }", 6,
         "fortran_order: found True"},
        {"{'descr': '|u1', 'fortran_order': None, 'shape': (1, 2, 1, 1, 3), }", 6,
         "expected True or False"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (1, 2, 1, 3), }", 6,
         "shape: found (1, 2, 1, 3), expected (N, M, H, W, 3)"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (1, 2, 1, 1, 3, 1), }", 6,
         "shape: found (1, 2, 1, 1, 3, ...)"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (1, 2, 1, 1, 4), }", 8,
         "shape: found (1, 2, 1, 1, 4)"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (0, 2, 1, 1, 3), }", 0,
         "shape: found (0, 2"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 2, 1, 1, 3), }", 0,
         "expected an integer"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (9223372036854775807, 2, 1, "
         "1, "
         "3), }",
         0, "shape: found (9223372036854775807"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999999999999, 2, 1, "
         "1, "
         "3), }",
         0, "expected an integer"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (1, 2, 99999, 1, 3), }", 0,
         "with H and W 1..16384"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (1 2), }", 0, "',' or ')'"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (1, 0, 1, 1, 3), }", 0,
         "shape: found (1, 0, 1, 1, 3)"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (1, 2, 0, 1, 3), }", 0,
         "shape: found (1, 2, 0, 1, 3)"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (1, 2, 1, 0, 3), }", 0,
         "shape: found (1, 2, 1, 0, 3)"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (1, 9223372036854775807, 9, "
         "9, 3), }",
         0, "shape: found (1, 9223372036854775807"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (6148914691236517205, 1, 1, "
         "1, 3), }",
         0, "shape: found (6148914691236517205"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (4074457345618258603, 1, 1, "
         "1, 3), }",
         0, "shape: found (4074457345618258603"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (1, 1, 1, 16385, 3), }", 0,
         "with H and W 1..16384"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (), }", 0, "shape: found ()"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (1,), }", 0,
         "shape: found (1)"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (0,0,0,0,0,0,0,0,0,0,0,0,0,0,"
         "0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0), }",
         0, "expected at most 32 dimensions"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (1,", 0, "an integer"},
        {"{'descr': '|u1', 'fortran_order': False}", 0, "found a key missing"},
        {"{'descr': '|u1', 'descr': '|u1'}", 0, "found the key \"descr\""},
        {"{'x': 1}", 0, "found the key \"x\""},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (1, 2, 1, 1, 3), } x", 6,
         "expected nothing more"},
        {"__import__('os')", 0, "expected '{'"},
        {"{'descr': '|u", 0, "expected a quoted word"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (1, 2, 1, 1, 3), }", 5,
         "bytes, expected "},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (1, 2, 1, 1, 3), }", 7,
         "bytes, expected "},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct str npy = {0};
        size_t size = strlen(rows[i].dict);
        char length[2] = {(char)size, (char)(size >> 8)};
        str_add_bytes(&npy, "\x93NUMPY\1\0", 8);
        str_add_bytes(&npy, length, 2);
        str_add(&npy, rows[i].dict);
        str_add_bytes(&npy, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
                      rows[i].data);
        struct image_tensor t;
        struct err e = {0};
        bool ok = image_tensor_open(&t, write_file("h.npy", npy.bytes, npy.size), &e);
        CHECK_INT(ok, rows[i].message == NULL);
        if (rows[i].message)
            CHECK_HAS(e.message, rows[i].message);
        CHECK_HAS(ok ? "h.npy: " : e.message, "h.npy: ");
        image_tensor_close(&t, &e);
        str_free(&npy);
    }
}

static void test_npy_heads_refused(void)
{
    static const struct {
        const char *bytes;
        size_t size;
        const char *message;
    } rows[] = {
        {"", 0, "found no NumPy signature"},
        {"\x93NUMPY\1\0\x10\0", 10, "found no NumPy signature"},
        {"PK\3\4........", 12, "found no NumPy signature"},
        {"\x93NUMPY\3\0\x01\0\0\0 ", 13, "version: found 3.0"},
        {"\x93NUMPY\1\1\x01\0\0\0 ", 13, "version: found 1.1"},
        {"\x93NUMPY\1\0\xff\xff  ", 12, "header length: found 65535, expected at most 2"},
        {"\x93NUMPY\2\0\xff\xff\xff\xff", 12, "header length: found 4294967295"},
        {"\x93NUMPY\1\0\2\0{\0", 12, "found a NUL"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct image_tensor t;
        struct err e = {0};
        CHECK(
            !image_tensor_open(&t, write_file("v.npy", rows[i].bytes, rows[i].size), &e));
        CHECK_INT(e.code, ERR_INPUT);
        CHECK_HAS(e.message, rows[i].message);
    }
}

int main(void)
{
    RUN(test_png_round_trip);
    RUN(test_texts);
    RUN(test_texts_refused);
    RUN(test_exif);
    RUN(test_tensor_reopened);
    RUN(test_formats_refused);
    RUN(test_png_refused);
    RUN(test_png_every_cut_and_flip_is_seen);
    RUN(test_alpha_on_white);
    RUN(test_tensor_round_trip);
    RUN(test_tensor_create_refused);
    RUN(test_npy_headers);
    RUN(test_npy_heads_refused);
    remove_dir();
    return CHECK_EXIT();
}
