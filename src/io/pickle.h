/* pickle.h: Python pickles as inert values. A global is a pair of names that nobody looks
 * up; calling it makes a record of the call. Leaves what PyTorch means by them to
 * torch_tensors.c.
 *
 * The opcodes are those that protocols 2 to 5 write (Python: Lib/pickletools.py). What
 * needs a registry or a second stream is refused: EXT1-4, INST, OBJ, NEWOBJ_EX,
 * NEXT_BUFFER, READONLY_BUFFER; so is the text form of protocol 0. */
#ifndef DIFFENS_PICKLE_H
#define DIFFENS_PICKLE_H

#include "diffens/error.h"

#include <stddef.h>
#include <stdint.h>

enum pickle_kind {
    PICKLE_NONE,
    PICKLE_BOOL,
    PICKLE_INT,
    PICKLE_BIG, /* an integer beyond 64 bits: its little-endian bytes in `text` */
    PICKLE_FLOAT,
    PICKLE_TEXT,
    PICKLE_BYTES,
    PICKLE_TUPLE,
    PICKLE_LIST,
    PICKLE_SET,
    PICKLE_DICT,
    PICKLE_GLOBAL,
    PICKLE_OBJECT,     /* what calling a global, or a record of a call, would have made */
    PICKLE_PERSISTENT, /* a persistent id; items[0] is the id */
};

struct pickle_value {
    enum pickle_kind kind;
    uint32_t count; /* bytes of a text; items; of dicts and objects keys and values */
    union {
        int64_t integer; /* of a BOOL, too */
        double number;
        const char *text;            /* followed by a NUL; the module of a GLOBAL */
        struct pickle_value **items; /* of dicts and objects: key, value, key, value */
    };
    union {
        const char *name;         /* of a GLOBAL */
        struct pickle_call *call; /* of an OBJECT */
    };
};

struct pickle_call {
    const struct pickle_value *callable, *arguments; /* arguments is a TUPLE */
};

/* Everything belongs to it. Start from `{0}`. */
struct pickle {
    const struct pickle_value *root;
    size_t size;                    /* bytes read, STOP included */
    bool truncated;                 /* the failure was that the bytes ended too early */
    struct pickle_value globals;    /* LIST of every GLOBAL, in order of appearance */
    struct pickle_value persistent; /* LIST of every persistent id, likewise */
    struct pickle_block *blocks;    /* private, as the rest */
    size_t used, budget;
};

/* Reads the pickle that begins at `bytes`. False with ERR_INPUT or ERR_MEMORY: "byte 12:
 * opcode 0x52: found ..., expected ...", without a file name; then `p` is freed. */
bool pickle_read(struct pickle *p, const void *bytes, size_t size, size_t budget,
                 struct err *e);

/* Memory for the values of a file's pickles, of `size` bytes together: the budget of the
 * first; `used` is what one has taken of it. */
size_t pickle_budget(size_t size);

/* Accepts a zeroed object. */
void pickle_free(struct pickle *p);

bool pickle_is_global(const struct pickle_value *value, const char *module,
                      const char *name);

/* True for an OBJECT made by calling that global. */
bool pickle_is_call(const struct pickle_value *value, const char *module,
                    const char *name);

/* A dict, or an object that was given items as a dict is. */
bool pickle_is_mapping(const struct pickle_value *value);

/* The last value under that text in a mapping, or NULL. */
const struct pickle_value *pickle_get(const struct pickle_value *mapping,
                                      const char *key);

/* What a value is, in words: "a tuple of 3", "an object of torch.nn.Linear". Returns
 * `out`. */
const char *pickle_describe(const struct pickle_value *value, char *out, size_t size);

#endif
