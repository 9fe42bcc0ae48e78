/* single_file.h: a checkpoint of Stable Diffusion 1.x or 2.x with its networks in one
 * file. What diffuser.c leaves out. */
#ifndef DIFFENS_SINGLE_FILE_H
#define DIFFENS_SINGLE_FILE_H

#include "diffusion/diffuser.h"

/* Opens the three networks of `path`, reads their settings off the tensors, and finds a
 * tokenizer and a scheduler. On failure diffuser_close() frees what is there. */
bool diffuser_open_single_file(struct diffuser *d, const char *path,
                               const char *scheduler, struct err *e);

#endif
