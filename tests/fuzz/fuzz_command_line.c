/* fuzz_command_line.c: a command line, one word a line. */
#include "fuzz.h"

#include "base/str.h"
#include "cli/commands.h"
#include "cli/parse.h"
#include "diffens/tc.h"
#include "io/limits.h"

enum { WORDS = 64 };

/* The table of commands names what they do; parsing calls none of it. */
#define NOT_CALLED(command)                                                              \
    bool command(const struct options *o, struct err *e)                                 \
    {                                                                                    \
        (void)o;                                                                         \
        return err_set(e, ERR_BUG, #command " was called");                              \
    }
NOT_CALLED(command_generate)
NOT_CALLED(command_blend)
NOT_CALLED(command_optimize)
NOT_CALLED(command_inspect)
NOT_CALLED(command_merge)
NOT_CALLED(command_models)
NOT_CALLED(command_doctor)

const char *tc_version(void)
{
    return "none";
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_memory(size + 1);
    char *argv[WORDS + 2] = {"diffens"};
    int argc = 1;
    struct parsed parsed = {0};
    struct err e = {0};
    if (size > 0)
        memcpy(text, data, size);
    for (char *at = text; argc <= WORDS && at && *at; argc++)
        argv[argc] = strsep(&at, "\n");
    bool ok = options_parse(argc, argv, &parsed, &e) != PARSE_ERROR;
    FUZZ_CHECK(ok == (e.code == ERR_OK));
    FUZZ_CHECK(ok || e.code == ERR_USAGE || e.code == ERR_INPUT ||
               (faults && e.code == ERR_MEMORY));
    for (const char *c = e.message; *c; c++)
        FUZZ_CHECK((unsigned char)*c >= ' ');
    options_free(&parsed.options);
    for (int limit = 0; limit < LIMIT_COUNT; limit++)
        limit_set((enum limit)limit, 0);
    free(text);
    return 0;
}
