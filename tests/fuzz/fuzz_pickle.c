/* fuzz_pickle.c: a pickle, and the tensors in it over storages "0" to "2" of 48 bytes. */
#include "fuzz.h"

#include "io/tensor_file_parts.h"
#include "io/torch_file.h"

static void find_tensors(const struct pickle *p)
{
    static const uint8_t zeros[3 * 48];
    struct torch_storage list[] = {
        {"0", 0, 48, -1, -1}, {"1", 48, 48, -1, -1}, {"2", 96, 48, -1, -1}};
    struct torch_storages storages = {list, 3};
    struct tensor_file t = {0};
    struct err e = {0};
    bool ok = tensor_file_add_part(&t, fuzz_file(zeros, sizeof zeros), &e) &&
              torch_tensors_append(&t, p, &storages, &e) && tensor_file_sort(&t, &e);
    fuzz_outcome(ok, &e);
    if (ok)
        fuzz_tensors(&t);
    tensor_file_close(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pickle p = {0};
    struct err e = {0};
    bool ok = pickle_read(&p, data, size, pickle_budget(size), &e);
    fuzz_outcome(ok, &e);
    if (ok) {
        char text[200];
        FUZZ_CHECK(p.size <= size);
        pickle_describe(p.root, text, sizeof text);
        find_tensors(&p);
    }
    pickle_free(&p);
    return 0;
}
