/* safe_name.h: names out of files that become parts of file names. */
#ifndef DIFFENS_MODELS_SAFE_NAME_H
#define DIFFENS_MODELS_SAFE_NAME_H

#include <stdbool.h>

#define SAFE_NAME_MAX 96 /* bytes: a case, a model and a layer share a name of 255 */

/* In words, for error messages. */
#define SAFE_NAME_RULE                                                                   \
    "a name of 1 to 96 bytes without /, \\ and control characters that does not begin "  \
    "with . or -"

/* True for UTF-8 that SAFE_NAME_RULE describes. */
bool safe_name(const char *name);

#endif
