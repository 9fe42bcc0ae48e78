/* test_record.c: run directories, run.json, records inside pictures, --force. */
#include "io/config.h"
#include "run/directory.h"
#include "run/record.h"

#include "check.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/diffens-records-XXXXXX";

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    if (f) {
        fputs(text, f);
        fclose(f);
    }
}

static bool is_there(const char *path)
{
    return access(path, F_OK) == 0;
}

static void write_options(struct json_writer *w, const struct options *o)
{
    json_write_open_object(w);
    json_write_key(w, "steps");
    json_write_int(w, o->steps);
    json_write_close(w);
}

static char *arguments[] = {"diffens", "blend", "--out", "run"};

static const struct options options = {.command = COMMAND_BLEND,
                                       .steps = 20,
                                       .guidance = 7.5,
                                       .guidance_interval = {0, 1},
                                       .cache_interval = 1,
                                       .arguments = arguments,
                                       .argument_count = 4};

static const struct record_about about = {.command = "blend",
                                          .options = &options,
                                          .write_options = write_options,
                                          .ensemble = "demo",
                                          .libtorch = "2.13.0"};

static const struct record_parent parents[] = {{.model = "poster",
                                                .prompt = "poster style a \"cat\"",
                                                .negative = "blur",
                                                .seed = UINT64_MAX,
                                                .scheduler = "dpm++2m-karras",
                                                .weight = 0.75},
                                               {.model = "plain",
                                                .prompt = "a \"cat\"",
                                                .negative = "",
                                                .seed = UINT64_MAX,
                                                .scheduler = "pndm",
                                                .weight = 0.25}};

static const struct record_cell parent_cell = {.case_name = "000",
                                               .file = "images/000_poster.png",
                                               .height = 128,
                                               .width = 192,
                                               .parent_count = 1,
                                               .parents = parents};

static const struct record_cell mixed_cell = {.case_name = "000",
                                              .file = "blend/000_postquant_g0.25.png",
                                              .height = 128,
                                              .width = 192,
                                              .layer = "postquant",
                                              .parent_count = 2,
                                              .parents = parents};

/* A run of two cells in `directory`. */
static bool plan(struct record *r, const char *directory, struct err *e)
{
    static char *const cases[] = {"000"};
    static const char *const models[] = {"poster", "plain"};
    if (!record_open(r, directory, &about, e))
        return false;
    record_set_axes(r, 1, cases, 2, models);
    int network = record_add_network(r, "diffuser", "poster", "poster", e);
    bool ok = network == 0 &&
              record_add_weights(r, network, "weights.bin", "unet/weights.bin", e) &&
              record_add_weights(r, network, "weights.bin", "unet/weights.bin", e) &&
              record_set_machine(r, "cpu", "fp32", 2, e) &&
              record_add_cell(r, &parent_cell, e) == 0 &&
              record_add_cell(r, &mixed_cell, e) == 1 &&
              record_add_file(r, "images.npy", e);
    if (!ok)
        record_close(r);
    return ok;
}

static bool begin(struct record *r, const char *directory, struct err *e)
{
    if (!plan(r, directory, e))
        return false;
    bool ok = record_begin(r, e);
    if (!ok)
        record_close(r);
    return ok;
}

static bool make_and_begin(struct record *r, bool force, struct err *e)
{
    char *path = NULL;
    bool made;
    bool ok = run_directory_make("run", "blend", false, &path, &made, e) &&
              (force || run_directory_check_new(path, e)) && begin(r, path, e);
    free(path);
    return ok;
}

static void test_numbered_directories(void)
{
    struct err e = {0};
    char *path;
    bool made;
    CHECK(run_directory_make(NULL, "blend", false, &path, &made, &e));
    CHECK_STR(path, "diffens-runs/blend-001");
    CHECK(made);
    free(path);
    CHECK(run_directory_make(NULL, "blend", false, &path, &made, &e));
    CHECK_STR(path, "diffens-runs/blend-002");
    run_directory_discard(path);
    CHECK(!is_there(path));
    free(path);
    CHECK(run_directory_make(NULL, "generate", false, &path, &made, &e));
    CHECK_STR(path, "diffens-runs/generate-001");
    free(path);
}

static void test_directory_errors(void)
{
    static const char *const table[][2] = {{"no/such/parent", "No such file"},
                                           {"file", "Not a directory"}};
    char *path;
    bool made;
    write_file("file", "x");
    for (int i = 0; i < 2; i++) {
        struct err e = {0};
        CHECK(!run_directory_make(table[i][0], "blend", false, &path, &made, &e));
        CHECK_INT(e.code, ERR_OUTPUT);
        CHECK_HAS(e.message, table[i][0]);
        CHECK_HAS(e.message, table[i][1]);
        CHECK(!path);
        CHECK(!e.hint[0] == (i > 0)); /* what to do about a parent that is not there */
    }
    unlink("file");
    CHECK(run_directory_inside("a/b.png") && run_directory_inside("..a"));
    CHECK(!run_directory_inside("../a") && !run_directory_inside("a/../b"));
    CHECK(!run_directory_inside("/a") && !run_directory_inside("a//b"));
    CHECK(!run_directory_inside("") && !run_directory_inside("a/") &&
          !run_directory_inside("./a"));
}

static void check_record(const char *state, const char *first_state)
{
    struct json_document d = {0};
    struct err e = {0};
    const struct json *cells, *ensemble, *networks;
    const char *text;
    CHECK(json_read(&d, "run/run.json", LIMIT_JSON_RECORD, &e));
    CHECK_STR(e.message, "");
    if (!d.root)
        return;
    CHECK(config_need_string(d.root, "state", &text, &e));
    CHECK_STR(text, state);
    CHECK(config_need_array(d.root, "cells", 2, 2, &cells, &e));
    CHECK(config_need_string(cells->child, "state", &text, &e));
    CHECK_STR(text, first_state);
    CHECK(config_need_string(cells->child, "model", &text, &e));
    CHECK_STR(text, "poster");
    uint64_t seed = 0;
    CHECK(config_as_uint64(json_get(cells->child, "seed"), &seed, &e));
    CHECK(seed == UINT64_MAX);
    if (strcmp(state, "complete") == 0) {
        CHECK(config_need_string(cells->child, "sha256", &text, &e));
        CHECK_STR(text, /* of "picture" */
                  "2cea274d0bedc39ec4ab6ba9e59ec889e3ed6fb56a1cf088a64d9b383378dc97");
        CHECK(config_need_object(d.root, "ensemble", &ensemble, &e));
        CHECK(config_need_array(ensemble, "networks", 1, 1, &networks, &e));
        const struct json *files = json_get(networks->child, "files");
        CHECK_INT(files->size, 1);
        CHECK(config_need_string(files->child, "sha256", &text, &e));
        CHECK_INT(strlen(text), 64);
    }
    json_free(&d);
}

static void test_life_of_a_run(void)
{
    struct record r = {0};
    struct err e = {0};
    write_file("weights.bin", "weights");
    CHECK(make_and_begin(&r, false, &e));
    CHECK_STR(e.message, "");
    check_record("running", "planned");
    CHECK_STR(record_cell_path(&r, 0), "run/images/000_poster.png");
    CHECK_STR(record_file_path(&r, "images.npy"), "run/images.npy");
    write_file(record_cell_path(&r, 0), "picture");
    write_file(record_cell_path(&r, 1), "mixture");
    CHECK(record_cell_done(&r, 0, NULL, 1.5, &e));
    CHECK(record_cell_done(&r, 1, NULL, 0.5, &e));
    CHECK(is_there("run/run.journal"));
    check_record("running", "planned");
    CHECK(record_complete(&r, &e)); /* without images.npy */
    check_record("failed", "done");
    write_file(record_file_path(&r, "images.npy"), "parents");
    CHECK(record_complete(&r, &e));
    CHECK(!is_there("run/run.journal"));
    check_record("complete", "done");
    record_close(&r);
}

/* What is in the directory is not a run's until it has begun. */
static void test_stop_before_the_beginning(void)
{
    struct record r = {0};
    struct err e = {0};
    mkdir("early", 0777);
    CHECK(plan(&r, "early", &e));
    CHECK(record_stop(&r, &e));
    CHECK(!is_there("early/run.json"));
    record_close(&r);
    rmdir("early");
}

static void test_other_run_is_refused(void)
{
    struct record r = {0};
    struct err e = {0};
    CHECK(!make_and_begin(&r, false, &e));
    CHECK_INT(e.code, ERR_INPUT);
    CHECK_HAS(e.message, "run: found another run");
    CHECK_HAS(e.hint, "--force");
    CHECK(is_there("run/images/000_poster.png"));
}

static void test_force_removes_only_its_own(void)
{
    struct record r = {0};
    struct err e = {0};
    write_file("run/notes.txt", "mine");
    write_file("run/images/mine.png", "mine");
    CHECK(make_and_begin(&r, true, &e));
    CHECK_STR(e.message, "");
    CHECK(is_there("run/notes.txt") && is_there("run/images/mine.png"));
    CHECK(!is_there("run/images/000_poster.png"));
    CHECK(!is_there("run/blend/000_postquant_g0.25.png") && is_there("run/blend"));
    record_close(&r);
    check_record("running", "planned");

    /* what is in the way and is no run's stops it before anything is removed */
    write_file("run/figure.png", "mine");
    write_file("run/images/000_poster.png", "picture");
    CHECK(record_open(&r, "run", &about, &e));
    CHECK(record_add_file(&r, "figure.png", &e));
    CHECK(!record_begin(&r, &e));
    CHECK_INT(e.code, ERR_INPUT);
    CHECK_HAS(e.message, "run/figure.png");
    CHECK(is_there("run/images/000_poster.png"));
    record_close(&r);
}

static void refuse_record(const char *json, const char *message)
{
    struct record r = {0};
    struct err e = {0};
    write_file("run/run.json", json);
    CHECK(!make_and_begin(&r, true, &e));
    CHECK_INT(e.code, ERR_INPUT);
    CHECK_HAS(e.message, message);
}

static void test_hostile_records(void)
{
    refuse_record("{\"files\": [\"../precious\"]}", "$.files[0]: found \"../precious\"");
    refuse_record("{\"files\": [\"/etc/passwd\"]}", "$.files[0]");
    refuse_record("{\"files\": [7]}", "$.files[0]");
    refuse_record("{}", "files");
    refuse_record("nonsense", "run/run.json: line 1");

    /* a link inside the directory leads nowhere */
    struct record r = {0};
    struct err e = {0};
    mkdir("precious", 0777);
    write_file("precious/file", "mine");
    CHECK(symlink("../precious", "run/link") == 0);
    write_file("run/run.json", "{\"files\": [\"link/file\", \"link\"]}");
    unlink("run/images/000_poster.png");
    unlink("run/figure.png");
    CHECK(make_and_begin(&r, true, &e));
    CHECK(is_there("precious/file"));
    CHECK(!is_there("run/link"));
    record_close(&r);
}

static void test_picture_records(void)
{
    struct record r = {0};
    struct err e = {0};
    const struct image_text *texts;
    CHECK(make_and_begin(&r, true, &e));
    CHECK_INT(record_cell_texts(&r, 0, &texts, &e), 2);
    CHECK_STR(texts[0].keyword, "diffens");
    CHECK_HAS(texts[0].text, "\"seed\": 18446744073709551615");
    CHECK_HAS(texts[0].text, "poster style a \\\"cat\\\"");
    CHECK(!strstr(texts[0].text, "run"));
    CHECK_STR(texts[1].keyword, "parameters");
    CHECK_STR(
        texts[1].text,
        "poster style a \"cat\"\nNegative prompt: blur\nSteps: 20, Sampler: DPM++ 2M "
        "Karras, CFG scale: 7.5, Seed: 18446744073709551615, Size: 192x128, Model: "
        "poster, Version: diffens " DIFFENS_VERSION);
    CHECK_INT(record_cell_texts(&r, 1, &texts, &e), 2);
    CHECK_HAS(texts[1].text,
              "Model: poster + plain, Blend layer: postquant, Blend weights: "
              "0.75 0.25");
    CHECK_HAS(texts[0].text, "\"kind\": \"blend\"");
    CHECK_INT(record_figure_texts(&r, &texts, &e), 1);

    struct record_parent elsewhere = {.model = "model0"};
    struct record_cell cell = parent_cell;
    cell.parents = &elsewhere;
    cell.file = "images/x.png";
    int number = record_add_cell(&r, &cell, &e);
    CHECK_INT(record_cell_texts(&r, number, &texts, &e), 1);
    CHECK(!strstr(texts[0].text, "seed"));
    record_close(&r);
}

static void write_outcome(struct json_writer *w, const void *user)
{
    json_write_open_object(w);
    json_write_key(w, "case");
    json_write_string(w, user);
    json_write_close(w);
}

static void test_optimized_pictures(void)
{
    struct record r = {0};
    struct err e = {0};
    const struct image_text *texts;
    struct options o = options;
    o.command = COMMAND_OPTIMIZE;
    o.optimize = (struct option_optimize){
        .seed = "/home/me/grey.png", .epochs = 800, .rate = 0.35, .crops = "1x1"};
    struct record_about optimizing = about;
    optimizing.options = &o;
    struct record_cell cell = mixed_cell;
    cell.file = "optimize/000_epoch50.png";
    cell.optimized = (struct record_optimized){.which = "preview",
                                               .epoch = 50,
                                               .random_seed = UINT64_MAX,
                                               .perceptual = "l2",
                                               .seed_sha256 = "beef"};
    CHECK(record_open(&r, "run", &optimizing, &e));
    int number = record_add_cell(&r, &cell, &e);
    CHECK_INT(record_cell_texts(&r, number, &texts, &e), 2);
    CHECK_HAS(texts[0].text, "\"kind\": \"optimize\"");
    CHECK_HAS(texts[0].text, "\"result\": \"preview\"");
    CHECK_HAS(texts[0].text, "\"epoch\": 50");
    CHECK_HAS(texts[0].text, "\"seed\": \"grey.png\", \"seed_sha256\": \"beef\"");
    CHECK_HAS(texts[0].text, "\"random_seed\": 18446744073709551615, \"epochs\": 800");
    CHECK_HAS(texts[0].text, "\"perceptual\": \"l2\"");
    CHECK(!strstr(texts[0].text, "home") && !strstr(texts[0].text, "requantize"));
    CHECK_HAS(texts[1].text, "Optimize weights: 0.75 0.25");
    CHECK_HAS(texts[1].text, "Optimize seed: grey.png, Epochs: 50");
    record_close(&r);

    char *path = NULL;
    bool made;
    CHECK(run_directory_make("optimized", "optimize", false, &path, &made, &e));
    CHECK(record_open(&r, path, &optimizing, &e));
    record_set_axes(&r, 1, (char *[]){"000"}, 1, (const char *[]){"poster"});
    CHECK(record_begin(&r, &e));
    CHECK(!record_has_outcome(&r, 0));
    CHECK(record_add_outcome(&r, 0, write_outcome, "000", &e));
    CHECK(record_has_outcome(&r, 0));
    CHECK(record_complete(&r, &e));
    record_close(&r);
    free(path);
    struct json_document d = {0};
    CHECK(json_read(&d, "optimized/run.json", LIMIT_JSON_RECORD, &e));
    CHECK_STR(json_get(json_get(d.root, "optimize")->child, "case")->text, "000");
    json_free(&d);
}

static void test_collisions_and_failures(void)
{
    struct record r = {0};
    struct err e = {0};
    CHECK(record_open(&r, "run", &about, &e));
    CHECK(record_add_cell(&r, &parent_cell, &e) == 0);
    CHECK(record_add_cell(&r, &parent_cell, &e) == 1);
    CHECK(!record_begin(&r, &e));
    CHECK_HAS(e.message, "two pictures with the name images/000_poster.png");
    record_close(&r);

    e = (struct err){0};
    CHECK(make_and_begin(&r, true, &e));
    record_cell_failed(&r, 1, "nonfinite");
    write_file(record_cell_path(&r, 0), "picture");
    CHECK(record_cell_done(&r, 0, NULL, 1, &e));
    CHECK(record_complete(&r, &e));
    record_close(&r);
    struct json_document d = {0};
    CHECK(json_read(&d, "run/run.json", LIMIT_JSON_RECORD, &e));
    CHECK_STR(json_get(d.root, "state")->text, "failed");
    json_free(&d);
}

static void test_many_files(void)
{
    struct record r = {0};
    struct err e = {0};
    char name[32];
    CHECK(record_open(&r, "run", &about, &e));
    CHECK(!record_file_path(&r, "file-0"));
    for (int i = 0; i < 2000; i++) {
        snprintf(name, sizeof name, "file-%d", i % 1000); /* each twice */
        CHECK(record_add_file(&r, name, &e));
    }
    for (int i = 0; i < 1000; i++) {
        char path[40];
        snprintf(name, sizeof name, "file-%d", i);
        snprintf(path, sizeof path, "run/%s", name);
        CHECK_STR(record_file_path(&r, name), path);
    }
    CHECK(!record_file_path(&r, "file-1000"));
    record_close(&r);
}

static void test_missing_weights(void)
{
    struct record r = {0};
    struct err e = {0};
    CHECK(record_open(&r, "run", &about, &e));
    int network = record_add_network(&r, "vqgan", NULL, "vqgan", &e);
    CHECK(!record_add_weights(&r, network, "nothing.bin", "nothing.bin", &e));
    CHECK_INT(e.code, ERR_INPUT);
    CHECK_HAS(e.message, "nothing.bin");
    record_close(&r);
}

int main(void)
{
    if (!mkdtemp(folder) || chdir(folder) != 0)
        return 1;
    RUN(test_numbered_directories);
    RUN(test_directory_errors);
    RUN(test_life_of_a_run);
    RUN(test_stop_before_the_beginning);
    RUN(test_other_run_is_refused);
    RUN(test_force_removes_only_its_own);
    RUN(test_hostile_records);
    RUN(test_picture_records);
    RUN(test_optimized_pictures);
    RUN(test_collisions_and_failures);
    RUN(test_many_files);
    RUN(test_missing_weights);
    char command[300];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command) != 0 || CHECK_EXIT();
}
