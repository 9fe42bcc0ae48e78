/* inspect.c: `diffens inspect`. Finds the record of a picture or run. Leaves printing it
 * to inspect_text.c and command lines to inspect_picture.c and command_line.c. */
#include "cli/inspect.h"

#include "cli/commands.h"
#include "cli/help.h"
#include "diffens/image.h"
#include "io/config.h"
#include "io/json_write.h"
#include "io/limits.h"
#include "run/directory.h"
#include "run/former.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* *run says which of the two it is. */
static bool read_record(struct json_document *d, const char *path, bool *run,
                        struct err *e)
{
    struct stat st;
    bool folder = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    *run = folder || str_ends_with(path, ".json");
    if (*run) {
        char *file = folder ? str_path(path, RUN_RECORD) : str_dup(path);
        bool ok = file ? json_read(d, file, LIMIT_JSON_RECORD, e)
                       : err_set(e, ERR_MEMORY, "no host memory for a record");
        free(file);
        return ok;
    }
    char *text = image_read_png_text(path, "diffens", e);
    bool ok = text && json_parse(d, path, text, strlen(text), e);
    free(text);
    return ok;
}

static void add_json(struct str *out, const struct json *record)
{
    struct json_writer w = {.out = out, .indent = 2};
    json_write_value(&w, record);
    /* Controls above U+007F act on a terminal too: all of it as ASCII, then. */
    bool lines_are_printable = true;
    for (char *line = out->bytes, *end; line && *line; line = end + (*end == '\n')) {
        end = line + strcspn(line, "\n");
        char kept = *end;
        *end = '\0';
        lines_are_printable = lines_are_printable && str_is_printable(line);
        *end = kept;
    }
    if (!lines_are_printable) {
        str_clear(out);
        w = (struct json_writer){.out = out, .indent = 2, .ascii = true};
        json_write_value(&w, record);
    }
    str_add(out, "\n");
}

static bool add_command(struct str *out, const struct json *record, bool run,
                        struct err *e)
{
    bool ok = run ? inspect_run_command(out, record, e)
                  : inspect_picture_command(out, record, e);
    str_add(out, "\n");
    return ok;
}

static bool add_text(struct str *out, const struct json *record, bool run, struct err *e)
{
    if (run)
        return inspect_run_text(out, record, e);
    inspect_picture_text(out, record);
    return true;
}

bool command_inspect(const struct options *o, struct err *e)
{
    struct json_document d = {0};
    struct str out = {0};
    const char *path = o->operands[0];
    bool run = false;
    bool ok =
        (read_record(&d, path, &run, e) ||
         err_hint(e, "inspect takes a picture that diffens made, or a run directory")) &&
        config_as_object(d.root, e) && former_run_check_format(d.root, e);
    if (ok && o->json)
        add_json(&out, d.root);
    else if (ok)
        ok = o->command_line ? add_command(&out, d.root, run, e)
                             : add_text(&out, d.root, run, e);
    if (ok)
        ok = help_print(&out, e);
    str_free(&out);
    json_free(&d);
    return ok;
}
