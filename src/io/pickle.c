/* pickle.c: what each opcode of a pickle does (Python: Lib/pickle.py, _Unpickler). Leaves
 * the stack and the memo to pickle_machine.c, the memory of values to pickle_values.c. */
#include "io/pickle.h"

#include "io/limits.h"
#include "io/pickle_internal.h"

#include <inttypes.h>
#include <string.h>

/* Values */

static bool push_kind(struct pickle_machine *m, enum pickle_kind kind)
{
    return pickle_push(m, pickle_new(m->p, kind, m->e));
}

static bool push_integer(struct pickle_machine *m, enum pickle_kind kind, int64_t integer)
{
    struct pickle_value *value = pickle_new(m->p, kind, m->e);
    if (value)
        value->integer = integer;
    return pickle_push(m, value);
}

static bool push_text(struct pickle_machine *m, enum pickle_kind kind, int length_size)
{
    uint64_t size;
    const uint8_t *bytes = NULL;
    if (!pickle_take_number(m, length_size, &size) || !(bytes = pickle_take(m, size)))
        return false;
    struct pickle_value *value = pickle_new(m->p, kind, m->e);
    const char *text = value ? pickle_copy(m->p, bytes, (size_t)size, m->e) : NULL;
    if (!text)
        return pickle_fail_value(m);
    value->text = text;
    value->count = (uint32_t)size; /* a pickle has at most LIMIT_PICKLE_BYTES */
    return pickle_push(m, value);
}

/* Two's complement, little-endian. */
static bool push_long(struct pickle_machine *m, int length_size)
{
    uint64_t size, bits = 0;
    size_t start = m->at;
    if (!pickle_take_number(m, length_size, &size))
        return false;
    if (size > 8) {
        m->at = start;
        return push_text(m, PICKLE_BIG, length_size);
    }
    const uint8_t *bytes = pickle_take(m, size);
    if (!bytes)
        return false;
    if (size > 0 && bytes[size - 1] & 0x80)
        bits = UINT64_MAX;
    for (int i = (int)size - 1; i >= 0; i--)
        bits = bits << 8 | bytes[i];
    return push_integer(m, PICKLE_INT, (int64_t)bits);
}

static bool push_int(struct pickle_machine *m, int size)
{
    uint64_t bits;
    if (!pickle_take_number(m, size, &bits))
        return false;
    return push_integer(m, PICKLE_INT, size == 4 ? (int32_t)bits : (int64_t)bits);
}

static bool push_float(struct pickle_machine *m)
{
    const uint8_t *bytes = pickle_take(m, 8);
    uint64_t bits = 0;
    for (int i = 0; bytes && i < 8; i++) /* big-endian, unlike all else */
        bits = bits << 8 | bytes[i];
    struct pickle_value *value = bytes ? pickle_new(m->p, PICKLE_FLOAT, m->e) : NULL;
    if (value)
        memcpy(&value->number, &bits, sizeof bits);
    return bytes && pickle_push(m, value);
}

/* An array of the stack becomes a value of its own. */
static bool push_items(struct pickle_machine *m, enum pickle_kind kind,
                       struct pickle_value **items, size_t count)
{
    struct pickle_value *value = pickle_new(m->p, kind, m->e);
    for (size_t i = 0; value && i < count; i++)
        if (!pickle_append(m->p, value, items[i], m->e))
            value = NULL;
    return pickle_push(m, value);
}

static bool push_tuple(struct pickle_machine *m, size_t count)
{
    struct pickle_value **items = pickle_top(m, count);
    if (!items)
        return false;
    m->depth -= count;
    return push_items(m, PICKLE_TUPLE, items, count);
}

static bool push_marked(struct pickle_machine *m, enum pickle_kind kind)
{
    size_t count;
    struct pickle_value **items = pickle_above_mark(m, &count);
    return items && push_items(m, kind, items, count);
}

/* Globals and calls */

static bool push_global(struct pickle_machine *m, const char *module, const char *name)
{
    struct pickle_value *value =
        module && name ? pickle_new(m->p, PICKLE_GLOBAL, m->e) : NULL;
    if (!value || !pickle_append(m->p, &m->p->globals, value, m->e))
        return pickle_fail_value(m);
    value->text = module;
    value->name = name;
    return pickle_push(m, value);
}

static bool global(struct pickle_machine *m)
{
    size_t module_size, name_size;
    const uint8_t *module = pickle_take_line(m, &module_size);
    const uint8_t *name = module ? pickle_take_line(m, &name_size) : NULL;
    if (!name)
        return false;
    const char *first = pickle_copy(m->p, module, module_size, m->e);
    return push_global(m, first, first ? pickle_copy(m->p, name, name_size, m->e) : NULL);
}

static bool stack_global(struct pickle_machine *m)
{
    struct pickle_value **names = pickle_top(m, 2);
    if (!names)
        return false;
    if (names[0]->kind != PICKLE_TEXT || names[1]->kind != PICKLE_TEXT)
        return pickle_fail(m, "found a global whose names are not texts, expected texts");
    m->depth -= 2;
    return push_global(m, names[0]->text, names[1]->text);
}

static bool call(struct pickle_machine *m)
{
    struct pickle_value **operands = pickle_top(m, 2);
    char found[400];
    if (!operands)
        return false;
    struct pickle_value *callable = operands[0], *arguments = operands[1];
    if (callable->kind != PICKLE_GLOBAL && callable->kind != PICKLE_OBJECT)
        return pickle_fail(m, "found %s, expected something to call",
                           pickle_describe(callable, found, sizeof found));
    if (arguments->kind != PICKLE_TUPLE)
        return pickle_fail(m, "found %s, expected a tuple of arguments",
                           pickle_describe(arguments, found, sizeof found));
    m->depth -= 2;
    struct pickle_value *value = pickle_new(m->p, PICKLE_OBJECT, m->e);
    if (value)
        value->call = pickle_allocate(m->p, sizeof *value->call, m->e);
    if (!value || !value->call)
        return pickle_fail_value(m);
    *value->call = (struct pickle_call){callable, arguments};
    return pickle_push(m, value);
}

/* The state of an object is dropped: no value that the program uses has one. */
static bool build(struct pickle_machine *m)
{
    struct pickle_value **operands = pickle_top(m, 2);
    char found[400];
    if (!operands)
        return false;
    if (operands[0]->kind != PICKLE_OBJECT)
        return pickle_fail(m, "found %s, expected an object to give a state to",
                           pickle_describe(operands[0], found, sizeof found));
    m->depth--;
    return true;
}

static bool persistent(struct pickle_machine *m)
{
    struct pickle_value **id = pickle_top(m, 1);
    if (!id)
        return false;
    m->depth--;
    struct pickle_value *value = pickle_new(m->p, PICKLE_PERSISTENT, m->e);
    if (!value || !pickle_append(m->p, value, *id, m->e) ||
        !pickle_append(m->p, &m->p->persistent, value, m->e))
        return pickle_fail_value(m);
    return pickle_push(m, value);
}

/* Filling containers */

/* The container below `items`; what an object is given one by one is dropped. */
static bool append_items(struct pickle_machine *m, enum pickle_kind kind,
                         struct pickle_value **items, size_t count)
{
    struct pickle_value **container = pickle_top(m, 1);
    char found[400];
    if (!container)
        return false;
    if ((*container)->kind == PICKLE_OBJECT)
        return true;
    if ((*container)->kind != kind)
        return pickle_fail(m, "found %s, expected a %s",
                           pickle_describe(*container, found, sizeof found),
                           kind == PICKLE_LIST ? "list" : "set");
    for (size_t i = 0; i < count; i++)
        if (!pickle_append(m->p, *container, items[i], m->e))
            return pickle_fail_value(m);
    return true;
}

static bool append_marked(struct pickle_machine *m, enum pickle_kind kind)
{
    size_t count;
    struct pickle_value **items = pickle_above_mark(m, &count);
    return items && append_items(m, kind, items, count);
}

static bool set_items(struct pickle_machine *m, struct pickle_value **items, size_t count)
{
    struct pickle_value **container = pickle_top(m, 1);
    char found[400];
    if (!container)
        return false;
    if (count % 2 != 0)
        return pickle_fail(m, "found a key without a value, expected pairs");
    if (!pickle_is_mapping(*container))
        return pickle_fail(m, "found %s, expected a dict",
                           pickle_describe(*container, found, sizeof found));
    for (size_t i = 0; i < count; i++)
        if (!pickle_append(m->p, *container, items[i], m->e))
            return pickle_fail_value(m);
    return true;
}

static bool set_item(struct pickle_machine *m)
{
    struct pickle_value **pair = pickle_top(m, 3);
    if (!pair)
        return false;
    m->depth -= 2;
    return set_items(m, pair + 1, 2);
}

static bool set_marked(struct pickle_machine *m)
{
    size_t count;
    struct pickle_value **items = pickle_above_mark(m, &count);
    return items && set_items(m, items, count);
}

static bool make_dict(struct pickle_machine *m)
{
    size_t count;
    struct pickle_value **items = pickle_above_mark(m, &count);
    if (!items)
        return false;
    return count % 2 == 0 ? push_items(m, PICKLE_DICT, items, count)
                          : pickle_fail(m, "found a key without a value, expected pairs");
}

/* Opcodes */

static bool protocol(struct pickle_machine *m)
{
    uint64_t version;
    if (!pickle_take_number(m, 1, &version))
        return false;
    return version <= 5 ||
           pickle_fail(m, "found protocol %d, expected at most 5", (int)version);
}

static bool memo(struct pickle_machine *m, int size,
                 bool (*use)(struct pickle_machine *, uint64_t))
{
    uint64_t index;
    return pickle_take_number(m, size, &index) && use(m, index);
}

static bool pop_mark(struct pickle_machine *m)
{
    size_t count;
    return pickle_above_mark(m, &count) != NULL;
}

/* POP takes a mark off, too, where one is on top. */
static bool pop_any(struct pickle_machine *m)
{
    if (m->mark_count && m->marks[m->mark_count - 1] == m->depth)
        return pop_mark(m);
    return pickle_pop(m) != NULL;
}

static bool duplicate(struct pickle_machine *m)
{
    struct pickle_value **value = pickle_top(m, 1);
    return value && pickle_push(m, *value);
}

static bool append_one(struct pickle_machine *m)
{
    struct pickle_value **pair = pickle_top(m, 2);
    if (!pair)
        return false;
    m->depth--;
    return append_items(m, PICKLE_LIST, pair + 1, 1);
}

static bool execute(struct pickle_machine *m)
{
    switch (m->opcode) { /* names: pickletools.opcodes */
    case 0x80:           /* PROTO */
        return protocol(m);
    case 0x95: /* FRAME: how the bytes were grouped */
        return pickle_take(m, 8) != NULL;
    case '(': /* MARK */
        return pickle_mark(m);
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
        return memo(m, 1, pickle_memo_put);
    case 'r': /* LONG_BINPUT */
        return memo(m, 4, pickle_memo_put);
    case 0x94: /* MEMOIZE */
        return pickle_memo_put(m, m->memo_count);
    case 'h': /* BINGET */
        return memo(m, 1, pickle_memo_get);
    case 'j': /* LONG_BINGET */
        return memo(m, 4, pickle_memo_get);
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
        return pickle_fail(m,
                           "found an opcode that no tensor file needs, expected others");
    }
}

static bool next_opcode(struct pickle_machine *m)
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

static bool stop(struct pickle_machine *m)
{
    if (m->mark_count || m->depth != 1)
        return pickle_fail(
            m, "found %zu values and %d marks on the stack, expected one value", m->depth,
            m->mark_count);
    m->p->root = m->stack[0];
    m->p->size = m->at;
    return true;
}

static bool run(struct pickle_machine *m)
{
    uint64_t most = limit_of(LIMIT_PICKLE_OPCODES);
    for (uint64_t count = 0; next_opcode(m); count++) {
        if (m->opcode == '.') /* STOP */
            return stop(m);
        if (count == most) {
            pickle_fail(m, "found more than %" PRIu64 " opcodes, expected at most that",
                        most);
            return limit_hint(LIMIT_PICKLE_OPCODES, m->e);
        }
        if (!execute(m))
            return false;
    }
    return false;
}

size_t pickle_budget(size_t size)
{
    uint64_t budget = (48ull << 20) + 3 * (uint64_t)size;
    uint64_t limit = limit_of(LIMIT_PICKLE_VALUES);
    bool raised = limit > limit_table[LIMIT_PICKLE_VALUES].initial;
    return (size_t)(budget < limit && !raised ? budget : limit);
}

bool pickle_read(struct pickle *p, const void *bytes, size_t size, size_t budget,
                 struct err *e)
{
    if (size > limit_of(LIMIT_PICKLE_BYTES))
        size = (size_t)limit_of(LIMIT_PICKLE_BYTES);
    *p = (struct pickle){
        .globals.kind = PICKLE_LIST, .persistent.kind = PICKLE_LIST, .budget = budget};
    struct err cause = {0};
    struct pickle_machine m;
    bool ok = pickle_machine_open(&m, p, bytes, size, &cause) && run(&m);
    pickle_machine_close(&m);
    if (ok)
        return true;
    bool truncated = p->truncated;
    pickle_free(p);
    p->truncated = truncated;
    return err_from(e, &cause, NULL);
}
