/* test_safetensors.c: weight files, whole and sharded, good and hostile. */
#include "check.h"
#include "diffens/tensor_file.h"
#include "io/limits.h"
#include "io/safetensors.h"
#include "unit/files.h"

#include "base/str.h"

#include <fcntl.h>
#include <sys/resource.h>

/* A file of this header, its length in front, and `data` bytes behind. */
static const char *make_file(const char *name, const char *header, size_t data)
{
    struct str s = {0};
    size_t size = strlen(header);
    for (int i = 0; i < 8; i++) {
        char byte = (char)((uint64_t)size >> (8 * i));
        str_add_bytes(&s, &byte, 1);
    }
    str_add(&s, header);
    for (size_t i = 0; i < data; i++) {
        char byte = (char)i;
        str_add_bytes(&s, &byte, 1);
    }
    const char *path = write_file(name, s.bytes, s.size);
    str_free(&s);
    return path;
}

#define T(dtype, shape, begin, end)                                                      \
    "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" #begin "," #end "]}"

static void test_reads(void)
{
    struct tensor_file t;
    struct err e = {0};
    const char *path = make_file(
        "good.safetensors",
        "  {\"b\":" T("F32", "[2,1]", 1,
                      9) ",\"__metadata__\":"
                         "{\"format\":\"pt\",\"\":\"\\u00e9\"},\"a\":" T(
                             "U8", "[]", 0, 1) ",\"z\":" T("F16", "[0,7]", 9,
                                                           9) ",\"y\":" T("I64", "[0]", 0,
                                                                          0) "}   \n ",
        9);
    CHECK(tensor_file_open(&t, path, &e));
    CHECK_INT(t.count, 4);
    CHECK_STR(t.entries[0].name, "a");
    CHECK_STR(t.entries[3].name, "z");
    const struct tensor_entry *b = tensor_file_find(&t, "b");
    CHECK(b && b->rank == 2 && b->dim[0] == 2 && b->dim[1] == 1 && b->dtype == FILE_F32);
    CHECK_INT(b->bytes, 8);
    unsigned char bytes[8];
    CHECK(tensor_file_read(&t, b, bytes, &e));
    CHECK(bytes[0] == 1 && bytes[7] == 8);
    CHECK_INT(tensor_file_find(&t, "a")->rank, 0);
    CHECK_INT(tensor_file_find(&t, "z")->bytes, 0);
    CHECK(tensor_file_read(&t, tensor_file_find(&t, "z"), NULL, &e));
    CHECK(tensor_file_find(&t, "c") == NULL);
    CHECK_STR(tensor_file_metadata(&t, "format"), "pt");
    CHECK_STR(tensor_file_metadata(&t, ""), "\xc3\xa9");
    CHECK(tensor_file_metadata(&t, "none") == NULL);
    CHECK(fcntl(t.parts[0].fd, F_GETFD) & FD_CLOEXEC);
    if (truncate(in_dir("good.safetensors"), 100) == 0) {
        CHECK(!tensor_file_read(&t, b, bytes, &e));
        CHECK_HAS(e.message, "good.safetensors: found end of file at byte");
    }
    tensor_file_close(&t);
    tensor_file_close(&t);
    e = (struct err){0};
    CHECK(tensor_file_open(&t, make_file("empty.safetensors", "{}", 0), &e));
    CHECK_INT(t.count, 0);
    CHECK(tensor_file_find(&t, "x") == NULL);
    tensor_file_close(&t);
}

static void test_headers_refused(void)
{
    static const struct {
        const char *header;
        size_t data;
        const char *message;
    } rows[] = {
        {"[]", 0, "header: found an array, expected an object"},
        {"5 ", 0, "header: found a number, expected an object"},
        {"\xEF\xBB\xBF{}", 0, "header: line 1, column 1: found '\\xEF\\xBB\\xBF'"},
        {"{\"a\":", 0, "header: line 1, column 6: found end of file"},
        {"{}x", 0, "header: line 1, column 3: found 'x', expected nothing"},
        {"{\"\xff\":1}", 0, "expected UTF-8"},
        {"{\"a\":5}", 0, "tensor \"a\": found a number, expected an object"},
        {"{\"a\":{}}", 0, "tensor \"a\": found no field \"dtype\""},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[]}}", 0, "no field \"data_offsets\""},
        {"{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\"}}", 0, "field \"dtype\" twice"},
        {"{\"a\":{\"x\":1}}", 0, "found the field \"x\", expected dtype, shape and"},
        {"{\"a\":" T("F4", "[1]", 0, 1) "}", 1,
         "tensor \"a\": dtype: found \"F4\", expected"
         " one of F64, F32"},
        {"{\"a\":" T("F8_E8M0", "[1]", 0, 1) "}", 1, "found \"F8_E8M0\""},
        {"{\"a\":" T("C64", "[1]", 0, 8) "}", 8, "found \"C64\""},
        {"{\"a\":" T("f32", "[1]", 0, 4) "}", 4, "found \"f32\""},
        {"{\"a\":{\"dtype\":5}}", 4, "dtype: found a number, expected a string"},
        {"{\"a\":" T("U8", "[-1]", 0, 1) "}", 1,
         "shape[0]: found -1, expected an integer"},
        {"{\"a\":" T("U8", "[1.0]", 0, 1) "}", 1, "shape[0]: found 1.0"},
        {"{\"a\":" T("U8", "[1,1e1]", 0, 1) "}", 1, "shape[1]: found 1e1"},
        {"{\"a\":" T("U8", "[\"1\"]", 0, 1) "}", 1, "shape[0]: found a string"},
        {"{\"a\":" T("U8", "[9223372036854775808]", 0, 1) "}", 1,
         "found 9223372036854775808"},
        {"{\"a\":" T("U8", "[99999999999999999999999]", 0, 1) "}", 1,
         "shape[0]: found 9999"},
        {"{\"a\":" T("U8", "1", 0, 1) "}", 1, "shape: found a number, expected an array"},
        {"{\"a\":" T("U8", "[1,1,1,1,1,1,1,1,1]", 0, 1) "}", 1, "more than 8 numbers"},
        {"{\"a\":" T("U8", "[4294967296,4294967296]", 0, 1) "}", 1, "overflows 64 bits"},
        {"{\"a\":" T("F64", "[4611686018427387904]", 0, 8) "}", 8, "overflows 64 bits"},
        {"{\"a\":" T("U8", "[4294967296,4294967296,0]", 0, 0) "}", 0,
         "overflows 64 bits"},
        {"{\"a\":" T("U8", "[1]", 2, 1) "}", 2, "found the end before the begin"},
        {"{\"a\":" T("U8", "[1]", -1, 0) "}", 2, "data_offsets[0]: found -1"},
        {"{\"a\":" T("U8", "[1]", 0.5, 1) "}", 2, "data_offsets[0]: found 0.5"},
        {"{\"a\":" T("U8", "[1]", 0, 18446744073709551615) "}", 2,
         "data_offsets[1]: found 1"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0]}}", 1,
         "fewer than 2"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1,2]}}", 1,
         "more than 2 numbers"},
        {"{\"a\":" T("F32", "[2]", 0, 4) "}", 4, "found 4 bytes, expected 8 from shape"},
        {"{\"a\":" T("U8", "[2]", 0, 2) ",\"b\":" T("U8", "[2]", 1, 3) "}", 3,
         "tensor \"b\": data_offsets: found begin 1, expected 2, where tensor \"a\" ends "
         "(overlap)"},
        {"{\"a\":" T("U8", "[2]", 0, 2) ",\"b\":" T("U8", "[2]", 3, 5) "}", 5, "(hole)"},
        {"{\"a\":" T("U8", "[2]", 0, 2) ",\"b\":" T("U8", "[2]", 0, 2) "}", 2,
         "(overlap)"},
        {"{\"a\":" T("U8", "[1]", 1, 2) "}", 2,
         "expected 0, where the header ends (hole)"},
        {"{\"a\":" T("U8", "[5]", 0, 5) "}", 2,
         "the file is 3 bytes short: incomplete download?"},
        {"{\"a\":" T("U8", "[5]", 0, 5) "}", 7, "2 bytes follow the last tensor"},
        {"{}", 1, "1 bytes follow the last tensor"},
        {"{\"a\":" T("U8", "[1]", 0, 1) ",\"a\":" T("U8", "[1]", 1, 2) "}", 2,
         "tensor \"a\": found twice"},
        {"{\"__metadata__\":5}", 0, "__metadata__: found a number, expected an object"},
        {"{\"__metadata__\":{\"k\\n\":5}}", 0,
         "__metadata__: \"k\\x0A\": found a number"},
        {"{\"__metadata__\":{\"k\":{}}}", 0, "found an object, expected a string"},
        {"{\"__metadata__\":{\"k\":\"\",\"k\":\"\"}}", 0,
         "__metadata__: \"k\": found twice"},
        {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "__metadata__: found twice"},
        {"{\"a\\u0000b\":" T("U8", "[1]", 0, 1) "}", 1, "found \\u0000"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tensor_file t;
        struct err e = {0};
        const char *path = make_file("bad.safetensors", rows[i].header, rows[i].data);
        CHECK(!tensor_file_open(&t, path, &e));
        CHECK_INT(e.code, ERR_INPUT);
        CHECK_HAS(e.message, "/bad.safetensors: ");
        CHECK_HAS(e.message, rows[i].message);
        CHECK(t.entries == NULL && t.parts == NULL && t.metadata == NULL);
        if (strstr(strstr(e.message, "bad.safetensors") + 1, "bad.safetensors"))
            CHECK_STR(e.message, "the file's name once");
    }
}

static void test_lengths_refused(void)
{
    static const struct {
        uint64_t length;
        int size; /* of the whole file */
        const char *message;
    } rows[] = {
        {0, 0, "found 0 bytes, expected the 8-byte header length"},
        {2, 7, "found 7 bytes, expected the 8-byte"},
        {0, 8, "header length: found 0, expected at least 2"},
        {1, 20, "found 1, expected at least 2"},
        {13, 20, "found 13, expected at most 12, the rest of the file"},
        {1ull << 63, 20, "found 9223372036854775808, expected at most 12"},
        {UINT64_MAX, 20, "found 18446744073709551615, expected at most 12"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char bytes[20] = "12345678{          }";
        memcpy(bytes, &rows[i].length, 8);
        struct tensor_file t;
        struct err e = {0};
        CHECK(!tensor_file_open(
            &t, write_file("l.safetensors", bytes, (size_t)rows[i].size), &e));
        CHECK_HAS(e.message, rows[i].message);
    }
}

/* A sparse file whose header length is over the limit must not be allocated. */
static void test_huge_length_allocates_nothing(void)
{
    uint64_t length = 100000001;
    const char *path = write_file("sparse.safetensors", &length, 8);
    CHECK_INT(truncate(path, 200000000), 0);
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    struct tensor_file t;
    struct err e = {0};
    CHECK(!tensor_file_open(&t, path, &e));
    CHECK_HAS(e.message, "header length: found 100000001, expected at most 16777216");
    getrusage(RUSAGE_SELF, &after);
    CHECK(after.ru_maxrss - before.ru_maxrss < 10000);
}

static void test_count_limits(void)
{
    struct tensor_file t;
    struct err e = {0};
    struct str s = {0};
    str_add(&s, "{");
    for (int i = 0; i <= (int)limit_of(LIMIT_TENSORS); i++)
        str_addf(&s, "%s\"%d\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}",
                 i ? "," : "", i);
    str_add(&s, "}");
    CHECK(!tensor_file_open(&t, make_file("m.safetensors", str_text(&s), 0), &e));
    CHECK_HAS(e.message, "found more than 200000 tensors");
    str_clear(&s);
    str_add(&s, "{\"");
    for (int i = 0; i <= (int)limit_of(LIMIT_TENSOR_NAME); i++)
        str_add(&s, "n");
    str_add(&s, "\":" T("U8", "[]", 0, 1) "}");
    e = (struct err){0};
    CHECK(!tensor_file_open(&t, make_file("n.safetensors", str_text(&s), 1), &e));
    CHECK_HAS(e.message, "found a name of 1025 bytes, expected at most 1024");
    str_clear(&s);
    str_add(&s, "{\"__metadata__\":{");
    for (int i = 0; i <= (int)limit_of(LIMIT_TENSOR_TEXTS); i++)
        str_addf(&s, "%s\"%d\":\"\"", i ? "," : "", i);
    str_add(&s, "}}");
    e = (struct err){0};
    CHECK(!tensor_file_open(&t, make_file("n.safetensors", str_text(&s), 0), &e));
    CHECK_HAS(e.message, "found more than 10000 texts");
    str_free(&s);
}

static void test_not_weights(void)
{
    static const struct {
        const char *bytes;
        const char *message, *hint;
    } rows[] = {
        {"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n",
         "found a Git LFS pointer, expected a safetensors or PyTorch weights file",
         "git lfs pull"},
        {"<!DOCTYPE html>\n<html>", "found a web page", ""},
        {"{\"error\": \"Repository not found\"}", "found a JSON text", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tensor_file t;
        struct err e = {0};
        CHECK(!tensor_file_open(
            &t, write_file("x.safetensors", rows[i].bytes, strlen(rows[i].bytes)), &e));
        CHECK_INT(e.code, ERR_INPUT);
        CHECK_HAS(e.message, rows[i].message);
        CHECK_HAS(e.message, "it begins with \"");
        CHECK_HAS(e.hint, rows[i].hint);
    }
    struct tensor_file t;
    struct err e = {0};
    CHECK(!tensor_file_open(&t, files_dir, &e));
    CHECK_HAS(e.message, "found a directory, expected a regular file");
}

/* Lengths whose low bytes look like the head of a web page, a JSON text, a pickle. */
static void test_lengths_that_look_like_text(void)
{
    static const int lengths[] = {'<', '{', 0x280, 0x480};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        char header[2000];
        snprintf(header, sizeof header, "  {}%*s", lengths[i] - 4, "");
        struct tensor_file t;
        struct err e = {0};
        CHECK(tensor_file_open(&t, make_file("x.safetensors", header, 0), &e));
        tensor_file_close(&t);
    }
}

static const char *write_index(const char *text)
{
    return write_file("model.safetensors.index.json", text, strlen(text));
}

static void test_shards(void)
{
    struct tensor_file t;
    struct err e = {0};
    make_file("s1.safetensors", "{\"b\":" T("U8", "[2]", 0, 2) "}", 2);
    make_file("s2.safetensors", "{\"a\":" T("U8", "[3]", 0, 3) "}", 3);
    make_file("s3.safetensors", "{\"a\":" T("U8", "[3]", 0, 3) "}", 3);
    CHECK(tensor_file_open(&t,
                           write_index("{\"metadata\":{\"total_size\":5},\"weight_map\":"
                                       "{\"b\":\"s1.safetensors\","
                                       "\"a\":\"s2.safetensors\"}}"),
                           &e));
    CHECK_INT(t.count, 2);
    CHECK_INT(t.part_count, 2);
    CHECK_STR(t.entries[0].name, "a");
    CHECK(str_ends_with(t.parts[t.entries[0].part].path, "/s2.safetensors"));
    unsigned char bytes[3] = {9, 9, 9};
    CHECK(tensor_file_read(&t, &t.entries[0], bytes, &e));
    CHECK_INT(bytes[2], 2);
    tensor_file_close(&t);

    static const char *const rows[][2] = {
        {"{}", "index.json: $: found no field \"weight_map\""},
        {"[]", "index.json: $: found an array of 0, expected an object"},
        {"{\"weight_map\":{\"a\":5}}",
         "$.weight_map.a: found number 5, expected a string"},
        {"{\"weight_map\":{\"a\":\"/etc/passwd\"}}", "expected the name of a file"},
        {"{\"weight_map\":{\"a\":\"../x.safetensors\"}}", "expected the name of a file"},
        {"{\"weight_map\":{\"a\":\"..\"}}", "expected the name of a file"},
        {"{\"weight_map\":{\"a\":\"x.txt\"}}", "expected a .safetensors or .bin file"},
        {"{\"weight_map\":{\"a\":\"none.safetensors\"}}",
         "none.safetensors: found no such file"},
        {"{\"weight_map\":{\"c\":\"s1.safetensors\"}}",
         "$.weight_map.c: found no such tensor in \"s1.safetensors\""},
        {"{\"weight_map\":{\"b\":\"s2.safetensors\",\"a\":\"s1.safetensors\"}}",
         "$.weight_map.b: found the tensor in \"s1.safetensors\", expected it in \"s2."},
        {"{\"weight_map\":{\"b\":\"s1.safetensors\",\"a\":\"s2.safetensors\","
         "\"x\":\"s3.safetensors\"}}",
         "tensor \"a\": found twice"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        e = (struct err){0};
        CHECK(!tensor_file_open(&t, write_index(rows[i][0]), &e));
        CHECK_INT(e.code, ERR_INPUT);
        CHECK_HAS(e.message, rows[i][1]);
        CHECK(t.entries == NULL && t.parts == NULL);
    }
    struct str many = {0};
    str_add(&many, "{\"weight_map\":{");
    for (int i = 0; i < 100000; i++)
        str_addf(&many, "%s\"t%d\":\"%d.safetensors\"", i ? "," : "", i, i);
    str_add(&many, "}}");
    e = (struct err){0};
    CHECK(!tensor_file_open(&t, write_index(str_text(&many)), &e));
    CHECK_HAS(e.message, "$.weight_map: found more than 256 shards");
    str_free(&many);
}

static void test_writes(void)
{
    static const float weights[6] = {1, 2, 3, 4, 5, 6};
    static const uint8_t flag = 1;
    const struct safetensors_tensor tensors[] = {
        {"w \"q\"\n", FILE_F32, 2, {2, 3}, weights},
        {"flag", FILE_BOOL, 0, {0}, &flag},
        {"none", FILE_F16, 1, {0}, NULL},
    };
    const struct safetensors_text texts[] = {{"epoch", "12"}, {"say", "\xe2\x98\x83\n"}};
    struct tensor_file t;
    struct err e = {0};
    char path[256];
    snprintf(path, sizeof path, "%s", in_dir("out.safetensors"));
    CHECK(safetensors_write(path, tensors, 3, texts, 2, &e));
    CHECK_STR(e.message, "");
    CHECK(tensor_file_open(&t, path, &e));
    CHECK_INT(t.count, 3);
    const struct tensor_entry *w = tensor_file_find(&t, "w \"q\"\n");
    float again[6];
    CHECK(w && w->rank == 2 && w->dim[1] == 3 && w->offset % 8 == 0);
    CHECK(tensor_file_read(&t, w, again, &e) && memcmp(again, weights, 24) == 0);
    CHECK_STR(tensor_file_metadata(&t, "say"), "\xe2\x98\x83\n");
    tensor_file_close(&t);
    CHECK_INT(count_files(".tmp."), 0);

    const struct safetensors_tensor twice[] = {tensors[1], tensors[1]};
    CHECK(!safetensors_write(path, twice, 2, NULL, 0, &e));
    CHECK_HAS(e.message, "tensor \"flag\": given twice");
    e = (struct err){0};
    CHECK(!safetensors_write("/nowhere/x.safetensors", tensors, 3, NULL, 0, &e));
    CHECK_INT(e.code, ERR_OUTPUT);
    CHECK_HAS(e.message, "/nowhere/x.safetensors: create: No such file");
    e = (struct err){0};
    CHECK(tensor_file_open(&t, path, &e));
    tensor_file_close(&t);
}

int main(void)
{
    RUN(test_reads);
    RUN(test_headers_refused);
    RUN(test_lengths_refused);
    RUN(test_huge_length_allocates_nothing);
    RUN(test_count_limits);
    RUN(test_not_weights);
    RUN(test_lengths_that_look_like_text);
    RUN(test_shards);
    RUN(test_writes);
    remove_dir();
    return CHECK_EXIT();
}
