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

/* How much of an entry is read at a time: a number of elements where they lie in a row,
 * else of the first dimension's rows. */
struct pieces {
    struct tensor_entry piece;
    uint64_t unit, step; /* bytes of one, and from one to the next in the file */
    uint64_t left, most;
};

static struct pieces cut(const struct tensor_entry *entry)
{
    struct pieces p = {.piece = *entry};
    uint64_t size = file_dtype_size(entry->dtype);
    bool by_row = entry->strided && entry->rank > 0 && entry->dim[0] > 0;
    p.unit = by_row ? entry->bytes / (uint64_t)entry->dim[0] : size;
    p.step = by_row ? (uint64_t)entry->stride[0] * size : size;
    p.left = p.unit ? entry->bytes / p.unit : 0;
    p.most = p.unit > 0 && p.unit < PIECE ? PIECE / p.unit : 1;
    if (!by_row)
        p.piece.rank = 1;
    return p;
}

bool finite_count_entry(struct nonfinite *found, const struct tensor_file *file,
                        const struct tensor_entry *entry, struct err *e)
{
    struct pieces p = cut(entry);
    char *bytes =
        malloc((size_t)(p.left < p.most ? p.left : p.most) * (size_t)p.unit + 1);
    bool ok = bytes || err_set(e, ERR_MEMORY, "no host memory to read weights");
    while (ok && p.left > 0) {
        uint64_t count = p.left < p.most ? p.left : p.most;
        p.piece.dim[0] = (int64_t)count;
        p.piece.bytes = count * p.unit;
        ok = tensor_file_read(file, &p.piece, bytes, e);
        if (ok)
            finite_count(found, entry->dtype, bytes,
                         (size_t)p.piece.bytes / file_dtype_size(entry->dtype));
        p.piece.offset += count * p.step;
        p.left -= count;
    }
    free(bytes);
    return ok;
}
