/* main.c: parse, run the command, print an error once, exit. Leaves all else to src/cli.
 */
#include "base/stop.h"
#include "cli/commands.h"
#include "cli/display.h"
#include "cli/help.h"
#include "cli/pages.h"
#include "cli/parse.h"
#include "io/publish.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

static bool print_help(const struct parsed *parsed, struct err *e)
{
    struct str text = {0};
    if (parsed->page)
        page_add(&text, parsed->page);
    else
        help_add(&text, parsed->command, parsed->brief);
    bool ok = help_print(&text, e);
    str_free(&text);
    return ok;
}

static bool print_version(struct err *e)
{
    struct str text = {0};
    version_add(&text);
    bool ok = help_print(&text, e);
    str_free(&text);
    return ok;
}

/* A file that is opened must not get the number of a closed stream, or what is printed
 * would end up in it. The wrong way round, so that using the stream is still an error. */
static void occupy_closed_streams(void)
{
    static const int flags[] = {O_WRONLY, O_RDONLY, O_RDONLY};
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", flags[fd]) < 0)
            exit(ERR_OUTPUT);
}

int main(int argc, char **argv)
{
    struct parsed parsed = {0};
    struct err e = {0};

    occupy_closed_streams();
    stop_install(publish_unlink_live);
    atexit(publish_unlink_live);
    switch (options_parse(argc, argv, &parsed, &e)) {
    case PARSE_RUN:
        parsed.command->run(&parsed.options, &e);
        break;
    case PARSE_HELP:
        print_help(&parsed, &e);
        break;
    case PARSE_VERSION:
        print_version(&e);
        break;
    case PARSE_ERROR:
        break;
    }
    if (e.code != ERR_OK)
        display_error(&parsed.options, &e);
    options_free(&parsed.options);
    if (e.code == ERR_STOPPED)
        stop_interrupt();
    return e.code;
}
