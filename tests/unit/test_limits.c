/* test_limits.c: limits as users write them, and readers that heed them. */
#include "check.h"
#include "diffens/image.h"
#include "diffens/tensor_file.h"
#include "io/json.h"
#include "io/limits.h"
#include "io/png.h"
#include "unit/files.h"

static void check_parses(const char *text, bool expected, uint64_t value)
{
    enum limit limit;
    uint64_t found = 0;
    CHECK_INT(limit_parse(text, strlen(text), &limit, &found), expected);
    if (expected) {
        CHECK_INT(limit, LIMIT_IMAGE_FILE);
        CHECK_INT(found, value);
    }
}

static void test_numbers(void)
{
    check_parses("image-file=1", true, 1);
    check_parses("image-file=100000", true, 100000);
    check_parses("image-file=12B", true, 12);
    check_parses("image-file=1K", true, 1024);
    check_parses("image-file=64MiB", true, 64 << 20);
    check_parses("image-file=1G", true, 1 << 30);
    check_parses("image-file=2kB", true, 2000);
    check_parses("image-file=3MB", true, 3000000);
    static const char *const wrong[] = {
        "image-file",
        "image-file=",
        "image-file=0",
        "image-file=-1",
        "image-file=+1",
        "image-file= 1",
        "image-file=1 M",
        "image-file=1m",
        "image-file=1.5",
        "image-file=0x10",
        "image-file=1KiBB",
        "image-file=MiB",
        "image-file=2GiB",
        "image-fil=1",
        "image-files=1",
        "=1",
        "",
        "image-file=1=1",
        "image-file=1T",
        "image-file=18446744073709551617",
        "image-file=18446744073709551615G",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        check_parses(wrong[i], false, 0);
}

static void test_the_table(void)
{
    char shown[32], text[64];
    enum limit limit;
    uint64_t value;
    for (int i = 0; i < LIMIT_COUNT; i++) {
        const struct limit_row *row = &limit_table[i];
        CHECK(row->initial >= 1 && row->initial <= row->most);
        CHECK_INT(limit_of((enum limit)i), row->initial);
        for (int most = 0; most < 2; most++) {
            snprintf(
                text, sizeof text, "%s=%s", row->name,
                limit_show(row, most ? row->most : row->initial, shown, sizeof shown));
            CHECK(limit_parse(text, strlen(text), &limit, &value));
            CHECK_INT(limit, i);
            CHECK_INT(value, most ? row->most : row->initial);
        }
    }
}

static const char header[] =
    "{\"__metadata__\":{\"k\":\"v\"},"
    "\"long\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0,8]},"
    "\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[8,9]}}";

/* A safetensors file of two tensors with one text beside them. */
static const char *write_tensors(void)
{
    char bytes[8 + sizeof header + 8] = {(char)(sizeof header - 1)};
    memcpy(bytes + 8, header, sizeof header - 1);
    return write_file("w.safetensors", bytes, 8 + sizeof header - 1 + 9);
}

/* The file opens under that limit, and under one less it does not, for that reason. */
static void check_edge(const char *path, enum limit limit, uint64_t edge)
{
    for (int less = 0; less < 2; less++) {
        struct tensor_file t = {0};
        struct err e = {0};
        char hint[64];
        limit_set(limit, edge - (uint64_t)less);
        CHECK_INT(tensor_file_open(&t, path, &e), !less);
        snprintf(hint, sizeof hint, "--limit %s=... raises", limit_table[limit].name);
        CHECK(!less || strncmp(e.hint, hint, strlen(hint)) == 0);
        tensor_file_close(&t);
    }
    limit_set(limit, 0);
}

static void test_tensors(void)
{
    const char *path = write_tensors();
    check_edge(path, LIMIT_TENSORS, 2);
    check_edge(path, LIMIT_TENSOR_NAME, 4);
    check_edge(path, LIMIT_TENSOR_BYTES, 8);
    check_edge(path, LIMIT_SAFETENSORS_HEADER, sizeof header - 1);
}

static void test_values(void)
{
    struct json_document d;
    struct err e = {0};
    limit_set(LIMIT_JSON_VALUES, 3);
    CHECK(json_parse(&d, "a", "[1,2]", 5, &e));
    json_free(&d);
    CHECK(!json_parse(&d, "a", "[1,2,3]", 7, &e));
    CHECK_STR(e.message, "a: found more than 3 values, expected at most that");
    CHECK_HAS(e.hint, "--limit json-values=");
    limit_set(LIMIT_JSON_VALUES, 0);
}

/* A PNG wider than pictures may be, and pixels of it. */
static void test_pictures(void)
{
    struct image image, other = {0};
    struct str png = {0};
    struct err e = {0};
    CHECK(image_new(&image, 20000, 2, &e));
    for (size_t i = 0; i < (size_t)20000 * 2 * 3; i++)
        image.rgb[i] = (uint8_t)i;
    CHECK(png_encode(&png, &image, NULL, 0, &e));
    const char *path = write_file("wide.png", png.bytes, png.size);
    CHECK(!image_read(&other, path, NULL, &e));
    CHECK_HAS(e.message, "size: found 20000 x 2, expected sides of 1..16384");
    CHECK_HAS(e.hint, "--limit image-side=");
    e = (struct err){0};
    limit_set(LIMIT_IMAGE_SIDE, 20000);
    CHECK(image_read(&other, path, NULL, &e));
    CHECK(other.width == 20000 && other.height == 2 &&
          memcmp(other.rgb, image.rgb, (size_t)20000 * 2 * 3) == 0);
    image_free(&other);
    limit_set(LIMIT_IMAGE_PIXELS, 39999);
    CHECK(!image_read(&other, path, NULL, &e));
    CHECK_HAS(e.hint, "--limit image-pixels=");
    limit_set(LIMIT_IMAGE_SIDE, 0);
    limit_set(LIMIT_IMAGE_PIXELS, 0);
    image_free(&image);
    str_free(&png);
}

int main(void)
{
    RUN(test_numbers);
    RUN(test_the_table);
    RUN(test_tensors);
    RUN(test_values);
    RUN(test_pictures);
    remove_dir();
    return CHECK_EXIT();
}
