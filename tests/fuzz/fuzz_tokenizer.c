/* fuzz_tokenizer.c: vocab.json, merges.txt, a prompt and special_tokens_map.json; without
 * the first, the second is tokenizer.json. */
#include "fuzz.h"

#include "diffusion/tokenizer.h"

enum { IDS = 77 };

static void encode(const struct tokenizer *t, const char *prompt)
{
    int64_t ids[IDS];
    struct token_info info = {0};
    struct err e = {0};
    bool ok = tokenizer_encode(t, prompt, ids, IDS, &info, &e);
    fuzz_outcome(ok, &e);
    for (int i = 0; ok && i < IDS; i++)
        FUZZ_CHECK(ids[i] >= 0 && ids[i] < tokenizer_vocab_size(t));
    free(info.dropped);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool whole = size == 0 || data[0] == 0xff;
    const char *const files[] = {"vocab.json", whole ? "tokenizer.json" : "merges.txt",
                                 "prompt", "special_tokens_map.json"};
    char *prompt = NULL;
    struct err e = {0};
    for (int i = 0; i < 4; i++) {
        size_t length;
        const uint8_t *part = fuzz_part(&data, &size, &length);
        if (i != 2)
            fuzz_write(files[i], length || i < 2 ? part : (const uint8_t *)"{}",
                       length || i < 2 ? length : 2);
        else
            memcpy(prompt = fuzz_memory(length + 1), part, length);
    }
    if (whole)
        remove(fuzz_write("vocab.json", data, 0));
    struct tokenizer *t = tokenizer_load(fuzz_directory(), &e);
    fuzz_outcome(t != NULL, &e);
    if (t)
        encode(t, prompt);
    tokenizer_free(t);
    free(prompt);
    return 0;
}
