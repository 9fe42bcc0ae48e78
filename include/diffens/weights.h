/* weights.h: the named tensors of one network, on a device, and a cursor into them that
 * reads like the checkpoint's key names. Leaves file formats to tensor_file.h. */
#ifndef DIFFENS_WEIGHTS_H
#define DIFFENS_WEIGHTS_H

#include "diffens/tc.h"
#include "diffens/tensor_file.h"

/* A place in the tree of names: w_at(w, "down_blocks.%d.resnets.%d", i, j). Passed by
 * value; valid until weights_unload(). */
typedef struct weights {
    struct w_node *node;
} weights;

/* Reads tensors of `file` whose names begin with `prefix` (the prefix is dropped; ""
 * takes all) into `model`, floating-point ones as `dtype`. With a `model` on the "meta"
 * device nothing is read: names and shapes only, for weights_check(). `wanted`, such a
 * tree after a forward run, leaves out what that run did not ask for; with a NULL node
 * everything is loaded. The tensors belong to the scope, the names to the returned root,
 * which the caller unloads first. On failure `e` is set and the root's node is NULL;
 * ERR_STOPPED where the program was asked to stop. */
weights weights_load(tc_scope *model, const struct tensor_file *file, const char *prefix,
                     weights wanted, enum tc_dtype dtype, struct err *e);

/* Frees the names. Accepts a root whose node is NULL. */
void weights_unload(weights root);

/* The node at a dotted path below `w`; `%d` is the only conversion. Never fails: a path
 * that the checkpoint lacks is reported by w_tensor(), with its full name. */
weights w_at(weights w, const char *path, ...) __attribute__((format(printf, 2, 3)));

/* True when the checkpoint has a tensor at `w` or below. */
bool w_has(weights w);

/* The tensor at `w`, which must have this shape. Missing, of another shape or stored as
 * integers: the sticky error, with the full name; on the "meta" device the finding is
 * noted for weights_check() and a tensor of the expected shape stands in, so that one run
 * of a network's forward function finds everything that is wrong. Owned by the weights.
 */
tc_tensor *w_tensor(tc_scope *s, weights w, struct tc_shape expected);

/* A layer may keep a tensor in the form in which the device computes fastest, in place of
 * the file's. w_pack_begin() returns the scope in which to make that form, and NULL once
 * that is done. w_pack_end() puts `packed` in the tensor's place and returns it;
 * w_tensor() goes on to check the file's shape. After a failure `packed` is NULL and the
 * tensor stays as it is. */
tc_scope *w_pack_begin(weights w);
tc_tensor *w_pack_end(weights w, tc_tensor *packed);

/* Writes the dotted name of `w` into `name`; returns `name`. */
const char *w_name(weights w, char *name, size_t size);

/* After a forward run on the "meta" device: what the network asked for and the file lacks
 * or has in another shape or as integers, and what the file has and the network never
 * asked for. */
struct weights_findings {
    int64_t missing, mismatched, unused;
    int64_t parameters; /* elements that the network uses */
    char wrong[640];    /* the first five missing or mismatched tensors, in words */
    char first_unused[256];
};
struct weights_findings weights_check(weights root);

/* The part of that name belongs to the architecture although this program never asks for
 * it, as a decoder's encoder: weights_check() does not count it as unused. */
void weights_leave_out(weights root, const char *part);

/* Calls `tell` for each tensor that is missing or does not fit, in the order in which the
 * network asked: "conv_in.weight: found [320,4,1,1], expected [320,4,3,3]". */
void weights_tell_findings(weights root, void (*tell)(void *user, const char *finding),
                           void *user);

#endif
