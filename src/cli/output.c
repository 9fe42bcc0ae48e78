/* output.c: waits where standard output does not: whoever started the program, or shares
 * the terminal with it, may have made it so. */
#include "cli/output.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

bool output_write(const char *bytes, size_t size)
{
    struct pollfd output = {.fd = STDOUT_FILENO, .events = POLLOUT};
    for (size_t done = 0; done < size;) {
        ssize_t put = write(STDOUT_FILENO, bytes + done, size - done);
        if (put > 0) {
            done += (size_t)put;
            continue;
        }
        if (put == 0)
            errno = ENOSPC;
        if (put == 0 || (errno != EINTR && errno != EAGAIN))
            return false;
        if (errno == EAGAIN)
            poll(&output, 1, -1);
    }
    return true;
}
