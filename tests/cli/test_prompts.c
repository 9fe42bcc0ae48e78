/* test_prompts.c: the forms of prompts, and how they are refused. */
#include "models/prompts.h"

#include "base/str.h"
#include "check.h"
#include "io/limits.h"

#include <stdlib.h>
#include <unistd.h>

static char folder[] = "/tmp/diffens-prompts-XXXXXX";
static char notes[4096];

static void keep_note(void *user, enum note_level level, const char *line)
{
    (void)user;
    (void)level;
    snprintf(notes, sizeof notes, "%s", line);
}

static const struct progress progress = {.note = keep_note};

/* Writes `text` to a file named `name` and reads prompts from it. */
static bool read_from(struct prompts *p, const char *name, const char *text, size_t size,
                      struct prompts_source *source, struct err *e)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    fwrite(text, 1, size, f);
    fclose(f);
    source->file = path;
    *e = (struct err){0};
    *p = (struct prompts){0};
    bool ok = prompts_read(p, source, &progress, e);
    unlink(path);
    return ok;
}

/* A run of diffusers 2 and 0 of an ensemble of three. */
static struct prompts_source pair_of_three(void)
{
    static const int selection[] = {2, 0};
    return (struct prompts_source){.negative = "",
                                   .random_seed = 42,
                                   .ensemble_models = 3,
                                   .models = 2,
                                   .selection = selection};
}

static bool read_json(struct prompts *p, const char *text, struct err *e)
{
    struct prompts_source source = pair_of_three();
    return read_from(p, "p.json", text, strlen(text), &source, e);
}

static void test_forms(void)
{
    struct prompts p;
    struct err e;
    CHECK(read_json(&p, "\"a castle\"", &e));
    CHECK_INT(p.cases, 1);
    CHECK_STR(prompts_text(&p, 0, 1), "a castle");
    CHECK_STR(p.names[0], "000");
    CHECK_INT(p.seeds[0], 42);
    prompts_free(&p);

    CHECK(read_json(&p, "[\"a\", \"b\"]", &e));
    CHECK_INT(p.cases, 2);
    CHECK_STR(prompts_text(&p, 1, 0), "b");
    CHECK_STR(prompts_text(&p, 1, 1), "b");
    CHECK_INT(p.seeds[1], 43);
    prompts_free(&p);

    CHECK(read_json(&p, "[[\"a\", \"b\"], [\"c\", \"d\"]]", &e)); /* columns of the run */
    CHECK_STR(prompts_text(&p, 0, 0), "a");
    CHECK_STR(prompts_text(&p, 1, 1), "d");
    prompts_free(&p);

    CHECK(read_json(&p, "[[\"x\", \"y\", \"z\"]]", &e)); /* columns of the ensemble */
    CHECK_STR(prompts_text(&p, 0, 0), "z");
    CHECK_STR(prompts_text(&p, 0, 1), "x");
    prompts_free(&p);

    CHECK(
        read_json(&p,
                  "{\"prompts\": [\"a\", \"b\"], \"negative\": [\"n0\", \"n1\"], "
                  "\"names\": [\"\xC3\xA4 1\", \"b\"], \"seeds\": [18446744073709551615, "
                  "null]}",
                  &e));
    CHECK_STR(p.names[0], "\xC3\xA4 1");
    CHECK_STR(p.negative[1], "n1");
    CHECK(p.seeds[0] == UINT64_MAX);
    CHECK_INT(p.seeds[1], 43);
    prompts_free(&p);

    CHECK(read_json(&p, "\xEF\xBB\xBF {\"prompts\": \"a\", \"negative\": \"n\"}", &e));
    CHECK_STR(p.negative[0], "n");
    prompts_free(&p);
}

/* With all of the ensemble in another order, columns stay those of the ensemble. */
static void test_order_of_models(void)
{
    static const int selection[] = {2, 1, 0};
    struct prompts_source source = {
        .random_seed = 0, .ensemble_models = 3, .models = 3, .selection = selection};
    const char *text = "[[\"x\", \"y\", \"z\"]]";
    struct prompts p;
    struct err e;
    CHECK(read_from(&p, "p.json", text, strlen(text), &source, &e));
    CHECK_STR(prompts_text(&p, 0, 0), "z");
    CHECK_STR(prompts_text(&p, 0, 2), "x");
    prompts_free(&p);

    static const int elsewhere[] = {2, 3,
                                    0}; /* 3: not of the ensemble, so neither are they */
    source.selection = elsewhere;
    CHECK(read_from(&p, "p.json", text, strlen(text), &source, &e));
    CHECK_STR(prompts_text(&p, 0, 0), "x");
    prompts_free(&p);
}

static void test_templates(void)
{
    static const char *const templates[] = {"poster style {}", "{} and {}"};
    struct prompts_source source = pair_of_three();
    struct prompts p = {0};
    struct err e = {0};
    source.templates = templates;
    source.prompt = "a {} cat";
    source.negative = "bad";
    CHECK(prompts_read(&p, &source, NULL, &e));
    CHECK_STR(prompts_text(&p, 0, 0), "poster style a {} cat");
    CHECK_STR(prompts_text(&p, 0, 1), "a {} cat and a {} cat");
    CHECK_STR(p.negative[0], "bad");
    prompts_free(&p);
}

static void test_seeds(void)
{
    struct prompts_source source = pair_of_three();
    struct prompts p = {0};
    struct err e = {0};
    source.random_seed = UINT64_MAX;
    const char *text = "[\"a\", \"b\"]";
    CHECK(read_from(&p, "p.json", text, strlen(text), &source, &e));
    CHECK(p.seeds[0] == UINT64_MAX && p.seeds[1] == 0);
    CHECK_INT(prompts_noise_seed(&p, 1, false, 2), 0);
    CHECK_INT(prompts_noise_seed(&p, 1, true, 2), 2000006);
    CHECK_INT(prompts_noise_seed(&p, 0, true, 1), 1000002);
    prompts_free(&p);
}

static void test_lines(void)
{
    struct prompts_source source = pair_of_three();
    struct prompts p;
    struct err e;
    const char *text = "\xEF\xBB\xBF"
                       "a cat\r\n\n  \n a \xE7\x8C\xAB \n[not json]";
    CHECK(read_from(&p, "p.txt", text, strlen(text), &source, &e));
    CHECK_INT(p.cases, 3);
    CHECK_STR(prompts_text(&p, 0, 0), "a cat");
    CHECK_STR(prompts_text(&p, 1, 1), " a \xE7\x8C\xAB ");
    CHECK_STR(prompts_text(&p, 2, 0), "[not json]");
    prompts_free(&p);
    CHECK(!read_from(&p, "p.txt", "a\n\xff\n", 4, &source, &e));
    CHECK_HAS(e.message, "p.txt: line 2: found \"\\xFF\"");
    CHECK(!read_from(&p, "p.txt", "a\0b\n", 4, &source, &e));
    CHECK_HAS(e.message, "line 1");
    CHECK(!read_from(&p, "p.txt", "\n \n", 3, &source, &e));
    CHECK_HAS(e.message, "found 0 prompts");
}

static void test_names_count_up(void)
{
    struct prompts_source source = pair_of_three();
    struct prompts p;
    struct err e;
    char text[2 * 1001 + 1];
    for (int i = 0; i < 1001; i++)
        memcpy(text + 2 * i, "a\n", 2);
    CHECK(read_from(&p, "p.txt", text, 2 * 1001, &source, &e));
    CHECK_STR(p.names[0], "0000");
    CHECK_STR(p.names[1000], "1000");
    prompts_free(&p);
}

static void test_refusals(void)
{
    static const char *const table[][2] = {
        {"", "end"},
        {"   ", "end"},
        {"\xEF\xBB\xBF", "end"},
        {"[\"a\",]", "line 1, column"},
        {"\"a\" x", "line 1, column"},
        {"5", "$: found number 5"},
        {"{\"prompts\": 5}", "$.prompts: found number 5"},
        {"[\"a\", 5]", "$[1]: found number 5"},
        {"[[\"a\", 5]]", "$[0][1]: found number 5"},
        {"[[\"a\", null]]", "$[0][1]: found null"},
        {"[\"a\", [\"b\", \"c\"]]", "$[1]"},
        {"[[\"a\", \"b\"], [\"c\", \"d\", \"e\"]]", "$[1]"},
        {"[[\"a\"]]", "$[0]: found 1 prompts, expected 2"},
        {"[[]]", "$[0]: found 0 prompts"},
        {"[[[\"a\"], \"b\"]]", "$[0][0]"},
        {"[]", "$: found"},
        {"{}", "prompts"},
        {"{\"promts\": \"a\"}", "promts"},
        {"{\"prompts\": \"a\", \"seed\": [1]}", "seed"},
        {"{\"prompts\": \"a\", \"prompts\": \"b\"}", "prompts"},
        {"{\"prompts\": \"a\", \"seeds\": [1.5]}", "$.seeds[0]: found number 1.5"},
        {"{\"prompts\": \"a\", \"seeds\": [-1]}", "$.seeds[0]"},
        {"{\"prompts\": \"a\", \"seeds\": [1e400]}", "$.seeds[0]"},
        {"{\"prompts\": \"a\", \"seeds\": [18446744073709551616]}", "$.seeds[0]"},
        {"{\"prompts\": \"a\", \"seeds\": [1, 2]}", "$.seeds"},
        {"{\"prompts\": \"a\", \"seeds\": 1}", "$.seeds"},
        {"{\"prompts\": \"a\", \"negative\": [\"x\", \"y\"]}", "$.negative"},
        {"{\"prompts\": \"a\", \"negative\": 3}", "$.negative"},
        {"{\"prompts\": [\"a\", \"b\"], \"names\": [\"x\", \"x\"]}", "[0] and at [1]"},
        {"{\"prompts\": \"a\", \"names\": [\"a/b\"]}", "$.names[0]"},
        {"{\"prompts\": \"a\", \"names\": [\"..\"]}", "$.names[0]"},
        {"{\"prompts\": \"a\", \"names\": [\"\"]}", "$.names[0]"},
        {"{\"prompts\": \"a\", \"names\": [\"/x\"]}", "$.names[0]"},
        {"{\"prompts\": \"a\", \"names\": [\"a\\u0000b\"]}", "line 1"},
        {"{\"prompts\": \"a\", \"names\": [\"a\\nb\"]}", "$.names[0]: found \"a\\x0Ab\""},
        {"{\"prompts\": \"a\", \"names\": [7]}", "$.names[0]"},
    };
    struct prompts p;
    struct err e;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        int before = check_failures;
        CHECK(!read_json(&p, table[i][0], &e));
        CHECK_INT(e.code, ERR_INPUT);
        CHECK_HAS(e.message, "p.json");
        CHECK_HAS(e.message, table[i][1]);
        if (check_failures != before)
            fprintf(stderr, "  in: %s\n", table[i][0]);
    }
}

static void test_limits(void)
{
    struct prompts_source source = pair_of_three();
    struct prompts p;
    struct err e;
    size_t size = limit_of(LIMIT_PROMPT) + 3;
    char *text = malloc(size + 1);
    memset(text, 'a', size);
    text[0] = text[size - 1] = '"';
    text[size] = '\0';
    CHECK(!read_from(&p, "p.json", text, size, &source, &e));
    CHECK_HAS(e.message, "found 65537 bytes, expected at most 65536");
    CHECK(!read_from(&p, "p.txt", text, size, &source, &e));
    CHECK_HAS(e.message, "line 1: found a prompt of");
    CHECK(!read_json(&p, "{\"prompts\": [\"a\"], \"names\": [\"\\u009b31m\"]}", &e));
    CHECK_HAS(e.message, "expected a name");
    /* The ensemble's template makes it too long. */
    source.templates = (const char *const[]){"{}{}", "{}"};
    memset(text + 1, 'a', size - 2);
    text[40000] = '"';
    CHECK(!read_from(&p, "p.json", text, 40001, &source, &e));
    CHECK_HAS(e.message, "prompt with its template of case 0: found 79998 bytes");
    memset(text, '[', size);
    CHECK(!read_from(&p, "p.json", text, size, &source, &e));
    CHECK_INT(e.code, ERR_INPUT);
    CHECK_HAS(e.message, "64");
    free(text);
}

/* One negative for many cases is many texts. */
static void test_all_texts_together(void)
{
    struct prompts_source source = pair_of_three();
    struct prompts p;
    struct err e;
    struct str text = {0};
    str_add(&text, "{\"prompts\": [\"a\"");
    for (int i = 1; i < 5000; i++)
        str_add(&text, ",\"a\"");
    str_add(&text, "], \"negative\": \"");
    for (int i = 0; i < 65536; i++)
        str_add(&text, "n");
    str_add(&text, "\"}");
    CHECK(!read_from(&p, "p.json", text.bytes, text.size, &source, &e));
    CHECK_HAS(e.message, "more than 268435456 bytes");
    str_free(&text);
}

static void test_files(void)
{
    static const char *const paths[] = {"/nonexistent/p.json", "/tmp", "/dev/zero"};
    struct prompts_source source = pair_of_three();
    for (int i = 0; i < 3; i++) {
        struct prompts p = {0};
        struct err e = {0};
        source.file = paths[i];
        CHECK(!prompts_read(&p, &source, NULL, &e));
        CHECK_INT(e.code, ERR_INPUT);
        CHECK_HAS(e.message, paths[i]);
    }
}

static void test_empty_prompt_is_noted(void)
{
    struct prompts p;
    struct err e;
    notes[0] = '\0';
    CHECK(read_json(&p, "[\"a\", \"\"]", &e));
    CHECK_HAS(notes, "001");
    prompts_free(&p);
}

static void read_stdin(const char *text, int64_t cases)
{
    struct prompts_source source = pair_of_three();
    struct prompts p = {0};
    struct err e = {0};
    int ends[2];
    CHECK(pipe(ends) == 0);
    CHECK(write(ends[1], text, strlen(text)) == (ssize_t)strlen(text));
    close(ends[1]);
    dup2(ends[0], STDIN_FILENO);
    close(ends[0]);
    source.file = "-";
    CHECK_INT(prompts_read(&p, &source, NULL, &e), cases > 0);
    CHECK_INT(p.cases, cases);
    if (cases == 0)
        CHECK_HAS(e.message, "standard input");
    prompts_free(&p);
}

static void test_standard_input(void)
{
    read_stdin("[\"a\", \"b\", \"c\"]", 3);
    read_stdin("a cat\na dog\n", 2);
    read_stdin("[\"a\"", 0);
    read_stdin("", 0);
}

int main(void)
{
    if (!mkdtemp(folder))
        return 1;
    RUN(test_forms);
    RUN(test_order_of_models);
    RUN(test_templates);
    RUN(test_seeds);
    RUN(test_lines);
    RUN(test_names_count_up);
    RUN(test_refusals);
    RUN(test_limits);
    RUN(test_all_texts_together);
    RUN(test_files);
    RUN(test_empty_prompt_is_noted);
    RUN(test_standard_input);
    rmdir(folder);
    return CHECK_EXIT();
}
