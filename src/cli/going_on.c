/* going_on.c: tells a user whose run was stopped what goes on with it. */
#include "cli/going_on.h"

#include "base/str.h"

#include <string.h>

/* The command that goes on with the run. */
static void add_command(struct str *out, const struct options *o, const char *directory)
{
    bool resume = false;
    for (int i = 0; i < o->argc; i++) {
        if (strcmp(o->argv[i], "--force") == 0)
            continue;
        resume = resume || strcmp(o->argv[i], "--resume") == 0;
        str_add(out, i ? " " : "");
        str_add_shell(out, o->argv[i]);
    }
    if (!o->out) {
        str_add(out, " --out ");
        str_add_shell(out, directory);
    }
    str_add(out, resume ? "" : " --resume");
}

void going_on_hint(struct err *e, const struct options *o, const char *directory)
{
    struct str command = {0};
    add_command(&command, o, directory);
    if (command.failed || command.size + 32 > sizeof e->hint)
        err_hint(e, "go on with the same command and --resume --out %s",
                 STR_SHOW(directory));
    else
        err_hint(e, "go on with: %s", str_text(&command));
    str_free(&command);
}
