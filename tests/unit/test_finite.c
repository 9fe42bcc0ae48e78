/* test_finite.c: numbers that are not finite, by type, and in files larger than a piece.
 */
#include "io/finite.h"

#include "io/safetensors.h"

#include "check.h"
#include "files.h"

#include <math.h>
#include <stdlib.h>

static struct nonfinite count(enum file_dtype dtype, const void *bytes, size_t n)
{
    struct nonfinite found = {0};
    finite_count(&found, dtype, bytes, n);
    return found;
}

static void test_types(void)
{
    const double f64[] = {0, -INFINITY, NAN, 1e308, INFINITY};
    const float f32[] = {-0.0f, NAN, 3e38f, -NAN, INFINITY};
    const uint16_t f16[] = {0x7bff, 0xfbff, 0x7c00, 0xfc00, 0x7c01, 0xffff, 0x0001};
    const uint16_t bf16[] = {0x7f7f, 0x7f80, 0xff80, 0x7f81, 0xffff, 0x7c00};
    const int32_t i32[] = {0x7f800000, -1};
    CHECK_INT(count(FILE_F64, f64, 5).infinite, 2);
    CHECK_INT(count(FILE_F64, f64, 5).nan, 1);
    CHECK_INT(count(FILE_F32, f32, 5).infinite, 1);
    CHECK_INT(count(FILE_F32, f32, 5).nan, 2);
    CHECK_INT(count(FILE_F16, f16, 7).infinite, 2);
    CHECK_INT(count(FILE_F16, f16, 7).nan, 2);
    CHECK_INT(count(FILE_BF16, bf16, 6).infinite, 2);
    CHECK_INT(count(FILE_BF16, bf16, 6).nan, 2);
    CHECK_INT(count(FILE_I32, i32, 2).nan + count(FILE_I32, i32, 2).infinite, 0);
}

/* The last element of the last of several pieces. */
static void test_file(void)
{
    enum { COUNT = (9 << 20) / 4 + 3 };
    struct err e = {0};
    float *numbers = calloc(COUNT, sizeof *numbers);
    numbers[COUNT - 1] = NAN;
    numbers[COUNT / 2] = -INFINITY;
    struct safetensors_tensor tensors[] = {
        {"big", FILE_F32, 2, {COUNT / 3, 3}, numbers},
        {"none", FILE_F32, 1, {0}, numbers},
        {"scalar", FILE_F32, 0, {0}, &numbers[COUNT / 2]},
    };
    CHECK(COUNT % 3 == 0);
    CHECK(safetensors_write(in_dir("finite.safetensors"), tensors, 3, NULL, 0, &e));
    struct tensor_file file;
    CHECK(tensor_file_open(&file, in_dir("finite.safetensors"), &e));
    const int expected[][2] = {{1, 1}, {0, 0}, {0, 1}};
    for (size_t i = 0; i < 3; i++) {
        struct nonfinite found = {0};
        CHECK(finite_count_entry(&found, &file, &file.entries[i], &e));
        CHECK_INT(found.nan, expected[i][0]);
        CHECK_INT(found.infinite, expected[i][1]);
    }
    tensor_file_close(&file);
    free(numbers);
}

int main(void)
{
    RUN(test_types);
    RUN(test_file);
    remove_dir();
    return CHECK_EXIT();
}
