/* test_ensemble.c: reading ensemble.json, finding it, and choosing diffusers. */
#include "models/ensemble.h"

#include "check.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/diffens-ensembles-XXXXXX";
static char notes[4096];

static void keep_note(void *user, enum note_level level, const char *line)
{
    (void)user;
    (void)level;
    snprintf(notes, sizeof notes, "%s", line);
}

static const struct progress progress = {.note = keep_note};

static const char three[] =
    "{\"name\": \"paper\", \"diffusers\": ["
    "{\"name\": \"a\", \"path\": \"a\", \"prompt\": \"{}\"},"
    "{\"name\": \"b\", \"path\": \"../demo/b\", \"prompt\": \"b style {}\","
    "\"weight\": 1.5},"
    "{\"name\": \"c\", \"path\": \"/abs/c\"}],"
    "\"pair\": [\"c\", \"a\"], \"vqgan\": {\"path\": \"vq/last.ckpt\", \"size\": [128, "
    "192]},"
    "\"clip\": {\"path\": \"clip\"}, \"perceptual\": {\"path\": \"lpips\"},"
    "\"example\": \"a castle\","
    "\"generate\": {\"steps\": 30, \"guidance\": 4.50, \"scheduler\": \"ddim\","
    "\"cache_interval\": 2, \"guidance_interval\": \"0:0.5\"},"
    "\"optimize\": {\"perceptual_weight\": 1.0, \"crops\": \"1x1,8x0.5\","
    "\"from_input\": {\"lr\": 0.02}}}";

static const char demo[] =
    "{\"name\": \"demo\", \"diffusers\": [{\"name\": \"x\", \"path\": \"x\"},"
    "{\"name\": \"y\", \"path\": \"y\"}]}";

/* FOLDER/NAME/ensemble.json with that text. */
static const char *write_ensemble(const char *name, const char *text)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    mkdir(path, 0777);
    snprintf(path, sizeof path, "%s/%s/ensemble.json", folder, name);
    FILE *f = fopen(path, "w");
    fputs(text, f);
    fclose(f);
    return path;
}

static void make_folder(const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    mkdir(path, 0777);
}

static void test_fields(void)
{
    struct ensemble s = {0};
    struct err e = {0};
    CHECK(ensemble_open(&s, write_ensemble("paper", three), NULL, &e));
    CHECK_STR(e.message, "");
    CHECK_STR(s.name, "paper");
    CHECK_INT(s.count, 3);
    CHECK_INT(s.listed, 3);
    CHECK_HAS(s.diffusers[0].path, "/paper/a");
    CHECK_HAS(s.diffusers[1].path, "/paper/../demo/b");
    CHECK_STR(s.diffusers[1].prompt, "b style {}");
    CHECK_STR(s.diffusers[2].path, "/abs/c");
    CHECK_STR(s.diffusers[2].listed, "c");
    CHECK_STR(s.diffusers[2].prompt, "{}");
    CHECK_STR(s.pair[0], "c");
    CHECK_HAS(s.vqgan.path, "/paper/vq/last.ckpt");
    CHECK_STR(s.vqgan.listed, "vq/last.ckpt");
    CHECK_INT(s.vqgan_height, 128);
    CHECK_INT(s.vqgan_width, 192);
    CHECK_STR(s.example, "a castle");
    static const struct ensemble_default defaults[] = {
        {"generate", "guidance", "4.50"},
        {"generate", "guidance_interval", "0:0.5"},
        {"generate", "cache_interval", "2"},
        {"generate", "scheduler", "ddim"},
        {"generate", "steps", "30"},
        {"optimize", "crops", "1x1,8x0.5"},
        {"optimize", "perceptual_weight", "1.0"},
        {"optimize.from_input", "lr", "0.02"}};
    CHECK_INT(s.default_count, 8);
    for (int i = 0; i < 8; i++) {
        CHECK_STR(s.defaults[i].section, defaults[i].section);
        CHECK_STR(s.defaults[i].field, defaults[i].field);
        CHECK_STR(s.defaults[i].text, defaults[i].text);
    }
    CHECK(ensemble_weight(&s, "b") == 1.5 && ensemble_weight(&s, "c") == 1);
    CHECK(ensemble_weight(&s, "elsewhere") == 1);
    ensemble_close(&s);
    char directory[256];
    snprintf(directory, sizeof directory, "%s/paper", folder);
    CHECK(ensemble_open(&s, directory, NULL, &e));
    ensemble_close(&s);
}

static void test_selection(void)
{
    struct ensemble s = {0};
    struct err e = {0};
    char *names[] = {"c", "/models/mine/", "a", "./other"};
    CHECK(ensemble_open(&s, write_ensemble("paper", three), NULL, &e));
    CHECK(ensemble_select(&s, names, 4, &e));
    CHECK_INT(s.count, 4);
    CHECK_INT(s.listed, 3);
    CHECK_STR(s.diffusers[0].name, "c");
    CHECK_INT(s.diffusers[0].index, 2);
    CHECK_STR(s.diffusers[1].name, "mine");
    CHECK_STR(s.diffusers[1].path, "/models/mine");
    CHECK_STR(s.diffusers[1].listed, "mine");
    CHECK_INT(s.diffusers[1].index, 3);
    CHECK_INT(s.diffusers[2].index, 0);
    CHECK_STR(s.diffusers[3].listed, "./other");
    CHECK_INT(s.diffusers[3].index, 4);
    CHECK(ensemble_weight(&s, "a") == 1 && ensemble_weight(&s, "mine") == 1);
    ensemble_close(&s);

    CHECK(ensemble_open(&s, write_ensemble("paper", three), NULL, &e));
    CHECK(ensemble_select_pair(&s, &e));
    CHECK_INT(s.count, 2);
    CHECK_STR(s.diffusers[0].name, "c");
    CHECK_STR(s.diffusers[1].name, "a");
    char *unknown[] = {"bb"};
    CHECK(!ensemble_select(&s, unknown, 1, &e));
    CHECK_INT(e.code, ERR_USAGE);
    CHECK_HAS(e.message, "found model \"bb\"");
    CHECK_INT(s.count, 2);
    char *same[] = {"a", "x/a"};
    e = (struct err){0};
    CHECK(!ensemble_select(&s, same, 2, &e));
    CHECK_HAS(e.message, "two models named \"a\"");
    ensemble_close(&s);
}

static void test_selection_by_path(void)
{
    static const struct {
        const char *path, *name, *listed; /* NULL: refused */
    } rows[] = {
        {"./fine.tune.ckpt", "fine.tune", "./fine.tune.ckpt"},
        {"/m/x.safetensors", "x", "x.safetensors"},
        {"/m/x.bin///", "x.bin", "x.bin"},
        {"/m/a\nb", NULL, NULL},
        {"/", NULL, NULL},
        {"x/..", NULL, NULL},
        {"x/.ckpt", NULL, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct ensemble s = {0};
        struct err e = {0};
        char *names[] = {(char *)rows[i].path};
        CHECK(ensemble_open(&s, write_ensemble("paper", three), NULL, &e));
        bool ok = ensemble_select(&s, names, 1, &e);
        CHECK_INT(ok, rows[i].name != NULL);
        if (ok && rows[i].name) {
            CHECK_STR(s.diffusers[0].name, rows[i].name);
            CHECK_STR(s.diffusers[0].listed, rows[i].listed);
        } else {
            CHECK_INT(e.code, ERR_USAGE);
            CHECK_HAS(e.message, ": found \"");
        }
        ensemble_close(&s);
    }
}

static void test_how_many(void)
{
    struct ensemble s = {0};
    struct err e = {0};
    char *names[ENSEMBLE_MAX_DIFFUSERS + 1];
    for (int i = 0; i <= ENSEMBLE_MAX_DIFFUSERS; i++)
        names[i] = "a";
    CHECK(ensemble_open(&s, write_ensemble("paper", three), NULL, &e));
    CHECK(!ensemble_select(&s, names, ENSEMBLE_MAX_DIFFUSERS + 1, &e));
    CHECK_HAS(e.message, "models, expected at most");
    char *unlike[] = {"something else"};
    e = (struct err){0};
    CHECK(!ensemble_select(&s, unlike, 1, &e));
    CHECK_HAS(e.hint, "is named with a /, as ./something else");
    ensemble_close(&s);

    e = (struct err){0};
    CHECK(ensemble_open(&s, write_ensemble("demo", demo), NULL, &e));
    CHECK(ensemble_select_pair(&s, &e)); /* the two that it has */
    CHECK_INT(s.count, 2);
    ensemble_close(&s);
    CHECK(
        ensemble_open(&s,
                      write_ensemble("slip", "{\"name\": \"n\", \"diffusers\": ["
                                             "{\"name\": \"poster\", \"path\": \"a\"}]}"),
                      NULL, &e));
    char *slip[] = {"posterr"};
    e = (struct err){0};
    CHECK(!ensemble_select(&s, slip, 1, &e));
    CHECK_STR(e.hint, "did you mean poster?");
    e = (struct err){0};
    CHECK(!ensemble_select_pair(&s, &e));
    CHECK_HAS(e.message, "found 1 models and no pair, expected --pair A,B");
    ensemble_close(&s);
}

static void test_search_and_default(void)
{
    struct ensemble s = {0};
    struct err e = {0};
    setenv("DIFFENS_MODELS", folder, 1);
    write_ensemble("demo", demo);
    write_ensemble("paper", "{\"name\": \"paper\", \"diffusers\": [{\"name\": \"a\", "
                            "\"path\": \"a\"}], \"vqgan\": {\"path\": \"vq\"}}");
    CHECK(ensemble_open(&s, NULL, &progress, &e));
    CHECK_STR(s.name, "demo");
    CHECK_HAS(notes, "demo");
    CHECK_HAS(notes, "scripts/fetch-models");
    ensemble_close(&s);

    CHECK(ensemble_open(&s, "paper", &progress, &e));
    CHECK(!ensemble_check_files(&s, NEED_DIFFUSERS | NEED_VQGAN, &e));
    CHECK_INT(e.code, ERR_INPUT);
    CHECK_HAS(e.message, "diffuser a");
    CHECK_HAS(e.hint, "scripts/fetch-models");
    e = (struct err){0};
    make_folder("paper/a");
    CHECK(ensemble_check_files(&s, NEED_DIFFUSERS, &e));
    CHECK(!ensemble_check_files(&s, NEED_DIFFUSERS | NEED_VQGAN, &e));
    CHECK_HAS(e.message, "vqgan");
    e = (struct err){0};
    make_folder("paper/vq");
    CHECK(ensemble_check_files(&s, NEED_DIFFUSERS | NEED_VQGAN, &e));
    CHECK(!ensemble_check_files(&s, NEED_VQGAN | NEED_CRITICS, &e));
    CHECK_HAS(e.message, "found no clip");
    e = (struct err){0};
    ensemble_close(&s);

    CHECK(ensemble_open(&s, NULL, &progress, &e));
    CHECK_STR(s.name, "paper");
    CHECK_STR(notes, "ensemble: paper");
    ensemble_close(&s);

    CHECK(!ensemble_open(&s, "dmo", &progress, &e));
    CHECK_INT(e.code, ERR_INPUT);
    CHECK_HAS(e.message, "no ensemble \"dmo\"");
    CHECK_HAS(e.message, "paper");
    e = (struct err){0};
    CHECK(!ensemble_open(&s, "../demo", &progress, &e));
    CHECK_INT(e.code, ERR_INPUT);
}

static void test_refusals(void)
{
    static const char *const table[][2] = {
        {"[]", "$: found"},
        {"{\"diffusers\": []}", "name"},
        {"{\"name\": \"n\"}", "diffusers"},
        {"{\"name\": \"n\", \"diffusers\": []}", "$.diffusers"},
        {"{\"name\": \"../n\", \"diffusers\": [{\"name\": \"a\", \"path\": \"a\"}]}",
         "$.name"},
        {"{\"name\": \"n\", \"difusers\": [], \"diffusers\": [{\"name\": \"a\", "
         "\"path\": "
         "\"a\"}]}",
         "difusers"},
        {"{\"name\": \"n\", \"diffusers\": [{\"name\": \"a\"}]}", "$.diffusers[0]"},
        {"{\"name\": \"n\", \"diffusers\": [{\"name\": \"a\", \"path\": \"\"}]}",
         "$.diffusers[0].path"},
        {"{\"name\": \"n\", \"diffusers\": [{\"name\": \"a/b\", \"path\": \"a\"}]}",
         "$.diffusers[0].name"},
        {"{\"name\": \"n\", \"diffusers\": [{\"name\": \"a\", \"path\": \"a\", "
         "\"prompt\": "
         "\"x\"}]}",
         "$.diffusers[0].prompt"},
        {"{\"name\": \"n\", \"diffusers\": [{\"name\": \"a\", \"path\": \"a\", \"x\": "
         "1}]}",
         "x"},
        {"{\"name\": \"n\", \"diffusers\": [{\"name\": \"a\", \"path\": \"a\"}, "
         "{\"name\": "
         "\"a\", \"path\": \"b\"}]}",
         "$.diffusers[1].name"},
        {"{\"name\": \"n\", \"diffusers\": [{\"name\": \"a\", \"path\": \"a\"}], "
         "\"pair\": "
         "[\"a\", \"b\"]}",
         "$.pair[1]"},
        {"{\"name\": \"n\", \"diffusers\": [{\"name\": \"a\", \"path\": \"a\"}], "
         "\"pair\": "
         "[\"a\", \"a\"]}",
         "$.pair"},
        {"{\"name\": \"n\", \"diffusers\": [{\"name\": \"a\", \"path\": \"a\"}], "
         "\"pair\": "
         "[\"a\"]}",
         "$.pair"},
        {"{\"name\": \"n\", \"diffusers\": [{\"name\": \"a\", \"path\": \"a\"}], "
         "\"vqgan\": "
         "{\"path\": \"v\", \"size\": [256]}}",
         "$.vqgan.size"},
        {"{\"name\": \"n\", \"diffusers\": [{\"name\": \"a\", \"path\": \"a\"}], "
         "\"vqgan\": "
         "\"v\"}",
         "$.vqgan"},
        {"{\"name\": \"n\", \"diffusers\": [{\"name\": \"a\", \"path\": \"a\"}], "
         "\"optimize\": {\"lr\": \"fast\"}}",
         "$.optimize.lr"},
        {"{\"name\": \"n\", \"diffusers\": [{\"name\": \"a\", \"path\": \"a\"}], "
         "\"optimize\": {\"crops\": 8}}",
         "$.optimize.crops"},
        {"{\"name\": \"n\", \"diffusers\": [{\"name\": \"a\", \"path\": \"a\"}], "
         "\"optimize\": {\"seed\": \"noise\"}}",
         "seed"},
        {"{\"name\": \"n\", \"diffusers\": [{\"name\": \"a\", \"path\": \"a\"}], "
         "\"generate\": {\"step\": 3}}",
         "steps"},
        {"{\"name\": \"n\", \"diffusers\": [{\"name\": \"a\", \"path\": \"a\"}], "
         "\"generate\": {\"scheduler\": 3}}",
         "$.generate.scheduler"},
        {"{\"name\": \"n\", \"diffusers\": [{\"name\": \"a\", \"path\": \"a\"}], "
         "\"generate\": [30]}",
         "$.generate"},
        {"{\"name\": \"n\", \"diffusers\": [{\"name\": \"a\", \"path\": \"a\"}], "
         "\"pair\": [1, \"a\"]}",
         "$.pair[0]"},
        {"{\"name\": \"n\", \"diffusers\": [{\"name\": \"a\", \"path\": \"a\"}], "
         "\"pair\": \"a\"}",
         "$.pair"},
        {"{\"name\": \"n\", \"diffusers\": [{\"name\": \"a\", \"path\": \"a\"}], "
         "\"vqgan\": {\"path\": \"v\", \"size\": [256, 15]}}",
         "$.vqgan.size[1]"},
        {"{\"name\": \"n\", \"diffusers\": [{\"name\": \"a\", \"path\": \"a\"}], "
         "\"vqgan\": {\"path\": \"v\", \"size\": [4097, 256]}}",
         "$.vqgan.size[0]"},
        {"{\"name\": \"n\", \"diffusers\": [{\"name\": \"a\", \"path\": \"a\"}], "
         "\"vqgan\": {\"path\": \"v\", \"x\": 1}}",
         "unknown field"},
        {"{\"name\": \"n\", \"diffusers\": [{\"name\": \"a\", \"path\": \"a\"}], "
         "\"vqgan\": {\"size\": [256, 256]}}",
         "path"},
        {"{\"name\": \"n\", \"diffusers\": [{\"name\": \"a\", \"path\": \"a\"}], "
         "\"clip\": \"v\"}",
         "$.clip"},
        {"{\"name\": \"n\", \"diffusers\": [{\"name\": \"a\", \"path\": \"a\"}], "
         "\"clip\": {\"path\": \"v\", \"x\": 1}}",
         "unknown field"},
        {"{\"name\": \"n\", \"diffusers\": [{\"name\": \"a\", \"path\": \"a\"}], "
         "\"perceptual\": {}}",
         "path"},
        {"{\"name\": \"n\", \"diffusers\": [{\"name\": \"a\", \"path\": \"a\"}], "
         "\"tokenizer\": [1]}",
         "$.tokenizer"},
        {"{\"name\": \"n\", \"diffusers\": [{\"name\": \"a\", \"path\": \"a\"}], "
         "\"example\": 7}",
         "$.example"},
        {"{\"name\": \"n\", \"diffusers\": [5]}", "$.diffusers[0]"},
        {"{\"name\": \"n\", \"diffusers\": [{\"name\": \"a\", \"path\": 5}]}",
         "$.diffusers[0].path"},
        {"{\"name\": \"n\", \"diffusers\": [{\"name\": \"a\", \"path\": \"a\", "
         "\"prompt\": 5}]}",
         "$.diffusers[0].prompt"},
        {"{\"name\": \"n\", \"diffusers\": [{\"name\": \"a\", \"path\": \"a\", "
         "\"prediction\": 5}]}",
         "$.diffusers[0].prediction"},
        {"{\"name\": \"n\", \"diffusers\": [{\"name\": \"a\", \"path\": \"a\", "
         "\"prediction\": \"sample\"}]}",
         "found \"sample\", expected epsilon or v_prediction"},
        {"{\"name\": \"n\", \"diffusers\": [{\"name\": \"a\", \"path\": \"a\", "
         "\"weight\": 0}]}",
         "$.diffusers[0].weight: found number 0, expected"},
        {"{\"name\": \"n\", \"diffusers\": [{\"name\": \"a\", \"path\": \"a\"}], "
         "\"optimize\": {\"from_input\": {\"from_input\": {}}}}",
         "$.optimize.from_input"},
        {"{\"name\": \"n\", \"diffusers\": [{\"name\": \"a\", \"path\": \"a\"}], "
         "\"optimize\": {\"from_input\": 3}}",
         "$.optimize.from_input"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct ensemble s = {0};
        struct err e = {0};
        int before = check_failures;
        CHECK(!ensemble_open(&s, write_ensemble("bad", table[i][0]), NULL, &e));
        CHECK_INT(e.code, ERR_INPUT);
        CHECK_HAS(e.message, "bad/ensemble.json");
        CHECK_HAS(e.message, table[i][1]);
        CHECK_INT(s.count, 0);
        if (check_failures != before)
            fprintf(stderr, "  in: %s\n", table[i][0]);
    }
}

/* The ensemble that the repository carries. */
static void test_paper(void)
{
    struct ensemble s = {0};
    struct err e = {0};
    CHECK(ensemble_open(&s, "models/paper/ensemble.json", NULL, &e));
    CHECK_STR(e.message, "");
    CHECK_INT(s.count, 3);
    CHECK_STR(s.pair[0], "ghibli");
    CHECK_STR(s.diffusers[0].path, "models/paper/sd15");
    ensemble_close(&s);
}

int main(void)
{
    if (!mkdtemp(folder))
        return 1;
    RUN(test_fields);
    RUN(test_selection);
    RUN(test_selection_by_path);
    RUN(test_how_many);
    RUN(test_search_and_default);
    RUN(test_refusals);
    RUN(test_paper);
    char command[300];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command) != 0 || CHECK_EXIT();
}
