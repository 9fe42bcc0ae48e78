/* files.h: throw-away directories for the tests of files. */
#ifndef DIFFENS_TESTS_FILES_H
#define DIFFENS_TESTS_FILES_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char files_dir[64];

/* A path in the directory, which the first call makes. Four may be in use at a time. */
static inline const char *in_dir(const char *name)
{
    static char paths[4][512];
    static int next;
    if (!files_dir[0]) {
        strcpy(files_dir, "/tmp/diffens-unit-XXXXXX");
        if (!mkdtemp(files_dir))
            abort();
    }
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", files_dir, name);
    return path;
}

static inline const char *write_file(const char *name, const void *bytes, size_t size)
{
    const char *path = in_dir(name);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(bytes, 1, size, f) != size || fclose(f) != 0)
        abort();
    return path;
}

/* Files in the directory whose names contain `part`. */
static inline int count_files(const char *part)
{
    int count = 0;
    DIR *d = opendir(files_dir);
    for (struct dirent *entry; d && (entry = readdir(d));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            strstr(entry->d_name, part))
            count++;
    if (d)
        closedir(d);
    return count;
}

static inline void remove_dir(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", files_dir);
    if (files_dir[0] && system(command) != 0)
        abort();
}

#endif
