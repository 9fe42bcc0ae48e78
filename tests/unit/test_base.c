/* test_base.c: strings, escapes, UTF-8, checked arithmetic, SHA-256, nearest words. */
#include "base/checked.h"
#include "base/sha256.h"
#include "base/str.h"
#include "base/utf8.h"
#include "check.h"
#include "diffens/error.h"

#include <stdlib.h>

static void test_str_builds(void)
{
    struct str s = {0};
    CHECK_STR(str_text(&s), "");
    str_add(&s, "a");
    str_add_bytes(&s, "b\0c", 3);
    CHECK_INT(s.size, 4);
    str_clear(&s);
    for (int i = 0; i < 1000; i++)
        str_addf(&s, "%d,", i % 10);
    CHECK_INT(s.size, 2000);
    CHECK_INT(strlen(str_text(&s)), 2000);
    char *taken = str_take(&s);
    CHECK(strncmp(taken, "0,1,2,", 6) == 0);
    CHECK(s.bytes == NULL && s.size == 0);
    free(taken);
    taken = str_take(&s);
    CHECK_STR(taken, "");
    free(taken);
}

static void test_str_out_of_memory_is_sticky(void)
{
    struct str s = {0};
    str_add(&s, "kept");
    str_add_bytes(&s, "x", SIZE_MAX - 2);
    CHECK(s.failed);
    str_add(&s, "more");
    CHECK_STR(str_text(&s), "kept");
    CHECK(str_take(&s) == NULL);
}

static void test_paths(void)
{
    static const char *const rows[][3] = {
        {"dir", "f", "dir/f"}, {"dir/", "f", "dir/f"}, {"", "f", "f"},
        {"dir", "/f", "/f"},   {"/", "f", "/f"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *path = str_path(rows[i][0], rows[i][1]);
        CHECK_STR(path, rows[i][2]);
        free(path);
    }
    CHECK_STR(str_file_name("a/b/c"), "c");
    CHECK_STR(str_file_name("c"), "c");
    CHECK(str_ends_with("x.json", ".json"));
    CHECK(!str_ends_with("json", ".json"));
}

static void test_escape(void)
{
    static const struct {
        const char *in;
        size_t size;
        const char *out;
    } rows[] = {
        {"plain", 5, "plain"},
        {"a\nb\x1b[2J", 7, "a\\x0Ab\\x1B[2J"},
        {"q\"b\\", 4, "q\\\"b\\\\"},
        {"\xc3\xa9\xe2\x98\x83", 5, "\xc3\xa9\xe2\x98\x83"},
        {"\xff\xc3", 2, "\\xFF\\xC3"},
        {"\xc2\x9b", 2, "\\xC2\\x9B"},
        {"\xe2\x80\xae", 3, "\\xE2\\x80\\xAE"},
        {"nul\0nul", 7, "nul\\x00nul"},
        {"0123456789abcdef0123456789abcde", 31, "0123456789abcdef0123456789abcde"},
        {"0123456789abcdef0123456789abcdef", 32, "0123456789abcdef0123456789ab..."},
        {"0123456789abcdef0123456789\n012", 30, "0123456789abcdef0123456789..."},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char out[32];
        CHECK_STR(str_escape(out, sizeof out, rows[i].in, rows[i].size), rows[i].out);
    }
    char tiny[2] = "x";
    CHECK_STR(str_escape(tiny, 2, "abc", 3), "");
}

static void test_error_names_are_safe(void)
{
    struct err e = {0};
    err_set(&e, ERR_INPUT, "found x");
    err_set(&e, ERR_BUG, "later");
    err_in_file(&e, "a\nb");
    CHECK_STR(e.message, "a\\x0Ab: found x");
    CHECK_INT(e.code, ERR_INPUT);
}

static void test_nearest(void)
{
    static const char *const known[] = {"prompts", "steps", "seed", "gamma", "height"};
    CHECK_STR(str_nearest("promts", known, 5), "prompts");
    CHECK_STR(str_nearest("gmama", known, 5), "gamma");
    CHECK_STR(str_nearest("seeds", known, 5), "seed");
    CHECK(str_nearest("zzzzzz", known, 5) == NULL);
    CHECK(str_nearest("x", known, 5) == NULL);
    char wide[500];
    memset(wide, 'a', sizeof wide - 1);
    wide[499] = 0;
    CHECK(str_nearest(wide, known, 5) == NULL);
}

static void test_utf8(void)
{
    static const struct {
        const char *bytes;
        size_t size;
        int length;
        uint32_t code_point;
    } rows[] = {
        {"a", 1, 1, 'a'},
        {"\0", 1, 1, 0},
        {"\xc2\x80", 2, 2, 0x80},
        {"\xef\xbf\xbf", 3, 3, 0xFFFF},
        {"\xf4\x8f\xbf\xbf", 4, 4, 0x10FFFF},
        {"", 0, 0, 0},
        {"\x80", 1, 0, 0},
        {"\xc0\x80", 2, 0, 0},         /* overlong */
        {"\xc1\xbf", 2, 0, 0},         /* overlong */
        {"\xe0\x9f\xbf", 3, 0, 0},     /* overlong */
        {"\xf0\x8f\xbf\xbf", 4, 0, 0}, /* overlong */
        {"\xed\xa0\x80", 3, 0, 0},     /* surrogate */
        {"\xf4\x90\x80\x80", 4, 0, 0}, /* above U+10FFFF */
        {"\xf5\x80\x80\x80", 4, 0, 0},
        {"\xe2\x98", 2, 0, 0}, /* cut */
        {"\xe2\x28\xa1", 3, 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint32_t code_point = 0;
        CHECK_INT(utf8_decode(rows[i].bytes, rows[i].size, &code_point), rows[i].length);
        if (rows[i].length)
            CHECK_INT(code_point, rows[i].code_point);
    }
    for (uint32_t c = 0; c <= 0x10FFFF; c++) {
        char bytes[4];
        uint32_t again = 0;
        if (c >= 0xD800 && c <= 0xDFFF)
            continue;
        int length = utf8_encode(c, bytes);
        if (utf8_decode(bytes, (size_t)length, &again) != length || again != c)
            CHECK_INT(again, c);
    }
    size_t bad = 0;
    CHECK(!utf8_valid("ab\xff", 3, &bad));
    CHECK_INT(bad, 2);
    CHECK(utf8_valid("ab\xc3\xa9", 4, NULL));
}

static void test_checked(void)
{
    size_t size;
    uint64_t u;
    CHECK(!checked_add_size(SIZE_MAX, 1, &size));
    CHECK(!checked_mul_u64(UINT64_MAX, 2, &u));
    CHECK(!checked_add_u64(UINT64_MAX, 1, &u));
}

static void test_sha256(void)
{
    /* FIPS 180-4 examples. */
    static const char *const rows[][2] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    char hex[SHA256_HEX];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        sha256_bytes(rows[i][0], strlen(rows[i][0]), hex);
        CHECK_STR(hex, rows[i][1]);
    }
    struct sha256 s;
    sha256_begin(&s);
    for (int i = 0; i < 1000000; i++)
        sha256_add(&s, "a", 1);
    sha256_end(&s, hex);
    CHECK_STR(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

int main(void)
{
    RUN(test_str_builds);
    RUN(test_str_out_of_memory_is_sticky);
    RUN(test_paths);
    RUN(test_escape);
    RUN(test_error_names_are_safe);
    RUN(test_nearest);
    RUN(test_utf8);
    RUN(test_checked);
    RUN(test_sha256);
    return CHECK_EXIT();
}
