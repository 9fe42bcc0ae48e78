/* test_config.c: options from a file and from the environment, and which of them win. */
#include "cli/options_json.h"
#include "cli/parse.h"

#include "check.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[] = "/tmp/diffens-config-XXXXXX";

/* The outcome of a command line of at most ten words after a config with that text. */
struct line {
    struct parsed parsed;
    struct err e;
    enum parse_outcome outcome;
};

static void parse(struct line *l, const char *config, const char *command, ...)
{
    char *argv[16] = {"diffens", (char *)command, "--config", path};
    int argc = 4;
    va_list words;
    FILE *f = fopen(path, "w");
    fputs(config, f);
    fclose(f);
    va_start(words, command);
    for (char *word; argc < 16 && (word = va_arg(words, char *));)
        argv[argc++] = word;
    va_end(words);
    *l = (struct line){0};
    l->outcome = options_parse(argc, argv, &l->parsed, &l->e);
}

static void test_values(void)
{
    struct line l;
    struct options *o = &l.parsed.options;
    parse(&l,
          "{\"prompt\": \"a cat, asleep\", \"steps\": 20, \"random-seed\": "
          "18446744073709551615, \"guidance\": 3, \"guidance-interval\": \"0:0.5\", "
          "\"gamma\": [0, 0.5, 1e-1], "
          "\"layer\": [\"preconv\", \"postquant\"], \"size\": \"64x128\", \"models\": "
          "[\"a\", \"/m/b\"], \"batch\": \"auto\", \"noise\": \"independent\", "
          "\"raw-prompts\": true, \"json\": false, \"scheduler\": null}",
          "blend", NULL);
    CHECK_INT(l.outcome, PARSE_RUN);
    CHECK_STR(l.e.message, "");
    CHECK_STR(o->prompt, "a cat, asleep");
    CHECK_INT(o->steps, 20);
    CHECK(o->random_seed == UINT64_MAX);
    CHECK(o->guidance == 3);
    CHECK(o->guidance_interval.to == 0.5);
    CHECK_INT(o->gamma.count, 3);
    CHECK(o->gamma.value[2] == 0.1);
    CHECK_INT((int)o->layers, LAYER_PRECONV | LAYER_POSTQUANT);
    CHECK_INT(o->size.width, 128);
    CHECK_STR(o->models.name[1], "/m/b");
    CHECK_INT(o->batch, 0);
    CHECK_INT((int)o->noise, NOISE_INDEPENDENT);
    CHECK(o->raw_prompts);
    CHECK(!o->json);
    CHECK(!o->scheduler);
    /* the record shows a command line that needs no config */
    CHECK_STR(o->arguments[2], "--prompt");
    CHECK_STR(o->arguments[3], "a cat, asleep");
    options_free(o);

    parse(&l, "{\"weights\": [[1, 0], [0.25, 0.75]]}", "blend", NULL);
    CHECK_INT(o->weights.count, 2);
    CHECK(o->weights.set[1].value[1] == 0.75);
    options_free(o);
    parse(&l, "{\"weights\": [0.5, 0.5], \"gamma\": null}", "blend", NULL);
    CHECK_INT(o->weights.count, 1);
    options_free(o);
    parse(&l, "{}", "blend", NULL);
    CHECK_INT(l.outcome, PARSE_RUN);
    options_free(o);
}

static void test_precedence(void)
{
    struct line l;
    struct options *o = &l.parsed.options;
    setenv("DIFFENS_THREADS", "3", 1);
    setenv("DIFFENS_DEVICE", "cuda:7", 1);
    setenv("DIFFENS_ENSEMBLE", "", 1);
    parse(&l, "{\"steps\": 20, \"threads\": 2}", "generate", "--steps", "30", NULL);
    CHECK_INT(l.outcome, PARSE_RUN);
    CHECK_INT(o->steps, 30);
    CHECK_INT(o->threads, 2);
    CHECK_STR(o->device, "cuda:7");
    CHECK(!o->ensemble);
    options_free(o);

    /* what the command line rules out gives way */
    parse(&l, "{\"prompt\": \"x\", \"steps\": 20, \"gamma\": 0.2, \"quiet\": true}",
          "blend", "--images", "i", "--weights", "1,0", "--progress", "plain", NULL);
    CHECK_INT(l.outcome, PARSE_RUN);
    CHECK_STR(l.e.message, "");
    CHECK(!o->prompt);
    CHECK(!o->quiet);
    CHECK_INT(o->steps, 50);
    options_free(o);
    parse(&l, "{\"prompt\": \"x\", \"prompts\": \"p.json\"}", "blend", NULL);
    CHECK_INT(l.outcome, PARSE_ERROR);
    CHECK_HAS(l.e.message, "found --prompts and --prompt");
    options_free(o);

    setenv("DIFFENS_THREADS", "many", 1);
    parse(&l, "{}", "blend", NULL);
    CHECK_INT(l.e.code, ERR_USAGE);
    CHECK_HAS(l.e.message, "$DIFFENS_THREADS: found \"many\", expected auto or integer");
    options_free(o);
    parse(&l, "{\"threads\": \"auto\"}", "blend", NULL);
    CHECK_INT(l.outcome, PARSE_RUN);
    options_free(o);
    unsetenv("DIFFENS_THREADS");
    unsetenv("DIFFENS_DEVICE");
}

static void test_refusals(void)
{
    static const char *const table[][3] = {
        {"{\"setps\": 3}", "setps", "--steps"},
        {"{\"random_seed\": 3}", "random_seed", "--random-seed"},
        {"{\"epochs\": 3}", "epochs", "diffens optimize"},
        {"{\"config\": \"x\"}", "config", ""},
        {"{\"print-config\": true}", "print-config", ""},
        {"{\"steps\": \"many\"}", "steps", ""},
        {"{\"steps\": 0}", "found number 0, expected integer 1..1000", ""},
        {"{\"steps\": 2.5}", "2.5", ""},
        {"{\"steps\": [3]}", "an array of 1", ""},
        {"{\"prompt\": 3}", "number 3", ""},
        {"{\"json\": \"yes\"}", "expected true or false", ""},
        {"{\"scheduler\": \"ddmi\"}", "ddmi", "ddim"},
        {"{\"models\": []}", "models", ""},
        {"{\"models\": [\"a,b\"]}", "models", ""},
        {"{\"models\": [1]}", "models", ""},
        {"{\"gamma\": [[0.5]]}", "gamma", ""},
        {"{\"steps\": 3, \"steps\": 4}", "steps", ""},
        {"[]", "expected an object", ""},
        {"{", "line 1, column 2", ""},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct line l;
        int before = check_failures;
        parse(&l, table[i][0], "blend", NULL);
        CHECK_INT(l.outcome, PARSE_ERROR);
        CHECK_INT(l.e.code, ERR_INPUT);
        CHECK_HAS(l.e.message, path);
        CHECK_HAS(l.e.message, table[i][1]);
        CHECK_HAS(l.e.hint, table[i][2]);
        options_free(&l.parsed.options);
        if (check_failures != before)
            fprintf(stderr, "  in: %s\n  %s\n", table[i][0], l.e.message);
    }
}

/* What --print-config writes reads back as the same. */
static void test_round_trip(void)
{
    static const char *const configs[] = {
        "{}",
        "{\"images\": \"/abs/images\", \"weights\": [[0.5, 0.5]], \"quiet\": true}",
        "{\"prompt\": \"a \\\"b\\\"\", \"pair\": [\"/m/a\", \"b\"], \"gamma\": "
        "\"0:1:3\"}",
    };
    for (int i = 0; i < 3; i++) {
        struct line l;
        struct str first = {0}, second = {0};
        struct json_writer one = {.out = &first}, two = {.out = &second};
        parse(&l, configs[i], "blend", NULL);
        CHECK_INT(l.outcome, PARSE_RUN);
        options_write_config(&one, &l.parsed.options);
        options_free(&l.parsed.options);
        parse(&l, str_text(&first), "blend", NULL);
        CHECK_STR(l.e.message, "");
        options_write_config(&two, &l.parsed.options);
        CHECK_STR(str_text(&first), str_text(&second));
        CHECK(i != 1 || strstr(str_text(&first), "/abs/images"));
        options_free(&l.parsed.options);
        str_free(&first);
        str_free(&second);
    }
}

int main(void)
{
    unsetenv("DIFFENS_ENSEMBLE");
    unsetenv("DIFFENS_DEVICE");
    unsetenv("DIFFENS_THREADS");
    int fd = mkstemp(path);
    if (fd < 0)
        return 1;
    close(fd);
    RUN(test_values);
    RUN(test_precedence);
    RUN(test_refusals);
    RUN(test_round_trip);
    unlink(path);
    return CHECK_EXIT();
}
