/* replay.c: calls a fuzz target with each file of its corpus, so that every test run
 * repeats what fuzzing found: whole and cut short; or, with --faults, whole, with one
 * call into the C library that fails after another, once or from then on. Leaves looking
 * for new inputs to libFuzzer. */
#include "fuzz.h"

#include <dirent.h>

enum { LARGEST = 1 << 20, CUTS = 16, MOST_CALLS = 200 };

static long points;

/* In memory of its own, so that a byte read beyond the end is seen. */
static void run(const uint8_t *bytes, size_t size, struct faults *failing)
{
    uint8_t *exact = fuzz_memory(size);
    memcpy(exact, bytes, size);
    fuzz_resume(failing);
    LLVMFuzzerTestOneInput(exact, size);
    fuzz_pause();
    free(exact);
}

static void run_cut(const uint8_t *bytes, size_t size)
{
    for (size_t cut = 0; cut <= CUTS; cut++)
        run(bytes, size - size * cut / CUTS, NULL);
}

/* Where there are more calls than MOST_CALLS, these are spread over them. */
static void run_faulty(const uint8_t *bytes, size_t size)
{
    struct faults whole = {.kind = FAULT_KINDS};
    run(bytes, size, &whole);
    for (int kind = 0; kind < FAULT_KINDS; kind++) {
        long calls = whole.calls[kind];
        long tried = calls < MOST_CALLS ? calls : MOST_CALLS;
        for (long i = 0; i < 2 * tried; i++) {
            struct faults f = {
                .kind = kind, .at = 1 + i / 2 * calls / tried, .onward = i % 2};
            run(bytes, size, &f);
        }
        points += 2 * tried;
    }
    struct faults hiccup = {.kind = FAULT_KINDS, .hiccup = true};
    run(bytes, size, &hiccup);
}

static void replay_file(const char *path, bool faulty)
{
    static uint8_t bytes[LARGEST];
    FILE *f = fopen(path, "rb");
    if (!f)
        abort();
    size_t size = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    if (faulty)
        run_faulty(bytes, size);
    else
        run_cut(bytes, size);
}

int main(int argc, char **argv)
{
    int count = 0;
    bool faulty = argc == 3 && strcmp(argv[1], "--faults") == 0;
    DIR *directory = argc == 2 + faulty ? opendir(argv[1 + faulty]) : NULL;
    if (!directory) {
        fprintf(stderr, "usage: %s [--faults] DIRECTORY\n", argv[0]);
        return 2;
    }
    for (struct dirent *entry; (entry = readdir(directory));) {
        char path[1024];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", argv[1 + faulty], entry->d_name);
        replay_file(path, faulty);
        count++;
    }
    closedir(directory);
    printf("%d inputs", count);
    if (faulty)
        printf(", %ld failing calls", points);
    printf("\n");
    return count > 0 ? 0 : 1;
}
