/* faults.h: calls of the program's own code into the C library that fail when they are
 * told to: the linker gives those calls to faults.c (--wrap), libtorch's stay as they
 * are. */
#ifndef DIFFENS_TESTS_FAULTS_H
#define DIFFENS_TESTS_FAULTS_H

#include <stdatomic.h>
#include <stdbool.h>

enum fault_kind {
    FAULT_ALLOCATE,
    FAULT_OPEN,
    FAULT_READ,
    FAULT_WRITE,
    FAULT_FLUSH,
    FAULT_RENAME,
    FAULT_CLOSE,
    FAULT_FOLDER,
    FAULT_LOOK,
    FAULT_KINDS
};

/* What is to fail, and how often each kind was called; shared between processes. */
struct faults {
    int kind;    /* FAULT_KINDS: none */
    long at;     /* this call of the kind, from 1 */
    bool onward; /* and all after it */
    int error;   /* errno; 0: what is usual for the kind */
    bool hiccup; /* nothing fails, but reads and writes are short and interrupted */
    atomic_long calls[FAULT_KINDS];
};

/* Where the wrapped calls look; NULL: nothing fails, nothing is counted. */
extern struct faults *faults;

/* "allocate", "open", ...; FAULT_KINDS for other names. */
enum fault_kind fault_kind_of(const char *name);

#endif
