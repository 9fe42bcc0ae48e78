/* fuzz_tensors.c: whole weight files: safetensors, PyTorch's zip archives and legacy
 * streams; the file's beginning says which. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tensor_file t = {0};
    struct err e = {0};
    bool ok = tensor_file_open(&t, fuzz_file(data, size), &e);
    fuzz_outcome(ok, &e);
    if (ok)
        fuzz_tensors(&t);
    tensor_file_close(&t);
    return 0;
}
