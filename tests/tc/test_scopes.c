/* test_scopes.c: the rules of tc.h: who owns what, what a failure does, live handles. */
#include "check.h"
#include "diffens/tc.h"

static tc_scope *open_cpu(void)
{
    struct err e = {0};
    tc_scope *root = tc_open(&(struct tc_settings){.device = "cpu"}, &e);
    CHECK(root != NULL);
    return root;
}

static tc_tensor *numbers(tc_scope *s, int64_t count)
{
    return tc_arange(s, count);
}

static void a_scope_frees_all_but_the_result(void)
{
    tc_scope *root = open_cpu();
    tc_scope *s = tc_push(root);
    tc_tensor *x = numbers(s, 4);
    tc_tensor *sum = tc_add(s, x, tc_scale(s, x, 2));
    CHECK_INT(tc_live_tensors(), 3);
    sum = tc_pop(s, sum);
    CHECK_INT(tc_live_tensors(), 1);
    float out[4];
    CHECK(tc_to_host(root, sum, TC_F32, out, sizeof out));
    CHECK(out[0] == 0 && out[1] == 3 && out[3] == 9);
    tc_close(root);
    CHECK_INT(tc_live_tensors(), 0);
}

static void a_result_of_an_outer_scope_stays_there(void)
{
    tc_scope *root = open_cpu();
    tc_tensor *x = numbers(root, 4);
    tc_scope *s = tc_push(root);
    CHECK(tc_pop(s, x) == x);
    CHECK_INT(tc_live_tensors(), 1);
    tc_close(root);
}

static void closing_frees_scopes_left_open(void)
{
    tc_scope *root = open_cpu();
    tc_scope *s = tc_push(tc_push(root));
    numbers(s, 4);
    tc_rng_new(s, 1);
    tc_close(root);
    CHECK_INT(tc_live_tensors(), 0);
}

static void replace_frees_the_loop_carried_tensor(void)
{
    tc_scope *root = open_cpu();
    tc_tensor *z = numbers(root, 4);
    for (int i = 0; i < 3; i++) {
        tc_scope *s = tc_push(root);
        z = tc_replace(root, z, tc_pop(s, tc_scale(s, z, 2)));
        CHECK_INT(tc_live_tensors(), 1);
    }
    float out[4];
    CHECK(tc_to_host(root, z, TC_F32, out, sizeof out));
    CHECK(out[3] == 24);
    tc_close(root);
}

static void the_first_failure_is_kept_with_its_context(void)
{
    tc_scope *root = open_cpu();
    tc_context(root, "poster");
    tc_scope *s = tc_push(root);
    tc_context(s, "step %d", 12);
    tc_tensor *bad = tc_add(s, numbers(s, 4), numbers(s, 3));
    CHECK(bad == NULL);
    CHECK(!tc_ok(s));
    int64_t before = tc_operations(root);
    CHECK(tc_matmul(s, bad, bad) == NULL);
    CHECK(tc_pop(s, bad) == NULL);
    CHECK_INT(tc_operations(root), before);

    struct err e = {0};
    CHECK(!tc_check(root, &e));
    CHECK_INT(e.code, ERR_BUG);
    CHECK_HAS(e.message, "poster: step 12: add([4] Float, [3] Float): ");
    CHECK(strstr(e.message, "Exception raised from") == NULL);
    CHECK(strchr(e.message, '\n') == NULL);

    tc_recover(root);
    CHECK(tc_ok(root) && numbers(root, 2) != NULL);
    tc_close(root);
    CHECK_INT(tc_live_tensors(), 0);
}

static void sizes_are_never_zero_after_a_failure(void)
{
    CHECK_INT(tc_size(NULL, 3), 1);
    CHECK_INT(tc_numel(NULL), 1);
    CHECK_INT(tc_rank(NULL), 1);
    tc_scope *root = open_cpu();
    tc_tensor *x = tc_zeros(root, TC_F32, SHAPE(2, 3, 5));
    CHECK_INT(tc_size(x, -1), 5);
    CHECK_INT(tc_size(x, 0), 2);
    CHECK_INT(tc_numel(x), 30);
    tc_close(root);
}

static void an_operation_can_be_made_to_fail(void)
{
    tc_scope *root = open_cpu();
    tc_inject_failure(root, 2);
    CHECK(numbers(root, 2) != NULL);
    CHECK(numbers(root, 2) == NULL);
    struct err e = {0};
    CHECK(!tc_check(root, &e));
    CHECK_HAS(e.message, "injected");
    tc_close(root);
    CHECK_INT(tc_live_tensors(), 0);
}

static int to_go; /* operations */

static bool go_on(struct err *e)
{
    return to_go-- > 0 || err_set(e, ERR_STOPPED, "enough");
}

static void operations_can_be_interrupted(void)
{
    tc_scope *root = open_cpu();
    tc_scope *outer = tc_push(root), *s = tc_push(outer);
    tc_interruptible(outer, go_on);
    to_go = 1;
    CHECK(numbers(s, 2) != NULL); /* opened before it was said */
    CHECK(numbers(outer, 2) != NULL);
    s = tc_push(outer);
    tc_context(s, "step 1");
    CHECK(numbers(s, 2) == NULL);
    struct err e = {0};
    CHECK(!tc_check(root, &e));
    CHECK_INT(e.code, ERR_STOPPED);
    CHECK_STR(e.message, "enough");
    tc_recover(root);
    CHECK(numbers(s, 2) == NULL); /* it still says no */
    tc_recover(root);
    CHECK(numbers(root, 2) != NULL);
    tc_interruptible(outer, NULL);
    CHECK(numbers(tc_push(outer), 2) != NULL);
    tc_close(root);
    CHECK_INT(tc_live_tensors(), 0);
}

static void out_of_memory_has_its_own_status(void)
{
    tc_scope *root = open_cpu();
    CHECK(tc_zeros(root, TC_F64, SHAPE(1 << 20, 1 << 20, 1 << 10)) == NULL);
    struct err e = {0};
    tc_check(root, &e);
    CHECK_INT(e.code, ERR_MEMORY);
    tc_close(root);
}

static void a_missing_device_is_refused(void)
{
    const char *names[] = {"cuda:7", "nonsense", "cuda:x", ""};
    for (int i = 0; i < 4; i++) {
        struct err e = {0};
        CHECK(!tc_open(&(struct tc_settings){.device = names[i]}, &e));
        CHECK_INT(e.code, ERR_DEVICE);
        CHECK_HAS(e.message, "device: found \"");
        CHECK(strlen(e.message) < 300); /* not libtorch's list of all its backends */
    }
}

static void auto_falls_back_to_the_cpu(void)
{
    struct err e = {0};
    tc_scope *root = tc_open(&(struct tc_settings){.device = "auto"}, &e);
    CHECK(root && *tc_device(root));
    struct tc_memory memory = tc_memory_stats(root);
    CHECK(memory.total > 0 && memory.free > 0);
    tc_close(root);
}

int main(void)
{
    RUN(a_scope_frees_all_but_the_result);
    RUN(a_result_of_an_outer_scope_stays_there);
    RUN(closing_frees_scopes_left_open);
    RUN(replace_frees_the_loop_carried_tensor);
    RUN(the_first_failure_is_kept_with_its_context);
    RUN(sizes_are_never_zero_after_a_failure);
    RUN(an_operation_can_be_made_to_fail);
    RUN(operations_can_be_interrupted);
    RUN(out_of_memory_has_its_own_status);
    RUN(a_missing_device_is_refused);
    RUN(auto_falls_back_to_the_cpu);
    return CHECK_EXIT();
}
