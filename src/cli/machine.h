/* machine.h: what kind of machine this is, as far as `doctor` tells it. Leaves devices to
 * tc.h. */
#ifndef DIFFENS_CLI_MACHINE_H
#define DIFFENS_CLI_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

struct machine {
    char processor[96]; /* its name, else its architecture */
    char features[200]; /* "avx2 avx512f amx_tile": those that matter here */
    int processors;     /* that this process may use */
    char folder[256];   /* the present one */
    int64_t disk_free;  /* bytes there; -1: unknown */
    bool ffmpeg;        /* in $PATH */
    char locale[64];    /* of the environment: "C.UTF-8" */
};

/* Never fails: what cannot be found out is empty or -1. */
void machine_look(struct machine *m);

#endif
