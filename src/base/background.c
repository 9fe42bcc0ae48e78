/* background.c: the priority of a thread. Leaves starting it to its owner. */
#include "base/background.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* On Linux a thread has a nice value of its own, which its number names. */
void background_enter(struct background *b)
{
    b->thread = (int)syscall(SYS_gettid);
    if (!b->hurried)
        setpriority(PRIO_PROCESS, (id_t)b->thread, 19);
}

void background_hurry(struct background *b)
{
    b->hurried = true;
    if (b->thread)
        setpriority(PRIO_PROCESS, (id_t)b->thread, getpriority(PRIO_PROCESS, 0));
}
