/* replay.c: calls a fuzz target with each file of its corpus, whole and cut short, so
 * that every test run repeats what fuzzing found. Leaves looking for new inputs to
 * libFuzzer. */
#include "fuzz.h"

#include <dirent.h>

enum { LARGEST = 1 << 20, CUTS = 16 };

static void replay_file(const char *path)
{
    static uint8_t bytes[LARGEST];
    FILE *f = fopen(path, "rb");
    if (!f)
        abort();
    size_t size = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    for (size_t cut = 0; cut <= CUTS; cut++) {
        /* in memory of its own, so that a byte read beyond the end is seen */
        size_t length = size - size * cut / CUTS;
        uint8_t *exact = malloc(length ? length : 1);
        if (!exact)
            abort();
        memcpy(exact, bytes, length);
        LLVMFuzzerTestOneInput(exact, length);
        free(exact);
    }
}

int main(int argc, char **argv)
{
    int count = 0;
    DIR *directory = argc == 2 ? opendir(argv[1]) : NULL;
    if (!directory) {
        fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
        return 2;
    }
    for (struct dirent *entry; (entry = readdir(directory));) {
        char path[1024];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", argv[1], entry->d_name);
        replay_file(path);
        count++;
    }
    closedir(directory);
    printf("%d inputs\n", count);
    return count > 0 ? 0 : 1;
}
