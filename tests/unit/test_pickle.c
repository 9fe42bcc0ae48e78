/* test_pickle.c: the pickle machine: what it makes of good programs, and what it says
 * about bad ones. Files are tested with PyTorch's own in test_torch_files.py. */
#include "check.h"
#include "io/limits.h"
#include "io/pickle.h"

#include "base/str.h"

#include <stdlib.h>

/* A program of bytes with NULs in it, and what is found at its end. */
struct row {
    const char *bytes;
    size_t size;
    const char *expected;
};

#define P(bytes, expected)                                                               \
    {                                                                                    \
        bytes, sizeof(bytes) - 1, expected                                               \
    }

static void test_values(void)
{
    static const struct row rows[] = {
        P("\x80\x02N.", "None"),
        P("\x80\x05\x95\1\0\0\0\0\0\0\0N.", "None"),
        P("\x88.", "a bool"),
        P("K\xff.", "the integer 255"),
        P("M\x01\x02.", "the integer 513"),
        P("J\xff\xff\xff\xff.", "the integer -1"),
        P("\x8A\0.", "the integer 0"),
        P("\x8A\2\0\x80.", "the integer -32768"),
        P("\x8A\x08\0\0\0\0\0\0\0\x80.", "the integer -9223372036854775808"),
        P("\x8A\x09\0\0\0\0\0\0\0\x80\0.", "an integer beyond 64 bits"),
        P("\x8B\1\0\0\0\x07.", "the integer 7"),
        P("G\x3f\xf0\0\0\0\0\0\0.", "a float"),
        P("U\2ab.", "\"ab\""),
        P("\x8C\2a\n.", "\"a\\x0A\""),
        P("X\1\0\0\0x.", "\"x\""),
        P("\x8D\1\0\0\0\0\0\0\0x.", "\"x\""),
        P("C\1x.", "bytes"),
        P("B\1\0\0\0x.", "bytes"),
        P(").", "a tuple of 0"),
        P("NN\x86.", "a tuple of 2"),
        P("(NNNNt.", "a tuple of 4"),
        P("].", "a list of 0"),
        P("]Na.", "a list of 1"),
        P("](NNNe.", "a list of 3"),
        P("(NNl.", "a list of 2"),
        P("\x8F(NN\x90.", "a set of 2"),
        P("(N\x91.", "a set of 1"),
        P("}.", "a dict of 0"),
        P("}NNs.", "a dict of 1"),
        P("}(NNNNu.", "a dict of 2"),
        P("(NNd.", "a dict of 1"),
        P("NN0.", "None"),
        P("N(0.", "None"),
        P("N(NN1.", "None"),
        P("N2\x86.", "a tuple of 2"),
        P("]q\0h\0a.", "a list of 1"), /* a list that holds itself */
        P("]r\xff\x01\0\0j\xff\x01\0\0\x86.", "a tuple of 2"),
        P("K\1\x94K\2\x94h\1\x87.", "a tuple of 3"),
        P("cos\nsystem\n.", "the global os.system"),
        P("\x8C\2os\x8C\6system\x93.", "the global os.system"),
        P("ca.b\nc.d\n.", "the global a.b.c.d"),
        P("cos\nsystem\nU\2ls\x85R.", "an object of os.system"),
        P("cos\nsystem\n)\x81}b.", "an object of os.system"),
        P("cos\nsystem\n)R)R.", "an object of a computed class"),
        P("cos\nsystem\n)R(NNu.", "an object of os.system"),
        P("cos\nsystem\n)R(NNe.", "an object of os.system"),
        P("U\1kQ.", "a persistent id"),
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct pickle p;
        struct err e = {0};
        char text[400];
        CHECK(pickle_read(&p, rows[i].bytes, rows[i].size, pickle_budget(rows[i].size),
                          &e));
        CHECK_STR(e.message, "");
        CHECK_INT(p.size, rows[i].size);
        if (p.root)
            CHECK_STR(pickle_describe(p.root, text, sizeof text), rows[i].expected);
        pickle_free(&p);
    }
}

static void test_programs_refused(void)
{
    static const struct row rows[] = {
        P("", "byte 0: found the end of the pickle, expected STOP"),
        P("N", "byte 1: found the end of the pickle, expected STOP"),
        P("X\5\0\0\0abc.",
          "byte 0: opcode 0x58: found the end of the pickle, expected 5"),
        P("\x8D\xff\xff\xff\xff\xff\xff\xff\xff.", "expected 18446744073709551615 bytes"),
        P("\x8B\xff\xff\xff\xff.", "expected 4294967295 bytes"),
        P("cos\nsystem", "found no end of line"),
        P("\x80\x06N.", "byte 0: opcode 0x80: found protocol 6, expected at most 5"),
        P("\xff.", "byte 0: opcode 0xFF: found an opcode that no tensor file needs"),
        P("N\x82\1.", "byte 1: opcode 0x82: found an opcode"),    /* EXT1 */
        P("(ios\nsystem\n.", "byte 1: opcode 0x69: found an op"), /* INST */
        P("(cos\nsystem\no.", "opcode 0x6F: found an opcode"),    /* OBJ */
        P("NNN\x92.", "opcode 0x92: found an opcode"),            /* NEWOBJ_EX */
        P("\x97.", "opcode 0x97: found an opcode"),               /* NEXT_BUFFER */
        P("g-1\n.", "opcode 0x67: found an opcode"),              /* GET */
        P("Pkey\n.", "opcode 0x50: found an opcode"),             /* PERSID */
        P(".", "byte 0: opcode 0x2E: found 0 values and 0 marks"),
        P("NN.", "found 2 values and 0 marks on the stack, expected one value"),
        P("N(.", "found 1 values and 1 marks"),
        P("0.", "found 0 values on the stack, expected 1"),
        P("N\x86.", "found 1 values on the stack, expected 2"),
        P("N(\x85.", "found 0 values on the stack, expected 1"), /* below a mark */
        P("N(a.", "found 0 values on the stack, expected 2"),
        P("t.", "opcode 0x74: found no mark on the stack"),
        P("u.", "found no mark"),
        P("1.", "found no mark"),
        P("h\0.", "opcode 0x68: found no memo 0"),
        P("Nq\1h\2.", "found no memo 2"),
        P("j\xff\xff\xff\xff.", "found no memo 4294967295"),
        P("Nr\x40\x42\x0f\0.", "found memo 1000000, expected less than 1000000"),
        P("q\0.", "found 0 values on the stack, expected 1"),
        P("NNa.", "found None, expected a list"),
        P("}Na.", "found a dict of 0, expected a list"),
        P("](N\x90.", "found a list of 0, expected a set"),
        P("]NNs.", "found a list of 0, expected a dict"),
        P("](NNu.", "found a list of 0, expected a dict"),
        P("}(NNNu.", "found a key without a value"),
        P("(Nd.", "found a key without a value"),
        P("N)R.", "found None, expected something to call"),
        P("U\1a)\x81.", "found \"a\", expected something to call"),
        P("ca\nb\nNR.", "found None, expected a tuple of arguments"),
        P("NNb.", "found None, expected an object to give a state to"),
        P("ca\nb\n}b.", "found the global a.b, expected an object"),
        P("NN\x93.", "found a global whose names are not texts"),
        P("U\1aN\x93.", "found a global whose names are not texts"),
        P("\x80", "byte 0: opcode 0x80: found the end of the pickle, expected 1 bytes"),
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct pickle p;
        struct err e = {0};
        CHECK(!pickle_read(&p, rows[i].bytes, rows[i].size, pickle_budget(rows[i].size),
                           &e));
        CHECK_INT(e.code, ERR_INPUT);
        CHECK_HAS(e.message, rows[i].expected);
        CHECK(p.blocks == NULL);
    }
}

/* `piece` many times over between `first` and `last`. */
static void check_repeated(const char *first, const char *piece, size_t piece_size,
                           size_t times, const char *last, const char *expected)
{
    struct str s = {0};
    struct pickle p;
    struct err e = {0};
    str_add(&s, first);
    for (size_t i = 0; i < times; i++)
        str_add_bytes(&s, piece, piece_size);
    str_add(&s, last);
    bool ok = pickle_read(&p, s.bytes, s.size, pickle_budget(s.size), &e);
    CHECK(ok == !expected);
    if (expected)
        CHECK_HAS(e.message, expected);
    pickle_free(&p);
    str_free(&s);
}

static void test_limits(void)
{
    check_repeated("", "(", 1, 64, "NN", "expected STOP");
    check_repeated("", "(", 1, 65, "N.", "found values nested deeper than 64");
    check_repeated("(", "N", 1, limit_of(LIMIT_PICKLE_STACK), "t.", NULL);
    check_repeated("(", "N", 1, limit_of(LIMIT_PICKLE_STACK) + 1, "t.",
                   "found more than 100000 values on the stack");
    check_repeated("N", "20", 2, limit_of(LIMIT_PICKLE_OPCODES) / 2 - 1, ".", NULL);
    check_repeated("N", "20", 2, limit_of(LIMIT_PICKLE_OPCODES) / 2 + 1, ".",
                   "found more than 10000000 opcodes");
    check_repeated("N", "]0", 2, 3000000, ".", "found values of more than");
}

static const char every_kind[] =
    "\x80\x04(}\x94(K\1M\2\2J\3\0\0\0\x8a\1\4G?\xf0\0\0\0\0\0\0U\1aX\1\0\0\0bC\1c"
    "\x8a\x09\0\0\0\0\0\0\0\x80\0\x88N)u](NNe\x8f(N\x90(N\x91NN\x86(NNl(NNd"
    "cos\nsystem\nq\1)Rh\1)\x81}b\x8c\2os\x8c\6system\x93U\1kQ\x94(NN1t.";

static void test_every_cut(void)
{
    struct pickle p;
    size_t size = sizeof every_kind - 1;
    for (size_t cut = 0; cut <= size; cut++) {
        struct err e = {0};
        bool ok = pickle_read(&p, every_kind, cut, pickle_budget(cut), &e);
        CHECK_INT(ok, cut == size);
        CHECK(ok || e.code == ERR_INPUT);
        pickle_free(&p);
    }
}

/* Behind a text that leaves less and less of the memory that it may have. */
static void test_out_of_its_memory(void)
{
    enum { BUDGET = 1 << 16, NEEDED = 8192 };
    static uint8_t bytes[BUDGET + sizeof every_kind + 8];
    size_t refused = 0;
    for (size_t text = BUDGET - NEEDED; text < BUDGET; text += 16) {
        struct pickle p;
        struct err e = {0};
        memcpy(bytes, (uint8_t[]){'X', (uint8_t)text, (uint8_t)(text >> 8), 0, 0}, 5);
        memset(bytes + 5, 'x', text);
        bytes[5 + text] = '0';
        memcpy(bytes + 6 + text, every_kind, sizeof every_kind);
        bool ok = pickle_read(&p, bytes, 6 + text + sizeof every_kind - 1, BUDGET, &e);
        if (!ok)
            CHECK_HAS(e.message, "found values of more than 65536 bytes");
        CHECK(ok || strstr(e.hint, "--limit pickle-values="));
        refused += !ok;
        pickle_free(&p);
    }
    CHECK(refused > 50 && refused < NEEDED / 16);
}

static void test_long_ones_are_cut(void)
{
    struct pickle p;
    struct err e = {0};
    limit_set(LIMIT_PICKLE_BYTES, 3);
    CHECK(!pickle_read(&p, "\x80\2N.", 4, pickle_budget(4), &e) && p.truncated);
    CHECK_HAS(e.message, "byte 3: found the end of the pickle");
    limit_set(LIMIT_PICKLE_BYTES, 0);
    limit_set(LIMIT_PICKLE_VALUES, 100);
    CHECK_INT(pickle_budget(1000), 100);
    limit_set(LIMIT_PICKLE_VALUES, limit_table[LIMIT_PICKLE_VALUES].initial + 1);
    CHECK_INT(pickle_budget(1000), limit_of(LIMIT_PICKLE_VALUES));
    limit_set(LIMIT_PICKLE_VALUES, 0);
}

static void test_lookups(void)
{
    static const char bytes[] = "}(U\1aK\1U\1bK\2U\1aK\3K\5K\4u.";
    struct pickle p;
    struct err e = {0};
    CHECK(pickle_read(&p, bytes, sizeof bytes - 1, pickle_budget(sizeof bytes - 1), &e));
    CHECK_INT(pickle_get(p.root, "a")->integer, 3); /* Python keeps the last, too */
    CHECK_INT(pickle_get(p.root, "b")->integer, 2);
    CHECK(pickle_get(p.root, "c") == NULL);
    pickle_free(&p);
    CHECK(pickle_read(&p, "ca\nb\nU\1kQ\x85R.", 13, pickle_budget(13), &e));
    CHECK(pickle_is_call(p.root, "a", "b") && !pickle_is_call(p.root, "a", "c"));
    CHECK_INT(p.globals.count, 1);
    CHECK_INT(p.persistent.count, 1);
    CHECK_STR(p.persistent.items[0]->items[0]->text, "k");
    pickle_free(&p);
}

int main(void)
{
    RUN(test_values);
    RUN(test_programs_refused);
    RUN(test_limits);
    RUN(test_every_cut);
    RUN(test_out_of_its_memory);
    RUN(test_long_ones_are_cut);
    RUN(test_lookups);
    return CHECK_EXIT();
}
