/* environment.h: options from the environment (DIFFENS_DEVICE and others; the option
 * table names them). */
#ifndef DIFFENS_CLI_ENVIRONMENT_H
#define DIFFENS_CLI_ENVIRONMENT_H

#include "diffens/options.h"

#include "diffens/error.h"

/* Takes what is given nowhere else. An empty variable is none. ERR_USAGE. */
bool environment_read(struct options *o, struct err *e);

#endif
