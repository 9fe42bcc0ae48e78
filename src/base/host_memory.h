/* host_memory.h: how much memory this process may still take: what the machine has, or
 * less where a control group (container, Slurm job) or `ulimit -v` allows less. */
#ifndef DIFFENS_BASE_HOST_MEMORY_H
#define DIFFENS_BASE_HOST_MEMORY_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes; -1 where the system does not say. */
struct host_memory {
    int64_t available; /* without what the system would have to swap out */
    int64_t total;
};

/* Reads /proc and /sys/fs/cgroup below `root`, which is "" but in tests. */
struct host_memory host_memory_read(const char *root);

#ifdef __cplusplus
}
#endif

#endif
