/* merge.h: the shards of a run, joined into the run that one machine would have made. */
#ifndef DIFFENS_MERGE_H
#define DIFFENS_MERGE_H

#include "diffens/stages.h"
#include "run/shards.h"

/* Joins them in the directory of `run->record`, which is open with nothing planned yet.
 * `run` is filled as for pipeline_run() but for ensemble and prompts, with the options of
 * the shards but for --shard. Goes on with a joining that was cut off; with
 * `start_over`, replaces what the directory holds. ERR_INPUT where a file is not what its
 * shard's record says, or the directory holds another run. */
bool merge_run(const struct run *run, const struct shards *s, bool start_over,
               struct err *e);

#endif
