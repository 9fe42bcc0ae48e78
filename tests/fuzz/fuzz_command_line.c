/* fuzz_command_line.c: a command line, one word a line. */
#include "fuzz.h"

#include "base/str.h"
#include "cli/options_json.h"
#include "cli/parse.h"

enum { WORDS = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = strndup(data ? (const char *)data : "", size);
    char *argv[WORDS + 2] = {"diffens"};
    int argc = 1;
    struct parsed parsed = {0};
    struct err e = {0};
    for (char *at = text; argc <= WORDS && at && *at; argc++)
        argv[argc] = strsep(&at, "\n");
    bool ok = options_parse(argc, argv, &parsed, &e) != PARSE_ERROR;
    FUZZ_CHECK(ok == (e.code == ERR_OK));
    FUZZ_CHECK(ok || e.code == ERR_USAGE || e.code == ERR_INPUT);
    for (const char *c = e.message; *c; c++)
        FUZZ_CHECK((unsigned char)*c >= ' ');
    options_free(&parsed.options);
    free(text);
    return 0;
}
