/* fuzz_record.c: what a run directory says of its run: run.json, the journal, the index
 * of hashes. */
#include "fuzz.h"

#include "run/directory.h"
#include "run/former.h"
#include "run/hash_index.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct former_run f = {0};
    struct err e = {0};
    size_t length;
    const uint8_t *part = fuzz_part(&data, &size, &length);
    fuzz_write(RUN_RECORD, part, length);
    part = fuzz_part(&data, &size, &length);
    fuzz_write(RUN_JOURNAL, part, length);
    bool ok = former_run_open(&f, fuzz_directory(), &e);
    fuzz_outcome(ok, &e);
    for (int i = 0; ok && i < f.file_count; i++) {
        const char *file = f.files[i].file;
        FUZZ_CHECK(file[0] && file[0] != '/' && strncmp(file, "../", 3) != 0);
        FUZZ_CHECK(former_run_file(&f, file) != NULL);
    }
    for (int i = 0; ok && i < 3; i++)
        former_run_weights(&f, i - 1, i);
    former_run_close(&f);

    struct hash_index index = {0};
    fuzz_write(RUN_HASHES, data, size);
    hash_index_open(&index, fuzz_directory());
    hash_index_close(&index);
    return 0;
}
