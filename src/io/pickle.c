/* pickle.c: the machine that pickles are programs for, opcode by opcode (Python:
 * Lib/pickle.py, _Unpickler). Leaves the memory of values to pickle_values.c. */
#include "io/pickle.h"

#include "base/str.h"
#include "io/limits.h"
#include "io/pickle_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct machine {
    struct pickle *p;
    const uint8_t *bytes;
    size_t size, at;
    size_t opcode_at;
    uint8_t opcode;
    struct pickle_value **stack;
    size_t depth, stack_room;
    size_t marks[LIMIT_PICKLE_NESTING]; /* depths of the stack */
    int mark_count;
    struct pickle_value **memo;
    size_t memo_room, memo_count; /* the count is what MEMOIZE numbers by */
    struct err *e;
};

static bool fail(struct machine *m, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static bool fail(struct machine *m, const char *format, ...)
{
    char problem[400];
    va_list args;
    va_start(args, format);
    vsnprintf(problem, sizeof problem, format, args);
    va_end(args);
    return err_set(m->e, ERR_INPUT, "byte %zu: opcode 0x%02X: %s", m->opcode_at,
                   m->opcode, problem);
}

/* Says where, for a failure that has no place yet. */
static bool fail_value(struct machine *m)
{
    struct err cause = *m->e;
    *m->e = (struct err){0};
    if (cause.code == ERR_INPUT)
        return fail(m, "%s", cause.message);
    return err_set(m->e, cause.code, "%s", cause.message);
}

/* Reading */

static const uint8_t *take(struct machine *m, uint64_t size)
{
    if (size > m->size - m->at) {
        m->p->truncated = true;
        fail(m, "found the end of the pickle, expected %llu bytes",
             (unsigned long long)size);
        return NULL;
    }
    const uint8_t *bytes = m->bytes + m->at;
    m->at += (size_t)size;
    return bytes;
}

static bool take_number(struct machine *m, int size, uint64_t *out)
{
    const uint8_t *bytes = take(m, (uint64_t)size);
    *out = 0;
    for (int i = size - 1; bytes && i >= 0; i--)
        *out = *out << 8 | bytes[i];
    return bytes != NULL;
}

/* The text up to the next line feed, which is passed. */
static const uint8_t *take_line(struct machine *m, size_t *size)
{
    const uint8_t *bytes = m->bytes + m->at;
    const uint8_t *end = memchr(bytes, '\n', m->size - m->at);
    if (!end) {
        m->p->truncated = true;
        fail(m, "found no end of line");
        return NULL;
    }
    *size = (size_t)(end - bytes);
    m->at += *size + 1;
    return bytes;
}

/* The stack */

static bool grow(struct machine *m, size_t room)
{
    struct pickle_value **stack = realloc(m->stack, room * sizeof *stack);
    if (!stack)
        return err_set(m->e, ERR_MEMORY, "out of memory for a stack of %zu", room);
    m->stack = stack;
    m->stack_room = room;
    return true;
}

static bool push(struct machine *m, struct pickle_value *value)
{
    if (!value)
        return fail_value(m);
    if (m->depth == LIMIT_PICKLE_STACK)
        return fail(m, "found more than %d values on the stack", LIMIT_PICKLE_STACK);
    if (m->depth == m->stack_room && !grow(m, 2 * m->stack_room))
        return false;
    m->stack[m->depth++] = value;
    return true;
}

/* `count` values above the last mark: the first of them. */
static struct pickle_value **top(struct machine *m, size_t count)
{
    size_t floor = m->mark_count ? m->marks[m->mark_count - 1] : 0;
    if (m->depth - floor < count) {
        fail(m, "found %zu values on the stack, expected %zu", m->depth - floor, count);
        return NULL;
    }
    return m->stack + m->depth - count;
}

static struct pickle_value *pop(struct machine *m)
{
    struct pickle_value **value = top(m, 1);
    if (value)
        m->depth--;
    return value ? *value : NULL;
}

static bool mark(struct machine *m)
{
    if (m->mark_count == LIMIT_PICKLE_NESTING)
        return fail(m, "found values nested deeper than %d", LIMIT_PICKLE_NESTING);
    m->marks[m->mark_count++] = m->depth;
    return true;
}

/* Takes the last mark off: the values above it, which the caller takes off too. */
static struct pickle_value **above_mark(struct machine *m, size_t *count)
{
    if (m->mark_count == 0) {
        fail(m, "found no mark on the stack");
        return NULL;
    }
    size_t floor = m->marks[--m->mark_count];
    *count = m->depth - floor;
    m->depth = floor;
    return m->stack + floor;
}

/* The memo */

static bool put(struct machine *m, uint64_t index)
{
    struct pickle_value **value = top(m, 1);
    if (!value)
        return false;
    if (index >= LIMIT_PICKLE_MEMO)
        return fail(m, "found memo %llu, expected less than %d",
                    (unsigned long long)index, LIMIT_PICKLE_MEMO);
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

static bool get(struct machine *m, uint64_t index)
{
    if (index >= m->memo_room || !m->memo[index])
        return fail(m, "found no memo %llu", (unsigned long long)index);
    return push(m, m->memo[index]);
}

/* Values */

static bool push_kind(struct machine *m, enum pickle_kind kind)
{
    return push(m, pickle_new(m->p, kind, m->e));
}

static bool push_integer(struct machine *m, enum pickle_kind kind, int64_t integer)
{
    struct pickle_value *value = pickle_new(m->p, kind, m->e);
    if (value)
        value->integer = integer;
    return push(m, value);
}

static bool push_text(struct machine *m, enum pickle_kind kind, int length_size)
{
    uint64_t size;
    const uint8_t *bytes = NULL;
    if (!take_number(m, length_size, &size) || !(bytes = take(m, size)))
        return false;
    struct pickle_value *value = pickle_new(m->p, kind, m->e);
    const char *text = value ? pickle_copy(m->p, bytes, (size_t)size, m->e) : NULL;
    if (!text)
        return fail_value(m);
    value->text = text;
    value->count = (uint32_t)size; /* a pickle has at most LIMIT_PICKLE_BYTES */
    return push(m, value);
}

/* Two's complement, little-endian. */
static bool push_long(struct machine *m, int length_size)
{
    uint64_t size, bits = 0;
    size_t start = m->at;
    if (!take_number(m, length_size, &size))
        return false;
    if (size > 8) {
        m->at = start;
        return push_text(m, PICKLE_BIG, length_size);
    }
    const uint8_t *bytes = take(m, size);
    if (!bytes)
        return false;
    if (size > 0 && bytes[size - 1] & 0x80)
        bits = UINT64_MAX;
    for (int i = (int)size - 1; i >= 0; i--)
        bits = bits << 8 | bytes[i];
    return push_integer(m, PICKLE_INT, (int64_t)bits);
}

static bool push_int(struct machine *m, int size)
{
    uint64_t bits;
    if (!take_number(m, size, &bits))
        return false;
    return push_integer(m, PICKLE_INT, size == 4 ? (int32_t)bits : (int64_t)bits);
}

static bool push_float(struct machine *m)
{
    const uint8_t *bytes = take(m, 8);
    uint64_t bits = 0;
    for (int i = 0; bytes && i < 8; i++) /* big-endian, unlike all else */
        bits = bits << 8 | bytes[i];
    struct pickle_value *value = bytes ? pickle_new(m->p, PICKLE_FLOAT, m->e) : NULL;
    if (value)
        memcpy(&value->number, &bits, sizeof bits);
    return bytes && push(m, value);
}

/* An array of the stack becomes a value of its own. */
static bool push_items(struct machine *m, enum pickle_kind kind,
                       struct pickle_value **items, size_t count)
{
    struct pickle_value *value = pickle_new(m->p, kind, m->e);
    for (size_t i = 0; value && i < count; i++)
        if (!pickle_append(m->p, value, items[i], m->e))
            value = NULL;
    return push(m, value);
}

static bool push_tuple(struct machine *m, size_t count)
{
    struct pickle_value **items = top(m, count);
    if (!items)
        return false;
    m->depth -= count;
    return push_items(m, PICKLE_TUPLE, items, count);
}

static bool push_marked(struct machine *m, enum pickle_kind kind)
{
    size_t count;
    struct pickle_value **items = above_mark(m, &count);
    return items && push_items(m, kind, items, count);
}

/* Globals and calls */

static bool push_global(struct machine *m, const char *module, const char *name)
{
    struct pickle_value *value =
        module && name ? pickle_new(m->p, PICKLE_GLOBAL, m->e) : NULL;
    if (!value || !pickle_append(m->p, &m->p->globals, value, m->e))
        return fail_value(m);
    value->text = module;
    value->name = name;
    return push(m, value);
}

static bool global(struct machine *m)
{
    size_t module_size, name_size;
    const uint8_t *module = take_line(m, &module_size);
    const uint8_t *name = module ? take_line(m, &name_size) : NULL;
    if (!name)
        return false;
    const char *first = pickle_copy(m->p, module, module_size, m->e);
    return push_global(m, first, first ? pickle_copy(m->p, name, name_size, m->e) : NULL);
}

static bool stack_global(struct machine *m)
{
    struct pickle_value **names = top(m, 2);
    if (!names)
        return false;
    if (names[0]->kind != PICKLE_TEXT || names[1]->kind != PICKLE_TEXT)
        return fail(m, "found a global whose names are not texts");
    m->depth -= 2;
    return push_global(m, names[0]->text, names[1]->text);
}

static bool call(struct machine *m)
{
    struct pickle_value **operands = top(m, 2);
    char found[400];
    if (!operands)
        return false;
    struct pickle_value *callable = operands[0], *arguments = operands[1];
    if (callable->kind != PICKLE_GLOBAL && callable->kind != PICKLE_OBJECT)
        return fail(m, "found %s, expected something to call",
                    pickle_describe(callable, found, sizeof found));
    if (arguments->kind != PICKLE_TUPLE)
        return fail(m, "found %s, expected a tuple of arguments",
                    pickle_describe(arguments, found, sizeof found));
    m->depth -= 2;
    struct pickle_value *value = pickle_new(m->p, PICKLE_OBJECT, m->e);
    if (value)
        value->call = pickle_allocate(m->p, sizeof *value->call, m->e);
    if (!value || !value->call)
        return fail_value(m);
    *value->call = (struct pickle_call){callable, arguments};
    return push(m, value);
}

/* The state of an object is dropped: no value that the program uses has one. */
static bool build(struct machine *m)
{
    struct pickle_value **operands = top(m, 2);
    char found[400];
    if (!operands)
        return false;
    if (operands[0]->kind != PICKLE_OBJECT)
        return fail(m, "found %s, expected an object to give a state to",
                    pickle_describe(operands[0], found, sizeof found));
    m->depth--;
    return true;
}

static bool persistent(struct machine *m)
{
    struct pickle_value **id = top(m, 1);
    if (!id)
        return false;
    m->depth--;
    struct pickle_value *value = pickle_new(m->p, PICKLE_PERSISTENT, m->e);
    if (!value || !pickle_append(m->p, value, *id, m->e) ||
        !pickle_append(m->p, &m->p->persistent, value, m->e))
        return fail_value(m);
    return push(m, value);
}

/* Filling containers */

/* The container below `items`; what an object is given one by one is dropped. */
static bool append_items(struct machine *m, enum pickle_kind kind,
                         struct pickle_value **items, size_t count)
{
    struct pickle_value **container = top(m, 1);
    char found[400];
    if (!container)
        return false;
    if ((*container)->kind == PICKLE_OBJECT)
        return true;
    if ((*container)->kind != kind)
        return fail(m, "found %s, expected a %s",
                    pickle_describe(*container, found, sizeof found),
                    kind == PICKLE_LIST ? "list" : "set");
    for (size_t i = 0; i < count; i++)
        if (!pickle_append(m->p, *container, items[i], m->e))
            return fail_value(m);
    return true;
}

static bool append_marked(struct machine *m, enum pickle_kind kind)
{
    size_t count;
    struct pickle_value **items = above_mark(m, &count);
    return items && append_items(m, kind, items, count);
}

static bool set_items(struct machine *m, struct pickle_value **items, size_t count)
{
    struct pickle_value **container = top(m, 1);
    char found[400];
    if (!container)
        return false;
    if (count % 2 != 0)
        return fail(m, "found a key without a value");
    if (!pickle_is_mapping(*container))
        return fail(m, "found %s, expected a dict",
                    pickle_describe(*container, found, sizeof found));
    for (size_t i = 0; i < count; i++)
        if (!pickle_append(m->p, *container, items[i], m->e))
            return fail_value(m);
    return true;
}

static bool set_item(struct machine *m)
{
    struct pickle_value **pair = top(m, 3);
    if (!pair)
        return false;
    m->depth -= 2;
    return set_items(m, pair + 1, 2);
}

static bool set_marked(struct machine *m)
{
    size_t count;
    struct pickle_value **items = above_mark(m, &count);
    return items && set_items(m, items, count);
}

static bool make_dict(struct machine *m)
{
    size_t count;
    struct pickle_value **items = above_mark(m, &count);
    if (!items)
        return false;
    return count % 2 == 0 ? push_items(m, PICKLE_DICT, items, count)
                          : fail(m, "found a key without a value");
}

/* Opcodes */

static bool protocol(struct machine *m)
{
    uint64_t version;
    if (!take_number(m, 1, &version))
        return false;
    return version <= 5 || fail(m, "found protocol %d, expected at most 5", (int)version);
}

static bool memo(struct machine *m, int size, bool (*use)(struct machine *, uint64_t))
{
    uint64_t index;
    return take_number(m, size, &index) && use(m, index);
}

static bool pop_mark(struct machine *m)
{
    size_t count;
    return above_mark(m, &count) != NULL;
}

/* POP takes a mark off, too, where one is on top. */
static bool pop_any(struct machine *m)
{
    if (m->mark_count && m->marks[m->mark_count - 1] == m->depth)
        return pop_mark(m);
    return pop(m) != NULL;
}

static bool duplicate(struct machine *m)
{
    struct pickle_value **value = top(m, 1);
    return value && push(m, *value);
}

static bool append_one(struct machine *m)
{
    struct pickle_value **pair = top(m, 2);
    if (!pair)
        return false;
    m->depth--;
    return append_items(m, PICKLE_LIST, pair + 1, 1);
}

static bool execute(struct machine *m)
{
    switch (m->opcode) { /* names: pickletools.opcodes */
    case 0x80:           /* PROTO */
        return protocol(m);
    case 0x95: /* FRAME: how the bytes were grouped */
        return take(m, 8) != NULL;
    case '(': /* MARK */
        return mark(m);
    case '0': /* POP */
        return pop_any(m);
    case '1': /* POP_MARK */
        return pop_mark(m);
    case '2': /* DUP */
        return duplicate(m);
    case 'N': /* NONE */
        return push_kind(m, PICKLE_NONE);
    case 0x88: /* NEWTRUE */
    case 0x89: /* NEWFALSE */
        return push_integer(m, PICKLE_BOOL, m->opcode == 0x88);
    case 'J': /* BININT */
        return push_int(m, 4);
    case 'K': /* BININT1 */
        return push_int(m, 1);
    case 'M': /* BININT2 */
        return push_int(m, 2);
    case 0x8A: /* LONG1 */
        return push_long(m, 1);
    case 0x8B: /* LONG4 */
        return push_long(m, 4);
    case 'G': /* BINFLOAT */
        return push_float(m);
    case 'U':  /* SHORT_BINSTRING: a text of Python 2 */
    case 0x8C: /* SHORT_BINUNICODE */
        return push_text(m, PICKLE_TEXT, 1);
    case 'T': /* BINSTRING */
    case 'X': /* BINUNICODE */
        return push_text(m, PICKLE_TEXT, 4);
    case 0x8D: /* BINUNICODE8 */
        return push_text(m, PICKLE_TEXT, 8);
    case 'C': /* SHORT_BINBYTES */
        return push_text(m, PICKLE_BYTES, 1);
    case 'B': /* BINBYTES */
        return push_text(m, PICKLE_BYTES, 4);
    case 0x8E: /* BINBYTES8 */
    case 0x96: /* BYTEARRAY8 */
        return push_text(m, PICKLE_BYTES, 8);
    case ')': /* EMPTY_TUPLE */
        return push_kind(m, PICKLE_TUPLE);
    case 0x85: /* TUPLE1 */
    case 0x86: /* TUPLE2 */
    case 0x87: /* TUPLE3 */
        return push_tuple(m, m->opcode - 0x84u);
    case 't': /* TUPLE */
        return push_marked(m, PICKLE_TUPLE);
    case ']': /* EMPTY_LIST */
        return push_kind(m, PICKLE_LIST);
    case 'l': /* LIST */
        return push_marked(m, PICKLE_LIST);
    case 'a': /* APPEND */
        return append_one(m);
    case 'e': /* APPENDS */
        return append_marked(m, PICKLE_LIST);
    case 0x8F: /* EMPTY_SET */
        return push_kind(m, PICKLE_SET);
    case 0x90: /* ADDITEMS */
        return append_marked(m, PICKLE_SET);
    case 0x91: /* FROZENSET */
        return push_marked(m, PICKLE_SET);
    case '}': /* EMPTY_DICT */
        return push_kind(m, PICKLE_DICT);
    case 'd': /* DICT */
        return make_dict(m);
    case 's': /* SETITEM */
        return set_item(m);
    case 'u': /* SETITEMS */
        return set_marked(m);
    case 'q': /* BINPUT */
        return memo(m, 1, put);
    case 'r': /* LONG_BINPUT */
        return memo(m, 4, put);
    case 0x94: /* MEMOIZE */
        return put(m, m->memo_count);
    case 'h': /* BINGET */
        return memo(m, 1, get);
    case 'j': /* LONG_BINGET */
        return memo(m, 4, get);
    case 'c': /* GLOBAL */
        return global(m);
    case 0x93: /* STACK_GLOBAL */
        return stack_global(m);
    case 'R':  /* REDUCE */
    case 0x81: /* NEWOBJ */
        return call(m);
    case 'b': /* BUILD */
        return build(m);
    case 'Q': /* BINPERSID */
        return persistent(m);
    default:
        return fail(m, "found an opcode that no tensor file needs");
    }
}

static bool next_opcode(struct machine *m)
{
    m->opcode_at = m->at;
    m->opcode = 0;
    if (m->at == m->size) {
        m->p->truncated = true;
        return err_set(m->e, ERR_INPUT,
                       "byte %zu: found the end of the pickle, expected STOP", m->at);
    }
    m->opcode = m->bytes[m->at++];
    return true;
}

static bool stop(struct machine *m)
{
    if (m->mark_count || m->depth != 1)
        return fail(m, "found %zu values and %d marks on the stack, expected one value",
                    m->depth, m->mark_count);
    m->p->root = m->stack[0];
    m->p->size = m->at;
    return true;
}

static bool run(struct machine *m)
{
    for (long count = 0; next_opcode(m); count++) {
        if (m->opcode == '.') /* STOP */
            return stop(m);
        if (count == LIMIT_PICKLE_OPCODES)
            return fail(m, "found more than %d opcodes", LIMIT_PICKLE_OPCODES);
        if (!execute(m))
            return false;
    }
    return false;
}

bool pickle_read(struct pickle *p, const void *bytes, size_t size, struct err *e)
{
    if (size > LIMIT_PICKLE_BYTES)
        size = LIMIT_PICKLE_BYTES;
    uint64_t budget = (48ull << 20) + 3 * (uint64_t)size;
    *p = (struct pickle){.globals.kind = PICKLE_LIST, .persistent.kind = PICKLE_LIST};
    p->budget = (size_t)(budget < LIMIT_PICKLE_VALUES ? budget : LIMIT_PICKLE_VALUES);
    struct err cause = {0};
    struct machine m = {.p = p, .bytes = bytes, .size = size, .e = &cause};
    /* Room from the start: pointers into an empty stack are pointers too. */
    bool ok = grow(&m, 256) && run(&m);
    free(m.stack);
    free(m.memo);
    if (ok)
        return true;
    bool truncated = p->truncated;
    pickle_free(p);
    p->truncated = truncated;
    return err_set(e, cause.code, "%s", cause.message);
}
