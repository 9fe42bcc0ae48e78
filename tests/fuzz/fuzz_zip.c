/* fuzz_zip.c: the directory of a zip archive. */
#include "fuzz.h"

#include "io/tensor_file_parts.h"
#include "io/zip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tensor_file t = {0};
    struct zip z = {0};
    struct err e = {0};
    const struct tensor_part *part = tensor_file_add_part(&t, fuzz_file(data, size), &e);
    bool ok = part && zip_read(&z, part, &e);
    fuzz_outcome(ok, &e);
    for (size_t i = 0; ok && i < z.count; i++) {
        FUZZ_CHECK(z.entries[i].offset <= size);
        FUZZ_CHECK(z.entries[i].size <= size - z.entries[i].offset);
    }
    zip_free(&z);
    tensor_file_close(&t);
    return 0;
}
