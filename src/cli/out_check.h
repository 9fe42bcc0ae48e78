/* out_check.h: refuses an --out that holds what the command itself reads: --force would
 * remove it first; and a --log that lines would be added to though it is no log. Leaves
 * what else is in the directory to src/run. */
#ifndef DIFFENS_CLI_OUT_CHECK_H
#define DIFFENS_CLI_OUT_CHECK_H

#include "diffens/options.h"

#include "diffens/error.h"

#include <sys/stat.h>

/* ERR_USAGE where --out is the directory that --images reads, or where the run in it made
 * a file that another option names. With or without --force, since a refusal that offers
 * --force would lead there. What is not there is left to whoever reads it. */
bool out_check_inputs(const struct options *o, struct err *e);

/* ERR_USAGE where --out is one of the directories that merge is to join. */
bool out_check_shards(const struct options *o, struct err *e);

/* ERR_USAGE where the log, a regular file that is open but not written yet, is one that
 * the command reads, or lies in a directory of a run or of pictures and has not a name
 * that ends in .log: lines in a file of a run would spoil it. */
bool out_check_log(const struct options *o, const struct stat *log, struct err *e);

#endif
