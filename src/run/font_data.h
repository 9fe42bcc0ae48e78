/* font_data.h: DejaVu Sans and DejaVu Sans Bold as TrueType files in memory, and what has
 * letters that they have not: Droid Sans Fallback, where the build had it. */
#ifndef DIFFENS_RUN_FONT_DATA_H
#define DIFFENS_RUN_FONT_DATA_H

#include <stdbool.h>

extern const unsigned char font_data_regular[];
extern const unsigned char font_data_bold[];
extern const unsigned char font_data_fallback[];
extern const bool font_data_has_fallback;

#endif
