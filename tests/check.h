/* check.h: what the C tests share. A test program is a list of functions run by RUN();
 * a failed CHECK names its line and makes the program exit with 1. */
#ifndef DIFFENS_TESTS_CHECK_H
#define DIFFENS_TESTS_CHECK_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static int check_failures;

#define CHECK(condition) check_that((condition), __FILE__, __LINE__, #condition)

#define CHECK_INT(found, expected)                                                       \
    check_int((long long)(found), (long long)(expected), __FILE__, __LINE__, #found)

#define CHECK_STR(found, expected)                                                       \
    check_str((found), (expected), __FILE__, __LINE__, #found)

/* `found` contains `part`: for error messages, whose full text may hold a path. */
#define CHECK_HAS(found, part) check_has((found), (part), __FILE__, __LINE__, #found)

#define RUN(test)                                                                        \
    do {                                                                                 \
        int before = check_failures;                                                     \
        test();                                                                          \
        printf("%s %s\n", check_failures == before ? "ok  " : "FAIL", #test);            \
    } while (0)

#define CHECK_EXIT() (check_failures ? 1 : 0)

static inline void check_that(bool ok, const char *file, int line, const char *what)
{
    if (ok)
        return;
    check_failures++;
    fprintf(stderr, "%s:%d: failed: %s\n", file, line, what);
}

static inline void check_int(long long found, long long expected, const char *file,
                             int line, const char *what)
{
    if (found == expected)
        return;
    check_failures++;
    fprintf(stderr, "%s:%d: %s: found %lld, expected %lld\n", file, line, what, found,
            expected);
}

static inline void check_str(const char *found, const char *expected, const char *file,
                             int line, const char *what)
{
    if (found && strcmp(found, expected) == 0)
        return;
    check_failures++;
    fprintf(stderr, "%s:%d: %s: found \"%s\", expected \"%s\"\n", file, line, what,
            found ? found : "(null)", expected);
}

static inline void check_has(const char *found, const char *part, const char *file,
                             int line, const char *what)
{
    if (found && strstr(found, part))
        return;
    check_failures++;
    fprintf(stderr, "%s:%d: %s: found \"%s\", expected it to contain \"%s\"\n", file,
            line, what, found ? found : "(null)", part);
}

#endif
