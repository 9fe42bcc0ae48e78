/* tokenizer_driver.c: encodes strings for test_tokenizer.py, which compares with the
 * reference. Knows nothing of what is expected.
 *
 * Usage: tokenizer_driver DIRECTORY MAX_LENGTH STRINGS IDS DROPPED
 * STRINGS: NUL-terminated prompts. Writes for each: to IDS its count of tokens before
 * anything was cut and MAX_LENGTH ids, int64; to DROPPED the text that was cut and a NUL.
 */
#include "diffusion/tokenizer.h"
#include "io/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool encode_all(const struct tokenizer *t, const char *strings, size_t size,
                       int max_length, FILE *out, FILE *out_dropped, struct err *e)
{
    int64_t *ids = calloc((size_t)max_length, sizeof *ids);
    bool ok = ids != NULL;
    for (const char *s = strings; ok && s < strings + size; s += strlen(s) + 1) {
        struct token_info info;
        ok = tokenizer_encode(t, s, ids, max_length, &info, e);
        int64_t count = (int64_t)info.count;
        const char *dropped = info.dropped ? info.dropped : "";
        ok = ok && fwrite(&count, sizeof count, 1, out) == 1 &&
             fwrite(ids, sizeof *ids, (size_t)max_length, out) == (size_t)max_length &&
             fwrite(dropped, strlen(dropped) + 1, 1, out_dropped) == 1;
        free(info.dropped);
    }
    free(ids);
    return ok;
}

int main(int argc, char **argv)
{
    struct err e = {0};
    char *strings = NULL;
    size_t size;
    if (argc != 6)
        return 2;
    struct tokenizer *t = tokenizer_load(argv[1], &e);
    FILE *out = fopen(argv[4], "wb"), *dropped = fopen(argv[5], "wb");
    bool ok = t && out && dropped &&
              file_read_all(argv[3], LIMIT_JSON_RECORD, &strings, &size, &e) &&
              encode_all(t, strings, size, atoi(argv[2]), out, dropped, &e);
    ok = out && fclose(out) == 0 && ok;
    ok = dropped && fclose(dropped) == 0 && ok;
    if (!ok)
        fprintf(stderr, "tokenizer_driver: %s\n", e.message);
    free(strings);
    tokenizer_free(t);
    return ok ? 0 : 1;
}
