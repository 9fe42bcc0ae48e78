/* memory_driver.c: runs one command again and again on the test device, each time with
 * another allocation of the device failing, and says how each run ended.
 *
 *   memory_driver POINTS ARGUMENT...
 *
 * The arguments are those of the program, without --out. A first run counts the
 * allocations (POINTS 0: all of them are tried, else that many, evenly spread). Then each
 * line is ALLOCATION STATUS FOLDER where FOLDER is the run directory, below the present
 * one. */
#include "cli/commands.h"
#include "cli/parse.h"
#include "device/test_device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ARGUMENTS_MAX = 64 };

static int run(int argc, char **argv, const char *folder)
{
    char *arguments[ARGUMENTS_MAX + 3];
    char out[64];
    struct parsed parsed = {0};
    struct err e = {0};

    snprintf(out, sizeof out, "--out=%s", folder);
    memcpy(arguments, argv, (size_t)argc * sizeof *argv);
    arguments[argc] = out;
    if (options_parse(argc + 1, arguments, &parsed, &e) == PARSE_RUN)
        parsed.command->run(&parsed.options, &e);
    options_free(&parsed.options);
    if (e.code != ERR_OK)
        fprintf(stderr, "%s: %s\n", folder, e.message);
    return e.code;
}

static bool try_each(int points, int argc, char **argv)
{
    test_device_fail_at(0);
    if (run(argc, argv, "all-is-well") != ERR_OK)
        return false;
    long count = test_device_allocations();
    long step = points > 0 && count > points ? count / points : 1;
    for (long k = 1; k <= count; k += step) {
        char folder[32];
        snprintf(folder, sizeof folder, "fail-%ld", k);
        test_device_fail_at(k);
        int status = run(argc, argv, folder);
        printf("%ld %d %s\n", k, status, folder);
        if (test_device_live_bytes() != 0) {
            fprintf(stderr, "%s: left %ld bytes behind\n", folder,
                    test_device_live_bytes());
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    if (argc < 3 || argc > ARGUMENTS_MAX)
        return 2;
    int points = atoi(argv[1]);
    argv[1] = argv[0];
    return try_each(points, argc - 1, argv + 1) ? 0 : 1;
}
