/* test_mixed_devices.c: tensors of two devices never meet, on the accelerator that is
 * really host memory. Leaves whole commands to tests/pipeline/test_accelerator.py. */
#include "check.h"
#include "diffens/tc.h"

static tc_scope *open_device(const char *device)
{
    struct err e = {0};
    tc_scope *root = tc_open(&(struct tc_settings){.device = device}, &e);
    CHECK_STR(e.message, "");
    return root;
}

static void auto_is_the_accelerator(void)
{
    tc_scope *root = open_device("auto");
    CHECK_STR(tc_device(root), "privateuseone:0");
    CHECK(!tc_is_cpu(root));
    tc_close(root);
}

static void memory_is_counted(void)
{
    tc_scope *root = open_device("privateuseone");
    struct tc_memory before = tc_memory_stats(root);
    tc_scope *s = tc_push(root);
    tc_zeros(s, TC_F32, SHAPE(1000));
    CHECK_INT(tc_memory_stats(root).live, before.live + 4000);
    CHECK_INT(tc_memory_stats(root).free, before.free - 4000);
    tc_pop(s, NULL);
    CHECK_INT(tc_memory_stats(root).live, before.live);
    tc_close(root);
}

static void numbers_come_back(void)
{
    tc_scope *root = open_device("privateuseone");
    float out[3];
    tc_tensor *x = tc_scale(root, tc_arange(root, 3), 2);
    CHECK(tc_to_host(root, x, TC_F32, out, sizeof out));
    CHECK(out[0] == 0 && out[1] == 2 && out[2] == 4);
    tc_close(root);
}

/* Each operation of two operands, with the second one elsewhere. */
static void two_devices_do_not_mix(void)
{
    tc_scope *root = open_device("privateuseone"), *host = open_device("cpu");
    tc_tensor *there = tc_zeros(root, TC_F32, SHAPE(1, 4, 8, 8));
    tc_tensor *here = tc_zeros(host, TC_F32, SHAPE(4, 4, 1, 1));
    for (int i = 0; i < 3; i++) {
        struct err e = {0};
        if (i == 0)
            tc_add(root, there, here);
        else if (i == 1)
            tc_conv2d(root, there, here, NULL, 1, 0);
        else
            tc_matmul(root, tc_reshape(root, there, SHAPE(-1, 4)),
                      tc_reshape(host, here, SHAPE(4, 4)));
        CHECK(!tc_check(root, &e));
        CHECK_HAS(e.message, "same device");
        tc_recover(root);
    }
    tc_close(host);
    tc_close(root);
    CHECK_INT(tc_live_tensors(), 0);
}

int main(void)
{
    RUN(auto_is_the_accelerator);
    RUN(memory_is_counted);
    RUN(numbers_come_back);
    RUN(two_devices_do_not_mix);
    return CHECK_EXIT();
}
