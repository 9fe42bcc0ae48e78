/* test_crops.c: which windows are drawn, and how they are spelled. What is cut from them
 * is held against PyTorch in tests/parity/test_optimize.py. */
#include "check.h"
#include "stages/crops.h"

static tc_scope *root;

static struct crops opened(const char *spec, int pool, uint64_t seed, int64_t height,
                           int64_t width)
{
    struct crops c = {0};
    struct crop_spec parsed;
    struct err e = {0};
    CHECK(crop_spec_parse(&parsed, spec, &e));
    CHECK(crops_open(&c, root, &parsed, pool, seed, height, width, 32, TC_F32, &e));
    CHECK_STR(e.message, "");
    return c;
}

static void a_spec_is_counts_and_scales(void)
{
    struct crop_spec spec;
    struct err e = {0};
    CHECK(crop_spec_parse(&spec, "1x1,8x0.25,16x.125", &e));
    CHECK_INT(spec.group_count, 3);
    CHECK(spec.group[0].count == 1 && spec.group[0].scale == 1);
    CHECK(spec.group[2].count == 16 && spec.group[2].scale == 0.125);
}

static void other_specs_are_refused(void)
{
    const char *wrong[] = {"",         ",",       "1x",
                           "x1",       "1",       "-1x1",
                           "1x-1",     "1x0",     "1x1.01",
                           "1 x1",     "1x 1",    "1x1 ",
                           "1x0x1",    "1x0.5.5", "1x1e-1",
                           "1xinf",    "0x0.5",   "1025x1",
                           "1x1,,1x1", "1x.",     "1x1,1x1,1x1,1x1,1x1,1x1,1x1,1x1,1x1"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct crop_spec spec;
        struct err e = {0};
        if (crop_spec_parse(&spec, wrong[i], &e))
            CHECK_STR(wrong[i], "refused");
        CHECK_INT(e.code, ERR_USAGE);
    }
}

static void windows_lie_in_the_picture(void)
{
    struct crops c = opened("1x1,8x0.5,16x0.125", 512, 42, 64, 96);
    CHECK_INT(c.group[0].side, 64);
    CHECK_INT(c.group[2].side, 8);
    for (int g = 0; g < c.group_count; g++) {
        for (int i = c.group[g].first; i < c.group[g].first + c.group[g].pool; i++) {
            CHECK(c.top[i] >= 0 && c.top[i] + c.group[g].side <= 64);
            CHECK(c.left[i] >= 0 && c.left[i] + c.group[g].side <= 96);
        }
    }
    crops_close(&c);
}

static void the_pool_is_shared_by_count_and_bounded_by_positions(void)
{
    struct crops c = opened("1x1,8x0.25,16x0.125", 500, 42, 64, 64);
    CHECK_INT(c.group[0].pool, 1); /* one position only */
    CHECK_INT(c.group[1].pool, 160);
    CHECK_INT(c.group[2].pool, 320);
    CHECK_INT(c.total, 25);
    crops_close(&c);
    c = opened("4x1,8x0.5", 1, 42, 64, 64);
    CHECK_INT(c.group[0].count, 1);
    CHECK_INT(c.group[1].pool, 8); /* never less than an epoch needs */
    crops_close(&c);
}

static void epochs_draw_distinct_windows_by_seed_and_number(void)
{
    struct crops c = opened("1x1,8x0.5,16x0.25", 100, 42, 64, 64);
    int first[25], again[25], next[25], other[25], seen[128] = {0};
    crops_draw(&c, 42, 7, first);
    crops_draw(&c, 42, 7, again);
    crops_draw(&c, 42, 8, next);
    crops_draw(&c, 43, 7, other);
    CHECK(memcmp(first, again, sizeof first) == 0);
    CHECK(memcmp(first, next, sizeof first) != 0);
    CHECK(memcmp(first, other, sizeof first) != 0);
    for (int i = 0; i < 25; i++)
        CHECK_INT(seen[first[i]]++, 0);
    CHECK(first[0] == 0 && first[8] < c.group[2].first && first[9] >= c.group[2].first);

    memset(seen, 0, sizeof seen);
    for (int epoch = 0; epoch < 200; epoch++) {
        crops_draw(&c, 42, epoch, next);
        for (int i = 0; i < 25; i++)
            seen[next[i]]++;
    }
    for (int i = 1; i < c.pool; i++) /* 200 epochs, a quarter of the pool in each */
        CHECK(seen[i] > 20 && seen[i] < 100);
    crops_close(&c);
}

static void shares_are_means_of_means(void)
{
    struct crops c = opened("1x1,4x0.5", 64, 42, 64, 64);
    double shares[5];
    crops_shares(&c, shares);
    CHECK(shares[0] == 0.5 && shares[1] == 0.125 && shares[4] == 0.125);
    crops_close(&c);
}

int main(void)
{
    struct err e = {0};
    root = tc_open(&(struct tc_settings){.device = "cpu", .threads = 1}, &e);
    CHECK(root != NULL);
    RUN(a_spec_is_counts_and_scales);
    RUN(other_specs_are_refused);
    RUN(windows_lie_in_the_picture);
    RUN(the_pool_is_shared_by_count_and_bounded_by_positions);
    RUN(epochs_draw_distinct_windows_by_seed_and_number);
    RUN(shares_are_means_of_means);
    tc_close(root);
    CHECK_INT(tc_live_tensors(), 0);
    return CHECK_EXIT();
}
