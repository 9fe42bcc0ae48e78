/* going_on.c: tells a user whose run was stopped what goes on with it. */
#include "cli/going_on.h"

#include "base/str.h"
#include "run/directory.h"

#include <string.h>

/* Whether --force has still to remove another run. */
static bool must_start_over(const struct options *o, const char *directory, bool begun)
{
    struct err found = {0};
    return o->force && !begun && !run_directory_check_new(directory, &found);
}

/* The command that goes on with the run, or starts it once more. */
static void add_command(struct str *out, const struct options *o, const char *directory,
                        bool over)
{
    bool resume = false;
    for (int i = 0; i < o->argc; i++) {
        if (strcmp(o->argv[i], "--force") == 0 && !over)
            continue;
        resume = resume || strcmp(o->argv[i], "--resume") == 0;
        str_add(out, i ? " " : "");
        str_add_shell(out, o->argv[i]);
    }
    if (!o->out) {
        str_add(out, " --out ");
        str_add_shell(out, directory);
    }
    str_add(out, resume || over ? "" : " --resume");
}

void going_on_hint(struct err *e, const struct options *o, const char *directory,
                   bool begun)
{
    bool over = must_start_over(o, directory, begun);
    const char *kept = over ? "the run that was there is untouched; " : "";
    struct str command = {0};
    add_command(&command, o, directory, over);
    if (command.failed || command.size + 64 > sizeof e->hint)
        err_hint(e, "%sgo on with the same command and --%s --out %s", kept,
                 over ? "force" : "resume", STR_SHOW(directory));
    else
        err_hint(e, "%sgo on with: %s", kept, str_text(&command));
    str_free(&command);
}
