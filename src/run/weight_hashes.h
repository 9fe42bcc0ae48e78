/* weight_hashes.h: SHA-256 of weight files, in a thread beside the computation, so that
 * gigabytes cost no waiting. Leaves which files those are to the caller. */
#ifndef DIFFENS_RUN_WEIGHT_HASHES_H
#define DIFFENS_RUN_WEIGHT_HASHES_H

#include "base/sha256.h"
#include "diffens/error.h"

struct weight_hashes;

/* NULL with ERR_MEMORY. */
struct weight_hashes *weight_hashes_new(struct err *e);

/* Puts a file on the list; one that is on it already is hashed once. Returns its number,
 * -1 with ERR_MEMORY or ERR_INPUT. */
int weight_hashes_add(struct weight_hashes *h, const char *path, struct err *e);

/* Copies the digest of file `number`; false while it is not known yet. */
bool weight_hashes_get(struct weight_hashes *h, int number, char hex[SHA256_HEX]);

/* Waits for all of them. ERR_INPUT where one could not be read, ERR_STOPPED. */
bool weight_hashes_wait(struct weight_hashes *h, struct err *e);

/* Stops and frees everything. Accepts NULL. */
void weight_hashes_free(struct weight_hashes *h);

#endif
