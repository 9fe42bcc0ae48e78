/* test_read_ahead.c: which pieces of which files the system is asked for. */
#include "check.h"
#include "io/read_ahead.h"

#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>

#define MB ((uint64_t)1 << 20)

static struct {
    int fd;
    off_t offset;
} asked[64];
static atomic_int count;

int posix_fadvise64(int fd, off_t offset, off_t size, int advice);

/* Stands in for the C library's. */
int posix_fadvise64(int fd, off_t offset, off_t size, int advice)
{
    int n = count;
    CHECK(n < 64 && size == (off_t)(8 * MB) && advice == POSIX_FADV_WILLNEED);
    asked[n].fd = fd;
    asked[n].offset = offset;
    count = n + 1;
    return 0;
}

static void all_pieces_in_order(void)
{
    struct tensor_part one[] = {{.fd = 5, .size = 20 * MB}, {.fd = 6, .size = 8 * MB}};
    struct tensor_part other[] = {{.fd = 7, .size = 1}};
    struct tensor_file files[] = {{.parts = one, .part_count = 2},
                                  {.part_count = 0},
                                  {.parts = other, .part_count = 1}};
    const struct tensor_file *list[] = {&files[0], &files[1], &files[2]};
    static const struct {
        int fd;
        uint64_t offset;
    } expected[] = {{5, 0}, {5, 8 * MB}, {5, 16 * MB}, {6, 0}, {7, 0}};
    count = 0;
    struct read_ahead *r = read_ahead_begin(list, 3, INT64_MAX);
    CHECK(r && count >= 1); /* the first one at once */
    while (count < 5)
        sched_yield();
    read_ahead_end(r);
    CHECK_INT(count, 5);
    for (int i = 0; i < 5; i++) {
        CHECK_INT(asked[i].fd, expected[i].fd);
        CHECK_INT(asked[i].offset, expected[i].offset);
    }
}

static void no_more_than_the_limit(void)
{
    struct tensor_part part = {.fd = 5, .size = 1000 * MB};
    struct tensor_file file = {.parts = &part, .part_count = 1};
    const struct tensor_file *list[] = {&file};
    count = 0;
    struct read_ahead *r = read_ahead_begin(list, 1, (int64_t)(17 * MB));
    while (count < 3)
        sched_yield();
    read_ahead_end(r);
    CHECK_INT(count, 3);
    count = 0;
    CHECK(!read_ahead_begin(list, 1, -1)); /* free memory is not known */
    CHECK(!read_ahead_begin(list, 0, INT64_MAX));
    CHECK_INT(count, 0);
    read_ahead_end(NULL);
}

int main(void)
{
    RUN(all_pieces_in_order);
    RUN(no_more_than_the_limit);
    return CHECK_EXIT();
}
