/* output.h: standard output, completely. Leaves what goes there to its callers. */
#ifndef DIFFENS_CLI_OUTPUT_H
#define DIFFENS_CLI_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

/* Writes all of it, however slow the reader; false with errno. Nothing else writes there,
 * not even through stdio. */
bool output_write(const char *bytes, size_t size);

#endif
