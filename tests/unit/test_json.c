/* test_json.c: JSON text, trees, typed fields, writing. */
#include "check.h"
#include "io/config.h"
#include "io/json.h"
#include "io/json_scan.h"
#include "io/json_write.h"
#include "io/limits.h"
#include "unit/files.h"

#include <float.h>
#include <math.h>

static bool parse(struct json_document *d, const char *text, struct err *e)
{
    *e = (struct err){0};
    return json_parse(d, "f.json", text, strlen(text), e);
}

static void test_refused(void)
{
    static const struct {
        const char *text, *message;
    } rows[] = {
        {"", "f.json: line 1, column 1: found end of file, expected a JSON value"},
        {" \n\t ", "f.json: line 2, column 3: found end of file"},
        {"\xEF\xBB\xBF", "found end of file, expected a JSON value"},
        {"{\"a\": 1,\n  }", "f.json: line 2, column 3: found '}', expected a key"},
        {"[1, 2", "line 1, column 6: found end of file, expected ',' or ']'"},
        {"[1 2]", "column 4: found '2', expected ',' or ']'"},
        {"[1,]", "column 4: found ']', expected a JSON value"},
        {"[,1]", "found ',', expected a JSON value or ']'"},
        {"{\"a\" 1}", "found '1', expected ':' after a key"},
        {"{\"a\":}", "found '}', expected a JSON value"},
        {"{a: 1}", "found 'a', expected a key or '}'"},
        {"{'a': 1}", "expected a key or '}'"},
        {"[1}", "found '}', expected ',' or ']'"},
        {"{\"a\":1]", "found ']', expected ',' or '}'"},
        {"1 2", "column 3: found '2', expected nothing after the JSON value"},
        {"{} x", "column 4: found 'x', expected nothing"},
        {"]", "found ']', expected a JSON value"},
        {"tru", "found 't', expected a JSON value"},
        {"truex", "expected nothing after the JSON value"},
        {"NaN", "found 'N', expected a JSON value"},
        {"[Infinity]", "found 'I'"},
        {"-", "found end of file, expected a digit"},
        {"01", "found '1', expected no digit after a leading zero"},
        {"-01", "leading zero"},
        {"1.", "expected a digit"},
        {".5", "found '.'"},
        {"1e", "expected a digit"},
        {"1e+", "expected a digit"},
        {"+1", "found '+'"},
        {"0x10", "found 'x', expected nothing"},
        {"\"abc", "expected the closing '\"' of a string"},
        {"\"a\nb\"", "column 3: found '\\x0A', expected control characters"},
        {"\"\\x41\"", "found 'x', expected one of"},
        {"\"\\", "found end of file, expected one of"},
        {"\"\\u12g4\"", "found 'g', expected four hexadecimal digits"},
        {"\"\\u00", "found end of file, expected four hexadecimal digits"},
        {"\"a\\u0000b\"", "column 3: found \\u0000, expected a character"},
        {"\"\\ud800\"", "half of a surrogate pair"},
        {"\"\\ud800\\u0041\"", "half of a surrogate pair"},
        {"\"\\udc00\\ud800\"", "half of a surrogate pair"},
        {"\"\\ud800\\ud800\"", "half of a surrogate pair"},
        {"\"\\ud800\\ue000\"", "half of a surrogate pair"},
        {"\"\\ud800x\"", "half of a surrogate pair"},
        {"\"\\ud800\\n\"", "half of a surrogate pair"},
        {"\"\\ud800\\u12G4\"", "found 'G', expected four hexadecimal digits"},
        {"1E", "expected a digit"},
        {"\"\xff\"", "found '\\xFF', expected UTF-8"},
        {"\"\xed\xa0\x80\"", "expected UTF-8"},
        {"\"\xc3", "expected UTF-8"},
        {"{\"a\":1,\"a\":2}", "f.json: $.a: found this key twice"},
        {"{\"x\":[{\"b c\":1,\"\\u0062 c\":2}]}",
         "f.json: $.x[0][\"b c\"]: found this key"},
        {"// c\n1", "found '/'"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct json_document d;
        struct err e;
        CHECK(!parse(&d, rows[i].text, &e));
        CHECK_INT(e.code, ERR_INPUT);
        CHECK_HAS(e.message, rows[i].message);
        CHECK(d.text == NULL && d.blocks == NULL);
    }
    struct json_document d;
    struct err e = {0};
    CHECK(!json_parse(&d, "f", "[1,\0]", 5, &e));
    CHECK_HAS(e.message, "found '\\x00'");
    e = (struct err){0};
    CHECK(!json_parse(&d, "f", "\"a\0b\"", 5, &e));
    CHECK_HAS(e.message, "found '\\x00', expected control characters");
}

static void test_depth(void)
{
    enum { DEEP = 100000 };
    char *text = malloc(2 * DEEP + 1);
    static const int depths[] = {1, 64, 65, DEEP};
    for (int i = 0; i < 4; i++) {
        memset(text, '[', (size_t)depths[i]);
        memset(text + depths[i], ']', (size_t)depths[i]);
        text[2 * depths[i]] = 0;
        struct json_document d;
        struct err e;
        bool ok = parse(&d, text, &e);
        CHECK_INT(ok, depths[i] <= JSON_SCAN_DEPTH);
        if (!ok)
            CHECK_HAS(e.message, "column 65: found '[', expected at most 64 levels");
        json_free(&d);
    }
    free(text);
}

static void test_many_values(void)
{
    struct str text = {0};
    int values = (int)limit_of(LIMIT_JSON_VALUES);
    str_add(&text, "[");
    for (int i = 1; i < values; i++)
        str_add(&text, i > 1 ? ",0" : "0");
    struct json_document d;
    struct err e;
    str_add(&text, "]");
    CHECK(parse(&d, str_text(&text), &e));
    CHECK_INT(d.root->size, values - 1);
    json_free(&d);
    text.bytes[text.size - 1] = ',';
    str_add(&text, "0]");
    CHECK(!parse(&d, str_text(&text), &e));
    CHECK_HAS(e.message, "found more than 500000 values");
    str_clear(&text);
    str_add(&text, "{");
    for (int i = 0; i < 50000; i++)
        str_addf(&text, "\"k%d\":%d,", i * 7919 % 50000, i);
    str_add(&text, "\"k17\":0}");
    CHECK(!parse(&d, str_text(&text), &e));
    CHECK_HAS(e.message, "$.k17: found this key twice");
    str_free(&text);
}

static void test_tree(void)
{
    struct json_document d;
    struct err e;
    CHECK(parse(&d,
                "\xEF\xBB\xBF {\"s\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83d\\ude00\","
                "\"a\":[1,[],{}],\"n\":null,\"t\":true,\"f\":false, \"\":-0.5e1}\r\n",
                &e));
    const struct json *s = json_get(d.root, "s");
    CHECK_STR(s->text, "\"\\/\b\f\n\r\t\xc3\xa9\xf0\x9f\x98\x80");
    CHECK_INT(s->size, strlen(s->text));
    const struct json *a = json_get(d.root, "a");
    CHECK_INT(a->size, 3);
    CHECK_INT(json_at(a, 1)->kind, JSON_ARRAY);
    CHECK_INT(json_at(a, 2)->kind, JSON_OBJECT);
    CHECK(json_at(a, 3) == NULL);
    CHECK(json_get(d.root, "t")->truth && !json_get(d.root, "f")->truth);
    CHECK(json_get(d.root, "S") == NULL);
    double number;
    CHECK(config_as_double(json_get(d.root, ""), -10, 10, &number, &e) && number == -5);
    json_free(&d);
}

static void test_getters(void)
{
    static const char text[] =
        "{\"i\":5,\"neg\":-3,\"half\":1.5,\"exp\":1e2,\"big\":18446744073709551615,"
        "\"over\":18446744073709551616,\"exact\":9007199254740993,\"huge\":1e400,"
        "\"long\":99999999999999999999999999999999999999999999999999999999999999999999,"
        "\"s\":\"x\",\"nul\":null,\"b\":true,\"arr\":[1,\"2\",3],\"obj\":{\"k v\":5}}";
    struct json_document d;
    struct err e;
    int64_t i = 0;
    uint64_t u = 0;
    double x = 0;
    bool b = false;
    const char *s = "";
    CHECK(parse(&d, text, &e));
    const struct json *r = d.root;
    CHECK(config_need_int(r, "i", 1, 5, &i, &e) && i == 5);
    CHECK(config_need_int(r, "exact", 0, INT64_MAX, &i, &e) && i == 9007199254740993);
    CHECK(config_as_uint64(json_get(r, "big"), &u, &e) && u == UINT64_MAX);
    CHECK(config_need_double(r, "half", 0, 2, &x, &e) && x == 1.5);
    CHECK(config_need_double(r, "i", 0, INFINITY, &x, &e) && x == 5);
    CHECK(config_need_bool(r, "b", &b, &e) && b);
    CHECK(config_need_string(r, "s", &s, &e) && strcmp(s, "x") == 0);
    CHECK(config_may_int(r, "absent", 0, 9, &i, &e) && i == 9007199254740993);
    CHECK(config_may_int(r, "nul", 0, 9, &i, &e) && i == 9007199254740993);
    CHECK(config_may_int(r, "i", 0, 9, &i, &e) && i == 5);
    CHECK(!config_has(r, "nul") && config_has(r, "i") && !config_has(r, "absent"));
    CHECK_INT(e.code, 0);

#define REFUSED(call, part)                                                              \
    do {                                                                                 \
        e = (struct err){0};                                                             \
        CHECK(!(call));                                                                  \
        CHECK_INT(e.code, ERR_INPUT);                                                    \
        CHECK_HAS(e.message, "f.json: $");                                               \
        CHECK_HAS(e.message, part);                                                      \
    } while (0)
    REFUSED(config_need_int(r, "i", 6, 9, &i, &e), "$.i: found number 5, expected an "
                                                   "integer 6..9");
    REFUSED(config_need_int(r, "half", 0, 9, &i, &e), "$.half: found number 1.5");
    REFUSED(config_need_int(r, "exp", 0, 999, &i, &e), "found number 1e2");
    REFUSED(config_need_int(r, "big", 0, INT64_MAX, &i, &e), "expected an integer of at "
                                                             "least 0");
    REFUSED(config_need_int(r, "long", 0, 9, &i, &e), "found number 9999999");
    REFUSED(config_need_int(r, "s", 0, 9, &i, &e), "found string \"x\"");
    REFUSED(config_need_int(r, "nul", 0, 9, &i, &e), "found null");
    REFUSED(config_need_int(r, "absent", 0, 9, &i, &e), "$: found no field \"absent\"");
    REFUSED(config_may_int(r, "s", 0, 9, &i, &e), "$.s: found string");
    REFUSED(config_as_uint64(json_get(r, "over"), &u, &e), "expected an integer 0..1844");
    REFUSED(config_as_uint64(json_get(r, "neg"), &u, &e), "found number -3");
    REFUSED(config_need_double(r, "huge", -INFINITY, INFINITY, &x, &e),
            "$.huge: found number 1e400, expected a finite number");
    REFUSED(config_need_double(r, "half", 2, 3, &x, &e), "expected a number 2..3");
    REFUSED(config_need_double(r, "b", 2, 3, &x, &e), "found true");
    REFUSED(config_need_bool(r, "i", &b, &e), "expected true or false");
    REFUSED(config_need_string(r, "i", &s, &e), "$.i: found number 5, expected a string");
    const struct json *arr = NULL;
    CHECK(config_need_array(r, "arr", 3, 3, &arr, &e) || true);
    REFUSED(config_need_array(r, "arr", 4, 4, &arr, &e),
            "found an array of 3, expected an "
            "array of 4");
    REFUSED(config_as_int(json_at(arr, 1), 0, 9, &i, &e), "$.arr[1]: found string \"2\"");
    REFUSED(config_need_object(r, "arr", &arr, &e), "expected an object");
    const struct json *obj = json_get(r, "obj");
    REFUSED(config_need_string(obj, "k v", &s, &e), "$.obj[\"k v\"]: found number 5");
    REFUSED(config_need_int(json_get(r, "s"), "k", 0, 1, &i, &e), "expected an object");
    static const char *const known[] = {"i", "neg", "k_v"};
    REFUSED(config_only(obj, known, 3, &e), "unknown field, expected \"k_v\"");
    json_free(&d);
}

static void test_getters_of_other_kinds(void)
{
    static const char *const known[] = {"i"};
    struct json_document d;
    struct err e;
    const struct json *out;
    const char *s;
    int64_t i;
    double x;
    bool b;
    CHECK(parse(&d, "{\"arr\": [1, 2, 3], \"s\": \"x\", \"yes\": true}", &e));
    const struct json *r = d.root, *arr = json_get(r, "arr");
    CHECK(!json_get(arr, "k") && !json_at(r, 0) && !json_at(arr, 3));
    REFUSED(config_as_array(arr, 4, SIZE_MAX, &e), "expected an array of at least 4");
    REFUSED(config_as_array(arr, 0, 2, &e), "expected an array of 0 to 2");
    REFUSED(config_as_array(r, 0, SIZE_MAX, &e), "expected an array");
    REFUSED(config_may_object(arr, "k", &out, &e), "expected an object");
    REFUSED(config_may_array(arr, "k", 0, 1, &out, &e), "expected an object");
    REFUSED(config_may_int(arr, "k", 0, 1, &i, &e), "expected an object");
    REFUSED(config_may_double(arr, "k", 0, 1, &x, &e), "expected an object");
    REFUSED(config_may_bool(arr, "k", &b, &e), "expected an object");
    REFUSED(config_may_string(arr, "k", &s, &e), "expected an object");
    REFUSED(config_only(arr, known, 1, &e), "expected an object");
    REFUSED(config_need_object(r, "none", &out, &e), "found no field \"none\"");
    REFUSED(config_need_array(r, "none", 0, 1, &out, &e), "found no field");
    REFUSED(config_need_double(r, "none", 0, 1, &x, &e), "found no field");
    REFUSED(config_need_bool(r, "none", &b, &e), "found no field");
    REFUSED(config_need_string(r, "none", &s, &e), "found no field");
    REFUSED(config_may_object(r, "s", &out, &e), "$.s: found string");
    REFUSED(config_may_bool(r, "s", &b, &e), "$.s: found string");
    REFUSED(config_as_string(json_get(r, "yes"), &s, &e), "found true");
    json_free(&d);
    CHECK(parse(&d, "[false, null]", &e));
    REFUSED(config_as_string(json_at(d.root, 0), &s, &e), "$[0]: found false");
    json_free(&d);
}

static void test_file_names(void)
{
    static const char *const bad[] = {"\"\"",      "\".\"",    "\"..\"",
                                      "\"a/b\"",   "\"/etc\"", "\"..\\/x\"",
                                      "\"a\\nb\"", "5",        "\"a\\u007f\""};
    struct json_document d;
    struct err e;
    const char *name;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK(parse(&d, bad[i], &e));
        CHECK(!config_as_file_name(d.root, &name, &e));
        json_free(&d);
    }
    CHECK(parse(&d, "\"model-00001-of-00002.safetensors\"", &e));
    CHECK(config_as_file_name(d.root, &name, &e));
    json_free(&d);

    for (int size = 255; size <= 256; size++) {
        char text[300] = "\"";
        memset(text + 1, 'a', (size_t)size);
        text[size + 1] = '"';
        CHECK(parse(&d, text, &e));
        CHECK_INT(config_as_file_name(d.root, &name, &e), size == 255);
        json_free(&d);
    }
}

static void test_read_limits(void)
{
    struct json_document d;
    struct err e = {0};
    const char *path = write_file("c.json", "{\"a\": 1}", 8);
    limit_set(LIMIT_JSON_CONFIG, 8);
    CHECK(json_read(&d, path, LIMIT_JSON_CONFIG, &e));
    json_free(&d);
    limit_set(LIMIT_JSON_CONFIG, 7);
    CHECK(!json_read(&d, path, LIMIT_JSON_CONFIG, &e));
    CHECK_HAS(e.message, "c.json: found more than 7 bytes");
    CHECK_HAS(e.hint, "--limit config=");
    e = (struct err){0};
    CHECK(!json_read(&d, in_dir("none.json"), LIMIT_JSON_CONFIG, &e));
    CHECK_HAS(e.message, "none.json: found no such file");
}

static void test_scan_skip(void)
{
    char text[] = "{\"a\":[1,{\"b\":[2]}],\"c\":3}";
    struct json_scan s;
    struct json_token t;
    struct err e = {0};
    json_scan_begin(&s, text, sizeof text - 1);
    CHECK(json_scan_next(&s, &t, &e) && t.kind == JSON_TOKEN_OPEN_OBJECT);
    CHECK(json_scan_next(&s, &t, &e) && t.kind == JSON_TOKEN_KEY);
    CHECK(json_scan_next(&s, &t, &e) && json_scan_skip(&s, &t, &e));
    CHECK(json_scan_next(&s, &t, &e) && t.kind == JSON_TOKEN_KEY);
    CHECK_STR(t.text, "c");
    CHECK(json_scan_next(&s, &t, &e) && json_scan_skip(&s, &t, &e));
    CHECK(json_scan_next(&s, &t, &e) && t.kind == JSON_TOKEN_CLOSE_OBJECT);
    CHECK(json_scan_next(&s, &t, &e) && t.kind == JSON_TOKEN_END);
    CHECK(json_scan_next(&s, &t, &e) && t.kind == JSON_TOKEN_END);

    char cut[] = "[1,{\"b\":[2";
    json_scan_begin(&s, cut, sizeof cut - 1);
    CHECK(json_scan_next(&s, &t, &e) && !json_scan_skip(&s, &t, &e));
    CHECK_HAS(e.message, "found end of file");
}

static void write_sample(struct json_writer *w)
{
    json_write_open_object(w);
    json_write_key(w, "s\"");
    json_write_string(w, "a\\\n\x01\x7f \xc3\xa9 \xf0\x9f\x98\x80 \xff");
    json_write_key(w, "a");
    json_write_open_array(w);
    json_write_int(w, INT64_MIN);
    json_write_uint(w, UINT64_MAX);
    json_write_double(w, 0.1);
    json_write_double(w, INFINITY);
    json_write_open_object(w);
    json_write_close(w);
    json_write_close(w);
    json_write_key(w, "b");
    json_write_bool(w, true);
    json_write_close(w);
}

static void test_writer(void)
{
    struct str out = {0};
    struct json_writer w = {.out = &out};
    write_sample(&w);
    CHECK_STR(str_text(&out),
              "{\"s\\\"\": \"a\\\\\\n\\u0001\\u007f \xc3\xa9 \xf0\x9f\x98\x80 \\ufffd\", "
              "\"a\": [-9223372036854775808, 18446744073709551615, 0.1, null, {}], "
              "\"b\": true}");
    str_clear(&out);
    w = (struct json_writer){.out = &out, .ascii = true, .indent = 2};
    write_sample(&w);
    CHECK_STR(
        str_text(&out),
        "{\n  \"s\\\"\": \"a\\\\\\n\\u0001\\u007f \\u00e9 \\ud83d\\ude00 \\ufffd\",\n"
        "  \"a\": [\n    -9223372036854775808,\n    18446744073709551615,\n    0.1,\n"
        "    null,\n    {}\n  ],\n  \"b\": true\n}");
    struct json_document d;
    struct err e;
    CHECK(parse(&d, str_text(&out), &e));
    json_free(&d);
    str_free(&out);
}

static void test_doubles_round_trip(void)
{
    static const double rows[] = {0,     -0.0,    1.0 / 3, 1e-5,   0.18215,
                                  1e300, DBL_MIN, DBL_MAX, 5e-324, 123456789.125,
                                  7.5,   1e22,    8.5e-2};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct str out = {0};
        struct json_writer w = {.out = &out};
        json_write_double(&w, rows[i]);
        struct json_document d;
        struct err e;
        double again = -1;
        CHECK(parse(&d, str_text(&out), &e));
        CHECK(config_as_double(d.root, -INFINITY, INFINITY, &again, &e));
        CHECK(memcmp(&again, &rows[i], sizeof again) == 0);
        json_free(&d);
        str_free(&out);
    }
}

int main(void)
{
    RUN(test_refused);
    RUN(test_depth);
    RUN(test_many_values);
    RUN(test_tree);
    RUN(test_getters);
    RUN(test_getters_of_other_kinds);
    RUN(test_file_names);
    RUN(test_read_limits);
    RUN(test_scan_skip);
    RUN(test_writer);
    RUN(test_doubles_round_trip);
    remove_dir();
    return CHECK_EXIT();
}
