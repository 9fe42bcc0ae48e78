/* finite.c: NaN and infinity by their bits: all ones in the exponent. Leaves reading to
 * tensor_file.c. */
#include "io/finite.h"

#include <stdlib.h>
#include <string.h>

#define PIECE ((size_t)4 << 20)

static void count_16(struct nonfinite *found, const void *bytes, size_t count,
                     uint16_t exponent)
{
    int64_t nan = 0, infinite = 0;
    for (size_t i = 0; i < count; i++) {
        uint16_t x;
        memcpy(&x, (const char *)bytes + i * sizeof x, sizeof x);
        x &= 0x7fff;
        nan += x > exponent;
        infinite += x == exponent;
    }
    found->nan += nan;
    found->infinite += infinite;
}

static void count_32(struct nonfinite *found, const void *bytes, size_t count)
{
    int64_t nan = 0, infinite = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t x;
        memcpy(&x, (const char *)bytes + i * sizeof x, sizeof x);
        x &= 0x7fffffff;
        nan += x > 0x7f800000;
        infinite += x == 0x7f800000;
    }
    found->nan += nan;
    found->infinite += infinite;
}

static void count_64(struct nonfinite *found, const void *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t x;
        memcpy(&x, (const char *)bytes + i * sizeof x, sizeof x);
        x &= UINT64_MAX >> 1;
        found->nan += x > 0x7ff0000000000000;
        found->infinite += x == 0x7ff0000000000000;
    }
}

void finite_count(struct nonfinite *found, enum file_dtype dtype, const void *bytes,
                  size_t count)
{
    switch (dtype) {
    case FILE_F64:
        count_64(found, bytes, count);
        return;
    case FILE_F32:
        count_32(found, bytes, count);
        return;
    case FILE_F16:
        count_16(found, bytes, count, 0x7c00);
        return;
    case FILE_BF16:
        count_16(found, bytes, count, 0x7f80);
        return;
    case FILE_I64:
    case FILE_I32:
    case FILE_I16:
    case FILE_I8:
    case FILE_U8:
    case FILE_BOOL:
        return;
    }
}

bool finite_count_entry(struct nonfinite *found, const struct tensor_file *file,
                        const struct tensor_entry *entry, struct err *e)
{
    struct tensor_entry flat = *entry;
    size_t size = file_dtype_size(entry->dtype);
    if (entry->bytes == 0)
        return true;
    if (!entry->strided) { /* a row may be large, an element is not */
        flat.rank = 1;
        flat.dim[0] = (int64_t)(entry->bytes / size);
    }
    struct tensor_reader reader = {.file = file, .entry = &flat};
    int64_t left = flat.rank > 0 ? flat.dim[0] : 1;
    size_t width = (size_t)(entry->bytes / (uint64_t)left);
    int64_t most = width < PIECE ? (int64_t)(PIECE / width) : 1;
    char *bytes = malloc((size_t)(left < most ? left : most) * width);
    bool ok = bytes || err_set(e, ERR_MEMORY, "no host memory to read weights");
    for (; ok && left > 0; left -= most) {
        int64_t rows = left < most ? left : most;
        ok = tensor_reader_next(&reader, rows, bytes, e);
        if (ok)
            finite_count(found, entry->dtype, bytes, (size_t)rows * width / size);
    }
    free(bytes);
    return ok;
}
