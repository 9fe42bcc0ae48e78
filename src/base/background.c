/* background.c: the priority of a thread. Leaves starting it to its owner. */
#include "base/background.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

void background_enter(void)
{
    /* On Linux a thread has a nice value of its own, which its number names. */
    setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), 19);
}
