/* network.h: one network's weight file, checked against its architecture before anything
 * is on the device, and its weights there. Leaves the architecture to nets.h and the
 * choice of the file to the caller. */
#ifndef DIFFENS_NETWORK_H
#define DIFFENS_NETWORK_H

#include "diffens/progress.h"
#include "diffens/weights.h"
#include "models/layout.h"

/* Start from `{0}`. Between network_open() and network_check() the caller runs the
 * network's forward function once, on shapes alone, with `asked` as its weights. */
struct network {
    char *path;
    struct tensor_file file;
    weights asked; /* what that run asked for, in the scope given to network_open() */
};

/* Opens the file at `path`, which the network owns from now on. `shapes` is a scope of a
 * root on the "meta" device that outlives the network. */
bool network_open(struct network *n, char *path, tc_scope *shapes, struct err *e);

/* The same for a file whose names may be those of another layout. */
bool network_open_as(struct network *n, char *path, layout_function *layout,
                     tc_scope *shapes, struct err *e);

/* Parts of the architecture that this program never asks for; up to NULL. */
void network_leave_out(struct network *n, const char *const *parts);

/* Refuses a file that lacks what the run asked for or has it in other shapes, after a
 * NOTE_FINDING for each. Tensors that it did not ask for are the caller's to judge. */
bool network_check(const struct network *n, const tc_scope *shapes,
                   const struct progress *progress, struct err *e);

/* Reads the tensors that the run asked for onto the device of `scope`, which owns them.
 * The caller unloads the names. On failure the node is NULL. */
weights network_load(const struct network *n, tc_scope *scope, enum tc_dtype dtype,
                     struct err *e);

/* Accepts a zeroed or half-built object. */
void network_close(struct network *n);

#endif
