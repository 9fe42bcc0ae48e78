/* fuzz_safetensors.c: the header of a safetensors file. The length in front and the data
 * behind are made to fit, so that what is tried is the text. */
#include "fuzz.h"

#include "io/tensor_file_parts.h"

enum { DATA = 64 };

static void open_whole(const uint8_t *bytes, size_t size)
{
    struct tensor_file t = {0};
    struct err e = {0};
    bool ok = tensor_file_open(&t, fuzz_file(bytes, size), &e);
    fuzz_outcome(ok, &e);
    if (ok)
        fuzz_tensors(&t);
    tensor_file_close(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *file = fuzz_memory(8 + size + DATA);
    for (int i = 0; i < 8; i++)
        file[i] = (uint8_t)((uint64_t)size >> 8 * i);
    if (size)
        memcpy(file + 8, data, size);
    open_whole(file, 8 + size + DATA);
    free(file);
    return 0;
}
