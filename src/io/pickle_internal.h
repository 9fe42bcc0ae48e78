/* pickle_internal.h: what the files of the pickle reader share: the memory of values,
 * within the budget of one pickle, and the machine that makes them. */
#ifndef DIFFENS_PICKLE_INTERNAL_H
#define DIFFENS_PICKLE_INTERNAL_H

#include "io/pickle.h"

/* pickle_values.c */

/* Zeroed memory that lives as long as the pickle. NULL with ERR_INPUT over the budget. */
void *pickle_allocate(struct pickle *p, size_t size, struct err *e);

/* A value without content. NULL as above; so do the others. */
struct pickle_value *pickle_new(struct pickle *p, enum pickle_kind kind, struct err *e);

/* A copy of the bytes, with a NUL behind them. */
const char *pickle_copy(struct pickle *p, const void *bytes, size_t size, struct err *e);

/* Adds an item at the end; the array doubles when `count` is a power of two. */
bool pickle_append(struct pickle *p, struct pickle_value *value,
                   struct pickle_value *item, struct err *e);

/* pickle_machine.c: what fails sets the machine's `e` */

enum { PICKLE_NESTING = 64 }; /* open marks */

struct pickle_machine {
    struct pickle *p;
    const uint8_t *bytes;
    size_t size, at;
    size_t opcode_at;
    uint8_t opcode;
    struct pickle_value **stack;
    size_t depth, stack_room;
    size_t marks[PICKLE_NESTING]; /* depths of the stack */
    int mark_count;
    struct pickle_value **memo;
    size_t memo_room, memo_count; /* the count is what MEMOIZE numbers by */
    struct err *e;
};

/* `bytes` and `e` must live as long as the machine. Closing is due after a failure, too.
 */
bool pickle_machine_open(struct pickle_machine *m, struct pickle *p, const void *bytes,
                         size_t size, struct err *e);
void pickle_machine_close(struct pickle_machine *m);

/* Returns false: ERR_INPUT with the place of the opcode. */
bool pickle_fail(struct pickle_machine *m, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Gives what pickle_values.c failed with the place of the opcode. Returns false. */
bool pickle_fail_value(struct pickle_machine *m);

/* The next bytes of the input, which are passed; NULL where it ends before. */
const uint8_t *pickle_take(struct pickle_machine *m, uint64_t size);

/* A little-endian number of `size` bytes. */
bool pickle_take_number(struct pickle_machine *m, int size, uint64_t *out);

/* The text up to the next line feed, which is passed. */
const uint8_t *pickle_take_line(struct pickle_machine *m, size_t *size);

/* A `value` of NULL is the failure of what should have made it. */
bool pickle_push(struct pickle_machine *m, struct pickle_value *value);

struct pickle_value *pickle_pop(struct pickle_machine *m);

/* The topmost `count` values, all above the last mark: the lowest of them. */
struct pickle_value **pickle_top(struct pickle_machine *m, size_t count);

bool pickle_mark(struct pickle_machine *m);

/* Takes the last mark off, and the `count` values above it: the lowest of them, valid
 * until the next push. */
struct pickle_value **pickle_above_mark(struct pickle_machine *m, size_t *count);

/* Remembers the topmost value under a number; pushes what a number stands for. */
bool pickle_memo_put(struct pickle_machine *m, uint64_t index);
bool pickle_memo_get(struct pickle_machine *m, uint64_t index);

#endif
