/* read_ahead.h: brings weight files into the system's cache before they are needed,
 * beside the computation. Nothing fails here: what does not come ahead is read when it is
 * needed. Leaves what comes next to the caller. */
#ifndef DIFFENS_READ_AHEAD_H
#define DIFFENS_READ_AHEAD_H

#include "diffens/tensor_file.h"

struct read_ahead;

/* Begins with the first file, and goes on in a thread, in this order and `limit` bytes
 * far. The files stay open until read_ahead_end(). NULL where there is nothing to do or
 * no means to do it. */
struct read_ahead *read_ahead_begin(const struct tensor_file *const *files, int count,
                                    int64_t limit);

/* Stops where it is. Accepts NULL. */
void read_ahead_end(struct read_ahead *r);

#endif
