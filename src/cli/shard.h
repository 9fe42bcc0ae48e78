/* shard.h: which part of a run a task of a Slurm job array does. */
#ifndef DIFFENS_CLI_SHARD_H
#define DIFFENS_CLI_SHARD_H

#include "diffens/error.h"
#include "diffens/options.h"

/* Takes what --shard auto stands for from $SLURM_ARRAY_TASK_ID, _MIN, _MAX, _STEP and
 * _COUNT, also in the recorded command line; leaves other shards alone. ERR_USAGE names
 * the variable that is missing or does not fit; or ERR_MEMORY. */
bool shard_resolve(struct options *o, struct err *e);

#endif
