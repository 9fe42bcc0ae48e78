/* test_weights.c: names, shapes and what a check finds, on a file written by the test. */
#include "base/stop.h"
#include "check.h"
#include "diffens/nn.h"
#include "io/safetensors.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static char path[] = "/tmp/diffens-weights-XXXXXX.safetensors";
static struct tensor_file file;

static void file_make(void)
{
    static const float matrix[] = {1, 2, 3, 4, 5, 6}, vector[] = {10, 20};
    static const uint16_t halves[] = {0x3c00, 0x4000}; /* 1, 2 */
    static const int64_t integers[] = {3, 4};
    const struct safetensors_tensor tensors[] = {
        {"block.0.fc.weight", FILE_F32, 2, {2, 3}, matrix},
        {"block.0.fc.bias", FILE_F32, 1, {2}, vector},
        {"block.1.norm.weight", FILE_F16, 1, {2}, halves},
        {"spare", FILE_F32, 1, {2}, vector},
        {"whole", FILE_I64, 1, {2}, integers},
    };
    struct err e = {0};
    int fd = mkstemps(path, 12);
    CHECK(fd >= 0 && close(fd) == 0);
    CHECK(safetensors_write(path, tensors, 5, NULL, 0, &e));
    CHECK(tensor_file_open(&file, path, &e));
}

static tc_scope *open_device(const char *device)
{
    struct err e = {0};
    return tc_open(&(struct tc_settings){.device = device}, &e);
}

static weights load(tc_scope *s, weights wanted, enum tc_dtype dtype)
{
    struct err e = {0};
    weights w = weights_load(s, &file, "", wanted, dtype, &e);
    CHECK(w.node != NULL);
    return w;
}

static void layers_find_their_tensors_by_name(void)
{
    tc_scope *root = open_device("cpu");
    weights w = load(root, (weights){NULL}, TC_F32);
    float in[] = {1, 1, 1}, out[2] = {0};
    tc_tensor *x = tc_from_host(root, TC_F32, SHAPE(1, 3), in);
    x = nn_linear(root, w_at(w, "block.%d.fc", 0), x, 2);
    CHECK(tc_to_host(root, x, TC_F32, out, sizeof out));
    CHECK(out[0] == 16 && out[1] == 35);
    char name[32];
    CHECK_STR(w_name(w_at(w_at(w, "block"), "%d.norm", 1), name, sizeof name),
              "block.1.norm");
    weights_unload(w);
    tc_close(root);
}

static void stored_types_become_the_type_asked_for(void)
{
    tc_scope *root = open_device("cpu");
    weights w = load(root, (weights){NULL}, TC_F32);
    tc_tensor *x = w_tensor(root, w_at(w, "block.1.norm.weight"), SHAPE(2));
    float out[2] = {0};
    CHECK_INT(tc_dtype_of(x), TC_F32);
    CHECK(tc_to_host(root, x, TC_F32, out, sizeof out) && out[0] == 1 && out[1] == 2);
    weights_unload(w);
    tc_close(root);
}

static void presence_is_of_tensors_not_of_lookups(void)
{
    tc_scope *root = open_device("cpu");
    weights w = load(root, (weights){NULL}, TC_F32);
    CHECK(w_has(w_at(w, "block.0")));
    CHECK(!w_has(w_at(w, "block.2.fc")));
    CHECK(!w_has(w_at(w, "block.2")));
    weights_unload(w);
    tc_close(root);
}

static void refusal(tc_scope *root, weights at, struct tc_shape shape,
                    const char *message)
{
    struct err e = {0};
    CHECK(w_tensor(root, at, shape) == NULL);
    CHECK(!tc_check(root, &e));
    CHECK_INT(e.code, ERR_INPUT);
    CHECK_STR(e.message, message);
    tc_recover(root);
}

static void wrong_and_missing_tensors_are_named(void)
{
    tc_scope *root = open_device("cpu");
    weights w = load(root, (weights){NULL}, TC_F32);
    refusal(root, w_at(w, "block.%d.fc.bias", 0), SHAPE(7),
            "block.0.fc.bias: found [2], expected [7]");
    refusal(root, w_at(w, "none.x"), SHAPE(4, 5),
            "none.x: found nothing, expected [4,5]");
    refusal(root, w_at(w, "whole"), SHAPE(2),
            "whole: found [2] of I64, expected [2] of a floating-point type");
    weights_unload(w);
    tc_close(root);
}

static void a_check_finds_everything_at_once(void)
{
    tc_scope *meta = open_device("meta");
    weights w = load(meta, (weights){NULL}, TC_F32);
    tc_tensor *x = tc_zeros(meta, TC_F32, SHAPE(1, 3));
    x = nn_linear(meta, w_at(w, "block.0.fc"), x, 5); /* weight and bias do not fit */
    x = nn_linear(meta, w_at(w, "block.2.fc"), x, 2); /* not there */
    x = nn_linear(meta, w_at(w, "block.2.fc"), x, 2); /* counted once */
    w_tensor(meta, w_at(w, "block.1.norm.weight"), SHAPE(2)); /* fits */
    CHECK(tc_ok(meta));
    struct weights_findings f = weights_check(w);
    CHECK_INT(f.mismatched, 2);
    CHECK_INT(f.missing, 2);
    CHECK_INT(f.unused, 2);
    CHECK_STR(f.first_unused, "spare"); /* before "whole" */
    CHECK_HAS(f.wrong, "block.0.fc.weight: found [2,3], expected [5,3]");
    CHECK_INT(f.parameters, 5 * 3 + 5 + 2 * 5 + 2 + 2);
    weights_unload(w);
    tc_close(meta);
}

static void only_what_was_asked_for_is_loaded(void)
{
    tc_scope *meta = open_device("meta"), *root = open_device("cpu");
    weights asked = load(meta, (weights){NULL}, TC_F32);
    w_tensor(meta, w_at(asked, "block.0.fc.bias"), SHAPE(2));
    int64_t before = tc_live_tensors();
    weights w = load(root, asked, TC_F32);
    CHECK_INT(tc_live_tensors() - before, 1);
    CHECK(w_has(w_at(w, "block.0.fc.bias")) && !w_has(w_at(w, "spare")));
    weights_unload(w);
    weights_unload(asked);
    tc_close(root);
    tc_close(meta);
}

static void loading_stops_when_it_is_asked_to(void)
{
    struct err e = {0};
    tc_scope *root = open_device("cpu");
    stop_request(SIGTERM);
    weights w = weights_load(root, &file, "", (weights){NULL}, TC_F32, &e);
    stop_request(0);
    CHECK(!w.node);
    CHECK_INT(e.code, ERR_STOPPED);
    tc_close(root);
}

int main(void)
{
    file_make();
    RUN(layers_find_their_tensors_by_name);
    RUN(stored_types_become_the_type_asked_for);
    RUN(presence_is_of_tensors_not_of_lookups);
    RUN(wrong_and_missing_tensors_are_named);
    RUN(a_check_finds_everything_at_once);
    RUN(only_what_was_asked_for_is_loaded);
    RUN(loading_stops_when_it_is_asked_to);
    tensor_file_close(&file);
    unlink(path);
    CHECK_INT(tc_live_tensors(), 0);
    return CHECK_EXIT();
}
