/* shapes.h: tensors by name where an architecture is read off their shapes. */
#ifndef DIFFENS_MODELS_SHAPES_H
#define DIFFENS_MODELS_SHAPES_H

#include "diffens/tensor_file.h"

#define SHAPE_MAX 65536 /* channels, tokens, rows: far above any published network */

/* The tensor of that name, of this rank, its sizes 1..SHAPE_MAX. `what` says what the
 * file is expected to hold, `path` stands in messages. ERR_INPUT. */
bool shapes_need(const struct tensor_file *file, const char *path, const char *name,
                 int rank, const char *what, const struct tensor_entry **out,
                 struct err *e);

/* The tensor at a path with numbers in it, or NULL. */
const struct tensor_entry *shapes_at(const struct tensor_file *file, const char *format,
                                     ...) __attribute__((format(printf, 2, 3)));

#endif
