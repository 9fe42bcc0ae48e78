/* fuzz_npy.c: the image tensor's .npy file. */
#include "fuzz.h"

#include "diffens/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct image_tensor t = {0};
    struct image image = {0};
    struct err e = {0};
    bool ok = image_tensor_open(&t, fuzz_file(data, size), &e);
    fuzz_outcome(ok, &e);
    if (ok)
        fuzz_outcome(image_tensor_read(&t, t.cases - 1, t.models - 1, &image, &e), &e);
    image_free(&image);
    image_tensor_close(&t, &e);
    return 0;
}
