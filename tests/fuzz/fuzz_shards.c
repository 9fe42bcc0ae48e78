/* fuzz_shards.c: an .index.json beside two shards. */
#include "fuzz.h"

static const char shard_a[] =
    "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}    1234";
static const char shard_b[] =
    "{\"b\":{\"dtype\":\"U8\",\"shape\":[2,2],\"data_offsets\":[0,4]}}  1234";

static void write_shard(const char *name, const char *text, size_t length)
{
    uint8_t file[256] = {(uint8_t)(length - 4)};
    memcpy(file + 8, text, length);
    fuzz_write(name, file, 8 + length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tensor_file t = {0};
    struct err e = {0};
    if (!fuzz_folder[0]) {
        write_shard("a.safetensors", shard_a, sizeof shard_a - 1);
        write_shard("b.safetensors", shard_b, sizeof shard_b - 1);
    }
    bool ok =
        tensor_file_open(&t, fuzz_write("model.safetensors.index.json", data, size), &e);
    fuzz_outcome(ok, &e);
    if (ok)
        fuzz_tensors(&t);
    tensor_file_close(&t);
    return 0;
}
