/* host_memory.c: reads the machine's memory and the limits set on this process. Leaves
 * what to do about them to the callers. */
#include "base/host_memory.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { PATH_SIZE = 1024 };

/* The number after `key` at the start of a line; the first number of the file where `key`
 * is
 * "". -1 where there is none ("max" in memory.max). */
static int64_t read_number(const char *path, const char *key)
{
    char line[256];
    int64_t number = -1;
    size_t length = strlen(key);
    FILE *f = fopen(path, "re");
    while (f && number < 0 && fgets(line, sizeof line, f)) {
        char *end, *start = line + length;
        if (strncmp(line, key, length) != 0)
            continue;
        number = strtoll(start, &end, 10);
        if (end == start || number < 0)
            number = -1;
        if (length == 0)
            break;
    }
    if (f)
        fclose(f);
    return number;
}

static void lower(struct host_memory *m, int64_t limit, int64_t used)
{
    if (limit < 0 || used < 0)
        return;
    int64_t available = limit > used ? limit - used : 0;
    if (m->total < 0 || limit < m->total)
        m->total = limit;
    if (m->available < 0 || available < m->available)
        m->available = available;
}

/* File names of the two generations of control groups (kernel: cgroup-v2.rst,
 * memory.rst). */
static const struct group_files {
    const char *mount, *limit, *usage, *cache;
} generations[] = {
    {"", "memory.max", "memory.current", "inactive_file "},
    {"memory/", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "},
};

/* One group: its files hold cached pages, too, which go when they are needed. */
static void lower_by_group(struct host_memory *m, const char *folder,
                           const struct group_files *names)
{
    char path[PATH_SIZE + 64];
    snprintf(path, sizeof path, "%s/%s", folder, names->limit);
    int64_t limit = read_number(path, "");
    snprintf(path, sizeof path, "%s/%s", folder, names->usage);
    int64_t used = read_number(path, "");
    snprintf(path, sizeof path, "%s/memory.stat", folder);
    int64_t cached = read_number(path, names->cache);
    lower(m, limit, cached > 0 && cached < used ? used - cached : used);
}

/* The group of this process and all around it: any of them may set the limit. In a
 * container the outermost folder is the container's own. */
static void lower_by_groups(struct host_memory *m, const char *root)
{
    char path[PATH_SIZE], line[PATH_SIZE];
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        char *controllers = strchr(line, ':');
        char *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group)
            continue;
        *group++ = 0;
        bool second = controllers[1] == 0;
        if (!second && strcmp(controllers + 1, "memory") != 0)
            continue;
        const struct group_files *names = &generations[second ? 0 : 1];
        for (char *end = group + strlen(group); end >= group; end--) {
            if (*end != 0 && *end != '/')
                continue;
            *end = 0;
            if (snprintf(path, sizeof path, "%s/sys/fs/cgroup/%s%s", root, names->mount,
                         group) < (int)sizeof path)
                lower_by_group(m, path, names);
        }
    }
    if (f)
        fclose(f);
}

static void lower_by_address_space(struct host_memory *m)
{
    struct rlimit limit;
    int64_t pages = read_number("/proc/self/statm", "");
    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        lower(m, (int64_t)limit.rlim_cur, pages * sysconf(_SC_PAGESIZE));
}

struct host_memory host_memory_read(const char *root)
{
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "%s/proc/meminfo", root);
    int64_t total = read_number(path, "MemTotal:");
    int64_t available = read_number(path, "MemAvailable:");
    struct host_memory m = {available < 0 ? -1 : available << 10,
                            total < 0 ? -1 : total << 10};
    lower_by_groups(&m, root);
    lower_by_address_space(&m);
    return m;
}
