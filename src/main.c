/* main.c: parse, run the command, print an error once, exit. Leaves all else to src/cli.
 */
#include "base/stop.h"
#include "cli/commands.h"
#include "cli/display.h"
#include "cli/help.h"
#include "cli/pages.h"
#include "cli/parse.h"
#include "io/publish.h"

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

int main(int argc, char **argv)
{
    struct parsed parsed = {0};
    struct err e = {0};

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
