/* fuzz.h: what the fuzz targets share: files in memory, a throw-away directory, inputs
 * of several parts. Leaves making inputs up to libFuzzer (scripts/fuzz) or replay.c. */
#ifndef DIFFENS_TESTS_FUZZ_H
#define DIFFENS_TESTS_FUZZ_H

#include "diffens/error.h"
#include "diffens/tensor_file.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Calls of the parsers into the C library that are made to fail; not with libFuzzer. */
#ifdef DIFFENS_FAULTS
#include "inject/faults.h"
#else
static struct faults *faults;
#endif

/* What each fuzz_NAME.c defines; libFuzzer's name. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A promise that does not hold is a finding like a crash. */
#define FUZZ_CHECK(condition)                                                            \
    do {                                                                                 \
        if (!(condition)) {                                                              \
            fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #condition);      \
            abort();                                                                     \
        }                                                                                \
    } while (0)

/* The target's own calls never fail: from here to fuzz_resume(). */
static inline struct faults *fuzz_pause(void)
{
    struct faults *paused = faults;
    faults = NULL;
    return paused;
}

static inline void fuzz_resume(struct faults *paused)
{
    faults = paused;
}

/* Every outcome is a success, or a refusal on one printable line. */
static inline void fuzz_outcome(bool ok, const struct err *e)
{
    bool refused = e->code == ERR_INPUT || (faults && e->code == ERR_MEMORY);
    FUZZ_CHECK(ok == (e->code == ERR_OK));
    FUZZ_CHECK(ok || (refused && e->message[0]));
    for (const char *c = e->message; *c; c++)
        FUZZ_CHECK((unsigned char)*c >= ' ' && *c != 0x7f);
}

/* A regular file that holds the bytes; its path stays valid until the next call. */
static inline const char *fuzz_file(const uint8_t *data, size_t size)
{
    static char path[64];
    static int fd = -1;
    struct faults *paused = fuzz_pause();
    if (fd < 0)
        fd = memfd_create("fuzz", 0);
    if (fd < 0 || ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
        abort();
    fuzz_resume(paused);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return path;
}

static char fuzz_folder[64];

static inline void fuzz_remove_folder(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", fuzz_folder);
    if (system(command) != 0)
        abort();
}

/* A directory for formats of several files, removed at the end. */
static inline const char *fuzz_directory(void)
{
    if (!fuzz_folder[0]) {
        strcpy(fuzz_folder, access("/dev/shm", W_OK) == 0 ? "/dev/shm/fuzz-XXXXXX"
                                                          : "/tmp/fuzz-XXXXXX");
        if (!mkdtemp(fuzz_folder))
            abort();
        atexit(fuzz_remove_folder);
    }
    return fuzz_folder;
}

/* Writes a file of that directory; its path stays valid until the next call. */
static inline const char *fuzz_write(const char *name, const uint8_t *data, size_t size)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", fuzz_directory(), name);
    struct faults *paused = fuzz_pause();
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size || close(fd) != 0)
        abort();
    fuzz_resume(paused);
    return path;
}

/* Cuts the next part off an input whose parts end with a byte 0xFF, which no text has. */
static inline const uint8_t *fuzz_part(const uint8_t **data, size_t *size,
                                       size_t *part_size)
{
    const uint8_t *part = *data, *end = *size ? memchr(part, 0xff, *size) : NULL;
    *part_size = end ? (size_t)(end - part) : *size;
    *data = part + *part_size + (end != NULL);
    *size -= *part_size + (end != NULL);
    return part;
}

/* Memory of the target's own, for free(). */
static inline void *fuzz_memory(size_t size)
{
    struct faults *paused = fuzz_pause();
    void *memory = calloc(1, size ? size : 1);
    if (!memory)
        abort();
    fuzz_resume(paused);
    return memory;
}

/* Each tensor of an accepted file lies within it, and its bytes can be read or are
 * refused for a checksum. */
static inline void fuzz_tensors(const struct tensor_file *t)
{
    enum { MOST = 1 << 20 };
    for (size_t i = 0; i < t->count; i++) {
        const struct tensor_entry *entry = &t->entries[i];
        struct err e = {0};
        FUZZ_CHECK(entry->rank >= 0 && entry->rank <= FILE_MAX_RANK);
        FUZZ_CHECK(entry->part >= 0 && entry->part < t->part_count);
        FUZZ_CHECK(entry->offset <= t->parts[entry->part].size);
        FUZZ_CHECK(i == 0 || strcmp(t->entries[i - 1].name, entry->name) < 0);
        FUZZ_CHECK(tensor_file_find(t, entry->name) == entry);
        if (entry->bytes > MOST)
            continue;
        char *bytes = fuzz_memory((size_t)entry->bytes);
        fuzz_outcome(tensor_file_read(t, entry, bytes, &e), &e);
        free(bytes);
    }
}

#endif
