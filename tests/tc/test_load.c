/* test_load.c: tensors from sources: every number once, in order, whatever the type, the
 * layout and the number of threads. */
#include "check.h"
#include "diffens/tc.h"

#include <stdlib.h>

/* Counts up from 0, modulo 251, which every type holds exactly. */
struct counting {
    enum tc_dtype dtype;
    int64_t width, next, rows; /* elements of a row; the next element; rows delivered */
    int64_t fail_at;           /* row; -1: none */
};

static int64_t number(int64_t i)
{
    return i % 251;
}

static uint16_t half(int64_t x)
{
    if (x == 0)
        return 0;
    int exponent = 0;
    while (x >> (exponent + 1))
        exponent++;
    return (uint16_t)((exponent + 15) << 10 | (x << (10 - exponent) & 0x3ff));
}

static void put(const struct counting *c, void *bytes, int64_t i, int64_t value)
{
    switch (c->dtype) {
    case TC_F64:
        ((double *)bytes)[i] = (double)value;
        return;
    case TC_F16:
        ((uint16_t *)bytes)[i] = half(value);
        return;
    case TC_I64:
        ((int64_t *)bytes)[i] = value;
        return;
    case TC_U8:
        ((uint8_t *)bytes)[i] = (uint8_t)value;
        return;
    default:
        ((float *)bytes)[i] = (float)value;
        return;
    }
}

static bool count_up(void *user, int64_t rows, void *bytes, struct err *e)
{
    struct counting *c = user;
    if (c->fail_at >= 0 && c->rows + rows > c->fail_at)
        return err_set(e, ERR_INPUT, "row %lld is not there", (long long)c->fail_at);
    for (int64_t i = 0; i < rows * c->width; i++)
        put(c, bytes, i, number(c->next++));
    c->rows += rows;
    return true;
}

static tc_scope *open_device(const char *name, int threads)
{
    struct err e = {0};
    return tc_open(&(struct tc_settings){.device = name, .threads = threads}, &e);
}

static struct tc_source source_of(struct counting *c, enum tc_dtype stored,
                                  enum tc_dtype wanted, struct tc_shape shape)
{
    *c = (struct counting){.dtype = stored, .width = 1, .fail_at = -1};
    for (int i = 1; i < shape.rank; i++)
        c->width *= shape.dim[i];
    return (struct tc_source){
        .stored = stored, .dtype = wanted, .shape = shape, .read = count_up, .user = c};
}

static bool counts_up(tc_scope *root, tc_tensor *x)
{
    size_t count = (size_t)tc_numel(x), wrong = 0;
    float *out = calloc(count + 1, sizeof *out);
    bool ok = out && tc_to_host(root, x, TC_F32, out, count * sizeof *out);
    for (size_t i = 0; ok && i < count; i++)
        wrong += out[i] != (float)number((int64_t)i);
    free(out);
    return ok && wrong == 0;
}

static void types_and_layouts(void)
{
    static const enum tc_dtype types[][2] = {
        {TC_F32, TC_F32}, {TC_F16, TC_F32}, {TC_F32, TC_F16},
        {TC_F16, TC_F16}, {TC_F64, TC_F32}, {TC_F64, TC_F64},
        {TC_F32, TC_F64}, {TC_I64, TC_I64}, {TC_U8, TC_U8},
    };
    const struct tc_shape shapes[] = {
        {.rank = 0},           SHAPE(7),
        SHAPE(0, 5),           SHAPE(3, 4),
        SHAPE(700, 1100),      SHAPE(5, 3, 3, 3),
        SHAPE(4, 8, 1, 1),     SHAPE(6, 1, 3, 3),
        SHAPE(64, 130, 3, 3),  SHAPE(2, 3, 70000),
        SHAPE(1, 2, 400, 500),
    };
    enum {
        SHAPES = sizeof shapes / sizeof *shapes,
        TYPES = sizeof types / sizeof *types
    };
    for (int threads = 1; threads <= 3; threads += 2) {
        for (int t = 0; t < TYPES; t++) {
            tc_scope *root = open_device("cpu", threads);
            struct counting counting[SHAPES];
            struct tc_source sources[SHAPES];
            for (int i = 0; i < SHAPES; i++)
                sources[i] = source_of(&counting[i], types[t][0], types[t][1], shapes[i]);
            CHECK(tc_load(root, SHAPES, sources));
            for (int i = 0; i < SHAPES; i++) {
                CHECK_INT(tc_dtype_of(sources[i].tensor), types[t][1]);
                CHECK_INT(tc_rank(sources[i].tensor), shapes[i].rank);
                CHECK_INT(counting[i].next, tc_numel(sources[i].tensor));
                CHECK(counts_up(root, sources[i].tensor));
            }
            tc_close(root);
        }
    }
    CHECK_INT(tc_live_tensors(), 0);
}

static void the_first_failure_is_the_sticky_error(void)
{
    for (int threads = 1; threads <= 2; threads++) {
        tc_scope *root = open_device("cpu", threads);
        struct counting counting[3];
        struct tc_source sources[3];
        for (int i = 0; i < 3; i++)
            sources[i] = source_of(&counting[i], TC_F16, TC_F32, SHAPE(9));
        counting[1].fail_at = 4;
        CHECK(!tc_load(root, 3, sources));
        CHECK(!sources[0].tensor && !sources[1].tensor && !sources[2].tensor);
        struct err e = {0};
        tc_check(root, &e);
        CHECK_INT(e.code, ERR_INPUT);
        CHECK_HAS(e.message, "row 4 is not there");
        tc_close(root);
        CHECK_INT(tc_live_tensors(), 0);
    }
}

static void memory_that_is_not_there(void)
{
    tc_scope *root = open_device("cpu", 1);
    struct counting c;
    struct tc_source source =
        source_of(&c, TC_F32, TC_F32, SHAPE(1 << 20, 1 << 20, 1 << 10));
    CHECK(!tc_load(root, 1, &source));
    struct err e = {0};
    tc_check(root, &e);
    CHECK_INT(e.code, ERR_MEMORY);
    CHECK_INT(c.rows, 0);
    tc_close(root);
}

static void shapes_alone_read_nothing(void)
{
    tc_scope *root = open_device("meta", 1);
    struct counting c;
    struct tc_source source = source_of(&c, TC_F16, TC_F32, SHAPE(2, 3, 4, 5));
    CHECK(tc_load(root, 1, &source));
    CHECK_INT(tc_dtype_of(source.tensor), TC_F32);
    CHECK_INT(tc_size(source.tensor, -1), 5);
    CHECK_INT(c.rows, 0);
    tc_close(root);
}

int main(void)
{
    RUN(types_and_layouts);
    RUN(the_first_failure_is_the_sticky_error);
    RUN(memory_that_is_not_there);
    RUN(shapes_alone_read_nothing);
    return CHECK_EXIT();
}
