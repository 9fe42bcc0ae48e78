/* option_table.h: the one table of options, from which the parser, --help, configs and
 * the record of resolved options are made. Leaves reading values to parse.c. */
#ifndef DIFFENS_CLI_OPTION_TABLE_H
#define DIFFENS_CLI_OPTION_TABLE_H

#include "diffens/options.h"

#include <stddef.h>

/* What a value looks like, and the type of the field that takes it. */
enum option_kind {
    OPTION_FLAG,     /* no value; bool */
    OPTION_TEXT,     /* any UTF-8; const char * */
    OPTION_PATH,     /* not empty; const char * */
    OPTION_INTEGER,  /* int; "auto", where `automatic`, is 0 */
    OPTION_SEED,     /* 0..2^64-1; uint64_t */
    OPTION_REAL,     /* double */
    OPTION_CHOICE,   /* one of `choices`; an enum that counts from 0 */
    OPTION_WORD,     /* one of `choices`; const char * */
    OPTION_SIZE,     /* HxW, each a multiple of `multiple`; struct option_size */
    OPTION_NAMES,    /* A,B,...; min..max of them; struct option_names */
    OPTION_INTERVAL, /* A:B, A <= B; struct option_interval */
    OPTION_GAMMA,    /* number, list or range; struct option_numbers */
    OPTION_WEIGHTS,  /* w1,w2,...; may be given again; struct option_weight_sets */
    OPTION_SET,    /* list of `choices`, "all" or, where min is 0, "none"; unsigned, bits
                      in their order */
    OPTION_SHARD,  /* I/N, or "auto"; struct option_shard */
    OPTION_CROPS,  /* as crop_spec_parse() reads it; const char * */
    OPTION_LIMITS, /* NAME=N,... of limit_table, a name once; may be given again;
                      struct option_names */
};

enum option_group {
    GROUP_INPUT,
    GROUP_DRAW,
    GROUP_MIX,
    GROUP_OPTIMIZE,
    GROUP_COMPUTE,
    GROUP_OUTPUT
};
#define GROUP_COUNT 6

struct option {
    const char *name;     /* without the dashes */
    char letter;          /* short form, or 0 */
    const char *argument; /* as --help names the value; NULL: takes none */
    enum option_kind kind;
    size_t offset;       /* of the field in struct options */
    const char *initial; /* default, written as a user would; NULL: not set */
    double min, max;
    int multiple;
    bool automatic;
    bool free;           /* may change when a run goes on; all of GROUP_OUTPUT may */
    bool first_stage;    /* means nothing once the parents exist (--images) */
    const char *brief;   /* one line of -h; NULL: not one of the main options */
    bool unrecorded;     /* says how to start, not what to make: in no record or config */
    const char *choices; /* separated by blanks */
    const char *words;   /* the same where any other value is allowed too: to offer */
    const char *variable; /* of the environment, read where nobody else says; or NULL */
    const char *help;
    enum option_group group;
    unsigned commands; /* enum command_bit */
};

extern const struct option option_table[];
extern const int option_count;

/* The option of that name that `commands` has (a mask), or NULL. Two options may share a
 * name where no command has both. */
const struct option *option_find(const char *name, size_t length, unsigned commands);

/* The option with that letter that `commands` has, or NULL. */
const struct option *option_find_letter(char letter, unsigned commands);

/* The known name nearest to `name`, when near enough to be meant; else NULL. */
const struct option *option_nearest(const char *name, unsigned commands);

const char *option_group_title(enum option_group group);

/* Whether it may be given several times, each time with another value. */
bool option_is_repeatable(const struct option *o);

/* What values are allowed, in words: "integer 1..1000". Writes into `text`, returns it.
 */
const char *option_expected(const struct option *o, char *text, size_t size);

/* Word number `index` of `choices`; its length, or 0 past the end. */
size_t option_choice(const struct option *o, int index, const char **word);

#endif
