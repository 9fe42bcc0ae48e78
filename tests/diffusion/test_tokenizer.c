/* test_tokenizer.c: broken tokenizer files are refused by name, harmless variants are
 * not, and the edges of encoding. That the ids are right in general is shown by
 * tests/parity/test_tokenizer.py. */
#include "check.h"
#include "diffusion/tokenizer.h"
#include "io/limits.h"
#include "unit/files.h"

#include <time.h>

#define SPECIALS "\"<|startoftext|>\": 7, \"<|endoftext|>\": 8"

static const char vocab[] =
    "{\"a\": 0, \"b\": 1, \"a</w>\": 2, \"b</w>\": 3, \"ab</w>\": 4, "
    "\"!\": 5, \"!</w>\": 6, " SPECIALS "}";
static const char merges[] = "#version: 0.2\na b</w>\n";

static void put(const char *name, const char *text)
{
    if (text)
        write_file(name, text, strlen(text));
    else
        remove(in_dir(name));
}

/* Loads a tokenizer of these files; NULL stands for an absent one. */
static struct tokenizer *load(const char *vocab_text, const char *merges_text,
                              const char *config, const char *map, const char *added,
                              struct err *e)
{
    *e = (struct err){0};
    put("vocab.json", vocab_text);
    put("merges.txt", merges_text);
    put("tokenizer_config.json", config);
    put("special_tokens_map.json", map);
    put("added_tokens.json", added);
    return tokenizer_load(files_dir, e);
}

static void refused(const char *vocab_text, const char *merges_text, const char *config,
                    const char *map, const char *added, const char *file,
                    const char *message)
{
    struct err e;
    struct tokenizer *t = load(vocab_text, merges_text, config, map, added, &e);
    CHECK(!t);
    CHECK_INT(e.code, ERR_INPUT);
    CHECK_HAS(e.message, file);
    CHECK_HAS(e.message, message);
    tokenizer_free(t);
}

static void test_vocab_refused(void)
{
    static const struct {
        const char *text, *message;
    } rows[] = {
        {NULL, "No such file"},
        {"", "found end of file"},
        {"[\"a\"]", "found an array, expected an object of token: id"},
        {"{\"a\": 0} x", "expected nothing after the JSON value"},
        {"{\"a\": 0,\n \"b\": \"1\"}",
         "line 2: token \"b\": found a string, expected an int"},
        {"{\"a\": 1.5}", "token \"a\": found 1.5, expected an integer 0..1048575"},
        {"{\"a\": -1}", "token \"a\""},
        {"{\"a\": 1048576}", "token \"a\""},
        {"{\"a\": 99999999999999999999}", "token \"a\""},
        {"{\"a\": null}", "token \"a\""},
        {"{\"a\": {\"b\": 1}}", "token \"a\""},
        {"{\"a b\": 0}",
         "found token \"a b\", expected one or more characters of the byte"},
        {"{\"\xE2\x82\xAC\": 0}",
         "expected one or more characters of the byte-level alphabet"},
        {"{\"\": 0}", "found token \"\""},
        {"{\"a\": 0, \"b\": 0}", "token \"b\": found id 0, which is \"a\""},
        {"{\"a\": 0, \"a\": 1}", "token \"a\": found twice, with ids 0 and 1"},
        {"{\"a\": 0", "found end of file"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        refused(rows[i].text, merges, NULL, NULL, NULL, "vocab.json", rows[i].message);
}

static void test_merges_refused(void)
{
    static const struct {
        const char *text, *message;
    } rows[] = {
        {NULL, "No such file"},
        {"#version: 0.2\nab\n",
         "line 2: found \"ab\", expected two tokens with one space"},
        {"a b</w>\n\na b</w>\n", "line 2: found \"\""},
        {" a\n", "line 1: found \" a\""},
        {"a \n", "line 1: found \"a \""},
        {"a b c\n", "line 1: found \"a b c\""},
        {"a  b\n", "line 1"},
        {"a z\n", "line 1: found \"z\", expected a token of the vocabulary"},
        {"z a\n", "line 1: found \"z\""},
        {"a a\n", "line 1: found \"aa\", expected a token of the vocabulary"},
        {"a \x1B[2J\n", "found \"\\x1B[2J\""},
        {"", "found no merge that makes \"ab</w>\", expected one: incomplete download?"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        refused(vocab, rows[i].text, NULL, NULL, NULL, "merges.txt", rows[i].message);
}

#define TOKENIZER(model, added)                                                          \
    "{\"model\": {\"type\": \"BPE\", \"end_of_word_suffix\": \"</w>\", " model           \
    "}, \"added_tokens\": [" added "]}"
#define VOCAB                                                                            \
    "\"vocab\": {\"a\": 0, \"b</w>\": 1, \"ab</w>\": 2, \"<|startoftext|>\": 3, "        \
    "\"<|endoftext|>\": 4}, "

static void test_tokenizer_json(void)
{
    static const struct {
        const char *text, *message; /* NULL: it is read */
    } rows[] = {
        {TOKENIZER(VOCAB "\"merges\": [[\"a\", \"b</w>\"]]", ""), NULL},
        {TOKENIZER(VOCAB "\"merges\": [\"a b</w>\"]", ""), NULL},
        {TOKENIZER(VOCAB "\"merges\": []", "{\"id\": 5, \"content\": \"cat\"}"), NULL},
        {"[]", "expected an object"},
        {"{}", "model"},
        {"{\"model\": {\"type\": \"Unigram\"}}", "found \"Unigram\", expected \"BPE\""},
        {"{\"model\": {\"type\": \"BPE\", \"end_of_word_suffix\": \"\"}}",
         "expected \"</w>\""},
        {TOKENIZER("\"merges\": []", ""), "vocab"},
        {TOKENIZER("\"vocab\": {\"a\": -1}, \"merges\": []", ""), "$.model.vocab.a"},
        {TOKENIZER("\"vocab\": {\"a\": 1, \"b\": 1}, \"merges\": []", ""),
         "found id 1, which is \"a\""},
        {TOKENIZER("\"vocab\": {\"a b\": 1}, \"merges\": []", ""), "byte-level"},
        {TOKENIZER(VOCAB "\"merges\": [[\"a\"]]", ""), "$.model.merges[0]"},
        {TOKENIZER(VOCAB "\"merges\": [3]", ""), "expected two tokens"},
        {TOKENIZER(VOCAB "\"merges\": [\"ab\"]", ""), "one space between"},
        {TOKENIZER(VOCAB "\"merges\": [[\"a\", \"z\"]]", ""), "found \"z\""},
        {TOKENIZER(VOCAB "\"merges\": [[\"b</w>\", \"a\"]]", ""), "found \"b</w>a\""},
        {TOKENIZER(VOCAB "\"merges\": []", "{\"id\": 0, \"content\": \"cat\"}"),
         "found id 0, which is \"a\""},
        {TOKENIZER(VOCAB "\"merges\": []", "{\"content\": \"cat\"}"), "id"},
        {TOKENIZER("\"vocab\": {\"a\": 0}, \"merges\": []", ""), "startoftext"},
        {TOKENIZER("\"vocab\": [], \"merges\": []", ""), "$.model.vocab"},
        {TOKENIZER(VOCAB "\"merges\": {}", ""), "$.model.merges"},
        {TOKENIZER(VOCAB "\"merges\": [[1, \"a\"]]", ""), "$.model.merges[0][0]"},
        {TOKENIZER(VOCAB "\"merges\": [[\"a\", 1]]", ""), "$.model.merges[0][1]"},
        {TOKENIZER(VOCAB "\"merges\": [\"\"]", ""), "$.model.merges[0]"},
        {TOKENIZER(VOCAB "\"merges\": []", "5"), "$.added_tokens[0]"},
        {TOKENIZER(VOCAB "\"merges\": []", "{\"id\": 1048576, \"content\": \"c\"}"),
         "$.added_tokens[0].id"},
        {TOKENIZER(VOCAB "\"merges\": []", "{\"id\": 5, \"content\": 5}"),
         "$.added_tokens[0].content"},
        {"{\"model\": {\"type\": 5}}", "$.model.type"},
        {"{\"model\": {\"type\": \"BPE\", \"end_of_word_suffix\": \"</w>\", " VOCAB
         "\"merges\": []}}",
         "added_tokens"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err e;
        put("tokenizer.json", rows[i].text);
        struct tokenizer *t = load(NULL, NULL, NULL, NULL, NULL, &e);
        CHECK(!t == (rows[i].message != NULL));
        if (rows[i].message)
            CHECK_HAS(e.message, rows[i].message);
        tokenizer_free(t);
    }
    put("tokenizer.json", NULL);
}

static void test_special_tokens_refused(void)
{
    refused("{\"a\": 0}", "", NULL, NULL, NULL, "vocab.json",
            "found no token \"<|startoftext|>\", expected one");
    refused(vocab, merges, "{\"pad_token\": \"pad\"}", NULL, NULL,
            "tokenizer_config.json",
            "pad_token: found \"pad\", expected a token of vocab.json");
    refused(vocab, merges, "{\"pad_token\": 3}", NULL, NULL, "tokenizer_config.json",
            "pad_token");
    refused(vocab, merges, "{\"pad_token\": {\"content\": \"!\", \"lstrip\": true}}",
            NULL, NULL, "tokenizer_config.json", "found true, expected false");
    refused(vocab, merges, "[]", NULL, NULL, "tokenizer_config.json",
            "expected an object");
    refused(vocab, merges, "{\"model_max_length\": 1}", NULL, NULL,
            "tokenizer_config.json", "model_max_length");
    refused(vocab, merges, "{\"model_max_length\": 77.5}", NULL, NULL,
            "tokenizer_config.json", "found 77.5, expected an integer 2..4096");
    refused(vocab, merges, NULL, "{\"pad_token\": \"pad\"}", NULL, "", "found \"pad\"");
    refused(vocab, merges, NULL, NULL, "{\"cat\": 3}", "added_tokens.json",
            "found id 3, which is \"b</w>\"");
    refused(vocab, merges, NULL, NULL, "{\"cat\": -1}", "added_tokens.json", "cat");
    refused(vocab, merges, NULL, NULL, "{\"\": 9}", "added_tokens.json", "empty token");
    refused(vocab, merges, "{\"added_tokens_decoder\": {\"9x\": {\"content\": \"cat\"}}}",
            NULL, NULL, "tokenizer_config.json", "found key \"9x\"");
    refused(vocab, merges, "{\"added_tokens_decoder\": {\"9\": {}}}", NULL, NULL,
            "tokenizer_config.json", "content");
    static const char *const decoders[][2] = {
        {"5", "added_tokens_decoder"},
        {"{\"\": {\"content\": \"c\"}}", "found key \"\""},
        {"{\"-1\": {\"content\": \"c\"}}", "found key \"-1\""},
        {"{\"1048576\": {\"content\": \"c\"}}", "found key \"1048576\""},
        {"{\"9\": 5}", "expected an object"},
        {"{\"9\": {\"content\": \"c\", \"lstrip\": 5}}", "lstrip"},
        {"{\"9\": {\"content\": \"c\", \"normalized\": 5}}", "normalized"},
        {"{\"9\": {\"content\": \"c\", \"single_word\": true}}", "found true"},
    };
    for (size_t i = 0; i < sizeof decoders / sizeof *decoders; i++) {
        char config[200];
        snprintf(config, sizeof config, "{\"added_tokens_decoder\": %s}", decoders[i][0]);
        refused(vocab, merges, config, NULL, NULL, "tokenizer_config.json",
                decoders[i][1]);
    }
    refused(vocab, merges, "{\"bos_token\": {}}", NULL, NULL, "tokenizer_config.json",
            "content");
    refused(vocab, merges, "{\"bos_token\": {\"content\": \"a\", \"rstrip\": 1}}", NULL,
            NULL, "tokenizer_config.json", "rstrip");
    refused(vocab, merges, "{\"model_max_length\": \"x\"}", NULL, NULL,
            "tokenizer_config.json", "model_max_length");
    refused(vocab, merges, "{\"model_max_length\": 5000}", NULL, NULL,
            "tokenizer_config.json", "found 5000, expected an integer 2..4096");
    refused(vocab, merges, NULL, "5", NULL, "special_tokens_map.json", "object");
    refused(vocab, merges, NULL, NULL, "[]", "added_tokens.json", "object");
    refused(vocab, merges, NULL, NULL, "{\"c\": \"x\"}", "added_tokens.json", "$.c");
}

static void encodes_to(const struct tokenizer *t, const char *prompt,
                       const int64_t *expected, int length)
{
    struct err e = {0};
    int64_t ids[16] = {0};
    CHECK(tokenizer_encode(t, prompt, ids, length, NULL, &e));
    for (int i = 0; i < length; i++)
        CHECK_INT(ids[i], expected[i]);
}

static void test_tolerated(void)
{
    static const char *const variants[] = {
        "#version: 0.2\na b</w>\n",
        "#version: 0.2\r\na b</w>\r\n",
        "a b</w>",
        "a b</w>\r\n",
        "#version: 0.2\na b</w>",
        "a b</w>\n\r\n\n",
    };
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
        struct err e;
        struct tokenizer *t = load(vocab, variants[i], NULL, NULL, NULL, &e);
        CHECK(t);
        CHECK_STR(e.message, "");
        if (t)
            encodes_to(t, "AB b", (int64_t[]){7, 4, 3, 8, 8, 8}, 6);
        tokenizer_free(t);
    }
}

static void test_padding_and_added_tokens(void)
{
    struct err e;
    struct tokenizer *t = load(vocab, merges, "{\"model_max_length\": 10}",
                               "{\"pad_token\": \"!\"}", "{\"<Cat>\": 11}", &e);
    CHECK(t);
    if (!t)
        return;
    CHECK_INT(tokenizer_max_length(t), 10);
    CHECK_INT(tokenizer_vocab_size(t), 12);
    encodes_to(t, "", (int64_t[]){7, 8, 5, 5}, 4);
    encodes_to(t, "a!<cat>b<|endoftext|>", (int64_t[]){7, 2, 5, 11, 3, 8, 8, 5}, 8);
    tokenizer_free(t);
}

/* Words of CLIP's expression: letters, one digit, contractions, other signs. */
static void test_words(void)
{
    static const char signs[] =
        "{\"a\": 0, \"a</w>\": 1, \"1</w>\": 2, \"'\": 3, \"s</w>\": 4, \"'s</w>\": 5, "
        "\"<</w>\": 6, \"!</w>\": 9, \"!\": 10, \"'</w>\": 11, " SPECIALS "}";
    static const struct {
        const char *prompt;
        int length;
        int64_t ids[8];
    } rows[] = {
        {"a\xC2\xA0\xE2\x80\x83 \xE3\x80\x80\xE1\x9A\x80\xC2\x85\xE2\x80\xA8\n a",
         4,
         {7, 1, 1, 8}},
        {"\xE2\x80\xA9\xE2\x80\xAF\xE2\x81\x9F"
         "a",
         3,
         {7, 1, 8}},
        {"a11", 5, {7, 1, 2, 2, 8}},
        {"a's", 4, {7, 1, 5, 8}},
        {"a''", 5, {7, 1, 3, 11, 8}},
        {"a!!1!", 7, {7, 1, 10, 9, 2, 9, 8}},
        {"'sa", 4, {7, 5, 1, 8}},
    };
    struct err e;
    struct tokenizer *t = load(signs, "' s</w>\n", NULL, NULL, NULL, &e);
    CHECK_STR(e.message, "");
    for (size_t i = 0; t && i < sizeof rows / sizeof *rows; i++)
        encodes_to(t, rows[i].prompt, rows[i].ids, rows[i].length);
    tokenizer_free(t);
}

static void test_padding_with_zero(void)
{
    struct err e;
    struct tokenizer *t = load(vocab, merges, NULL, NULL, NULL, &e);
    CHECK(t);
    if (!t)
        return;
    tokenizer_set_padding(t, true);
    encodes_to(t, "b", (int64_t[]){7, 3, 8, 0, 0}, 5);
    tokenizer_set_padding(t, false);
    encodes_to(t, "b", (int64_t[]){7, 3, 8, 8, 8}, 5);
    tokenizer_free(t);
}

static void test_unlimited_length_is_clips(void)
{
    struct err e;
    struct tokenizer *t =
        load(vocab, merges, "{\"model_max_length\": 1000000000000000019884624838656}",
             NULL, NULL, &e);
    CHECK(t);
    CHECK_INT(t ? tokenizer_max_length(t) : 0, 77);
    tokenizer_free(t);
}

static void test_unknown_bytes(void)
{
    struct err e;
    struct tokenizer *t = load(vocab, merges, NULL, NULL, NULL, &e);
    CHECK(t);
    if (!t)
        return;
    /* One id a byte, and no merge across it. */
    encodes_to(t, "a\xC3\xA9 ab", (int64_t[]){7, 0, 8, 8, 4, 8}, 6);
    tokenizer_free(t);
}

static void test_cutting(void)
{
    struct err e;
    struct token_info info;
    int64_t ids[4];
    struct tokenizer *t = load(vocab, merges, NULL, NULL, NULL, &e);
    CHECK(t);
    if (!t)
        return;
    CHECK(tokenizer_encode(t, "ab a", ids, 4, &info, &e));
    CHECK_INT(info.count, 2);
    CHECK(!info.dropped);
    CHECK(tokenizer_encode(t, "ab A ab, B!!", ids, 4, &info, &e));
    CHECK_INT(info.count, 7);
    CHECK_STR(info.dropped, "ab <|endoftext|>b !!");
    CHECK_INT(ids[3], 8);
    free(info.dropped);
    CHECK(tokenizer_encode(t, "ab", ids, 2, &info, &e));
    CHECK_STR(info.dropped, "ab");
    free(info.dropped);
    tokenizer_free(t);
}

static void test_prompts_refused(void)
{
    struct err e;
    int64_t ids[8];
    struct tokenizer *t = load(vocab, merges, NULL, NULL, NULL, &e);
    size_t most = limit_of(LIMIT_PROMPT);
    char *huge = malloc(most + 2);
    memset(huge, 'a', most + 1);
    huge[most + 1] = 0;
    static const char *const broken[] = {"a\xFF", "a\xC3", "\xED\xA0\x80", "\xC0\x80",
                                         "\xF4\x90\x80\x80"};
    for (size_t i = 0; t && i < sizeof broken / sizeof *broken; i++) {
        e = (struct err){0};
        CHECK(!tokenizer_encode(t, broken[i], ids, 8, NULL, &e));
        CHECK_INT(e.code, ERR_INPUT);
        CHECK_HAS(e.message, "prompt: found byte 0x");
    }
    e = (struct err){0};
    CHECK(t && !tokenizer_encode(t, huge, ids, 8, NULL, &e));
    CHECK_HAS(e.message, "prompt: found 65537 bytes, expected at most 65536");
    free(huge);
    tokenizer_free(t);
}

/* A prompt at the limit that is one word, and one whose marks all have to be sorted. */
static void test_longest_prompts_are_quick(void)
{
    struct err e;
    int64_t ids[8];
    struct tokenizer *t = load(vocab, merges, NULL, NULL, NULL, &e);
    size_t most = limit_of(LIMIT_PROMPT);
    char *text = calloc(most + 1, 1);
    clock_t begin = clock();
    for (size_t i = 0; i < most; i++)
        text[i] = "ab"[i % 2];
    CHECK(t && tokenizer_encode(t, text, ids, 8, NULL, &e));
    for (size_t i = 0; i < most; i += 2)
        memcpy(text + i, i < most / 2 ? "\xCC\x81" : "\xCC\xA3", 2);
    CHECK(t && tokenizer_encode(t, text, ids, 8, NULL, &e));
    CHECK((clock() - begin) / CLOCKS_PER_SEC < 10);
    free(text);
    tokenizer_free(t);
}

int main(void)
{
    in_dir("");
    RUN(test_vocab_refused);
    RUN(test_merges_refused);
    RUN(test_tokenizer_json);
    RUN(test_special_tokens_refused);
    RUN(test_tolerated);
    RUN(test_padding_and_added_tokens);
    RUN(test_words);
    RUN(test_padding_with_zero);
    RUN(test_unlimited_length_is_clips);
    RUN(test_unknown_bytes);
    RUN(test_cutting);
    RUN(test_prompts_refused);
    RUN(test_longest_prompts_are_quick);
    remove_dir();
    return CHECK_EXIT();
}
