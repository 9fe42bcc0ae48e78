/* pickle_machine.c: the stack, the marks, the memo and the input of the machine that
 * pickles are programs for. Leaves what the opcodes do to pickle.c. */
#include "io/pickle_internal.h"

#include "base/str.h"
#include "io/limits.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Failing */

bool pickle_fail(struct pickle_machine *m, const char *format, ...)
{
    char problem[400];
    va_list args;
    va_start(args, format);
    vsnprintf(problem, sizeof problem, format, args);
    va_end(args);
    return err_set(m->e, ERR_INPUT, "byte %zu: opcode 0x%02X: %s", m->opcode_at,
                   m->opcode, problem);
}

bool pickle_fail_value(struct pickle_machine *m)
{
    struct err cause = *m->e;
    *m->e = (struct err){0};
    if (cause.code != ERR_INPUT)
        return err_from(m->e, &cause, NULL);
    pickle_fail(m, "%s", cause.message);
    return err_hint(m->e, "%s", cause.hint);
}

/* Reading */

const uint8_t *pickle_take(struct pickle_machine *m, uint64_t size)
{
    if (size > m->size - m->at) {
        m->p->truncated = true;
        pickle_fail(m, "found the end of the pickle, expected %llu bytes",
                    (unsigned long long)size);
        return NULL;
    }
    const uint8_t *bytes = m->bytes + m->at;
    m->at += (size_t)size;
    return bytes;
}

bool pickle_take_number(struct pickle_machine *m, int size, uint64_t *out)
{
    const uint8_t *bytes = pickle_take(m, (uint64_t)size);
    *out = 0;
    for (int i = size - 1; bytes && i >= 0; i--)
        *out = *out << 8 | bytes[i];
    return bytes != NULL;
}

const uint8_t *pickle_take_line(struct pickle_machine *m, size_t *size)
{
    const uint8_t *bytes = m->bytes + m->at;
    const uint8_t *end = memchr(bytes, '\n', m->size - m->at);
    if (!end) {
        m->p->truncated = true;
        pickle_fail(m, "found no end of line, expected one");
        return NULL;
    }
    *size = (size_t)(end - bytes);
    m->at += *size + 1;
    return bytes;
}

/* The stack */

static bool grow(struct pickle_machine *m, size_t room)
{
    struct pickle_value **stack = realloc(m->stack, room * sizeof *stack);
    if (!stack)
        return err_set(m->e, ERR_MEMORY, "out of memory for a stack of %zu", room);
    m->stack = stack;
    m->stack_room = room;
    return true;
}

bool pickle_push(struct pickle_machine *m, struct pickle_value *value)
{
    if (!value)
        return pickle_fail_value(m);
    if (m->depth == limit_of(LIMIT_PICKLE_STACK)) {
        pickle_fail(m, "found more than %zu values on the stack, expected at most that",
                    m->depth);
        return limit_hint(LIMIT_PICKLE_STACK, m->e);
    }
    if (m->depth == m->stack_room && !grow(m, 2 * m->stack_room))
        return false;
    m->stack[m->depth++] = value;
    return true;
}

struct pickle_value **pickle_top(struct pickle_machine *m, size_t count)
{
    size_t floor = m->mark_count ? m->marks[m->mark_count - 1] : 0;
    if (m->depth - floor < count) {
        pickle_fail(m, "found %zu values on the stack, expected %zu", m->depth - floor,
                    count);
        return NULL;
    }
    return m->stack + m->depth - count;
}

struct pickle_value *pickle_pop(struct pickle_machine *m)
{
    struct pickle_value **value = pickle_top(m, 1);
    if (value)
        m->depth--;
    return value ? *value : NULL;
}

bool pickle_mark(struct pickle_machine *m)
{
    if (m->mark_count == PICKLE_NESTING)
        return pickle_fail(m, "found values nested deeper than %d, expected at most that",
                           PICKLE_NESTING);
    m->marks[m->mark_count++] = m->depth;
    return true;
}

struct pickle_value **pickle_above_mark(struct pickle_machine *m, size_t *count)
{
    if (m->mark_count == 0) {
        pickle_fail(m, "found no mark on the stack, expected one");
        return NULL;
    }
    size_t floor = m->marks[--m->mark_count];
    *count = m->depth - floor;
    m->depth = floor;
    return m->stack + floor;
}

/* The memo */

bool pickle_memo_put(struct pickle_machine *m, uint64_t index)
{
    struct pickle_value **value = pickle_top(m, 1);
    if (!value)
        return false;
    if (index >= limit_of(LIMIT_PICKLE_MEMO)) {
        pickle_fail(m, "found memo %" PRIu64 ", expected less than %" PRIu64, index,
                    limit_of(LIMIT_PICKLE_MEMO));
        return limit_hint(LIMIT_PICKLE_MEMO, m->e);
    }
    if (index >= m->memo_room) {
        size_t room = m->memo_room ? m->memo_room : 256;
        while (room <= index)
            room *= 2;
        struct pickle_value **memo = realloc(m->memo, room * sizeof *memo);
        if (!memo)
            return err_set(m->e, ERR_MEMORY, "out of memory for a memo of %zu", room);
        memset(memo + m->memo_room, 0, (room - m->memo_room) * sizeof *memo);
        m->memo = memo;
        m->memo_room = room;
    }
    m->memo_count += m->memo[index] == NULL;
    m->memo[index] = *value;
    return true;
}

bool pickle_memo_get(struct pickle_machine *m, uint64_t index)
{
    if (index >= m->memo_room || !m->memo[index])
        return pickle_fail(m, "found no memo %llu, expected one that was put",
                           (unsigned long long)index);
    return pickle_push(m, m->memo[index]);
}

/* Life */

bool pickle_machine_open(struct pickle_machine *m, struct pickle *p, const void *bytes,
                         size_t size, struct err *e)
{
    *m = (struct pickle_machine){.p = p, .bytes = bytes, .size = size, .e = e};
    return grow(m, 256); /* pointers into an empty stack are pointers too */
}

void pickle_machine_close(struct pickle_machine *m)
{
    free(m->stack);
    free(m->memo);
}
