/* fuzz_prompts.c: prompt files. The first byte says which: 't' a text, others JSON. */
#include "fuzz.h"

#include "io/limits.h"
#include "models/prompts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int selection[] = {0, 2};
    static const char *const templates[] = {"{}", "poster of {}"};
    struct progress progress = {0};
    struct prompts p = {0};
    struct err e = {0};
    if (size == 0)
        return 0;
    struct prompts_source source = {.negative = "blurry",
                                    .random_seed = 42,
                                    .ensemble_models = 3,
                                    .models = 2,
                                    .selection = selection,
                                    .templates = templates};
    source.file = fuzz_write(data[0] == 't' ? "p.txt" : "p.json", data + 1, size - 1);
    bool ok = prompts_read(&p, &source, &progress, &e);
    fuzz_outcome(ok, &e);
    for (int64_t n = 0; ok && n < p.cases; n++) {
        FUZZ_CHECK(p.names[n][0] && !strchr(p.names[n], '/') && p.names[n][0] != '.');
        for (int64_t m = 0; m < p.models; m++)
            FUZZ_CHECK(strlen(prompts_text(&p, n, m)) <= limit_of(LIMIT_PROMPT) + 16);
    }
    prompts_free(&p);
    return 0;
}
