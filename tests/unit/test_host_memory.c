/* test_host_memory.c: what a process may still take, read from made-up /proc and /sys. */
#include "base/host_memory.h"
#include "check.h"
#include "files.h"

#include <sys/stat.h>

#define MIB (1 << 20)

static void put(const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s", in_dir(name));
    for (char *end = path + strlen(files_dir) + 1; (end = strchr(end, '/'));
         *end++ = '/') {
        *end = 0;
        mkdir(path, 0700);
    }
    write_file(name, text, strlen(text));
}

static struct host_memory read_below(const char *name)
{
    return host_memory_read(in_dir(name));
}

static void the_machine(void)
{
    put("m/proc/meminfo", "MemTotal: 4096 kB\nMemFree: 1 kB\nMemAvailable: 2048 kB\n");
    struct host_memory m = read_below("m");
    CHECK_INT(m.total, 4 * MIB);
    CHECK_INT(m.available, 2 * MIB);
}

static void the_tightest_group_counts(void)
{
    put("g/proc/meminfo", "MemTotal: 4096000 kB\nMemAvailable: 2048000 kB\n");
    put("g/proc/self/cgroup", "0::/job/step\n");
    put("g/sys/fs/cgroup/job/memory.max", "10485760\n");
    put("g/sys/fs/cgroup/job/memory.current", "8388608\n");
    put("g/sys/fs/cgroup/job/memory.stat", "anon 5\ninactive_file 1048576\n");
    put("g/sys/fs/cgroup/job/step/memory.max", "max\n");
    struct host_memory m = read_below("g");
    CHECK_INT(m.total, 10 * MIB);
    CHECK_INT(m.available, 3 * MIB);
}

static void groups_of_the_first_generation(void)
{
    put("o/proc/meminfo", "MemTotal: 4096000 kB\nMemAvailable: 2048000 kB\n");
    put("o/proc/self/cgroup", "5:cpu:/x\n4:memory:/job\n");
    put("o/sys/fs/cgroup/memory/job/memory.limit_in_bytes", "3145728\n");
    put("o/sys/fs/cgroup/memory/job/memory.usage_in_bytes", "4194304\n");
    put("o/sys/fs/cgroup/memory/job/memory.stat", "total_inactive_file 0\n");
    struct host_memory m = read_below("o");
    CHECK_INT(m.total, 3 * MIB);
    CHECK_INT(m.available, 0);
}

static void nothing_is_known(void)
{
    struct host_memory m = read_below("nowhere");
    CHECK_INT(m.total, -1);
    CHECK_INT(m.available, -1);
    m = host_memory_read("");
    CHECK(m.available > 0 && m.available <= m.total);
}

int main(void)
{
    RUN(the_machine);
    RUN(the_tightest_group_counts);
    RUN(groups_of_the_first_generation);
    RUN(nothing_is_known);
    return CHECK_EXIT();
}
