/* enlarge.h: a picture drawn larger by a whole factor. */
#ifndef DIFFENS_RUN_ENLARGE_H
#define DIFFENS_RUN_ENLARGE_H

#include "diffens/image.h"

#define ENLARGE_MAX 64

/* Draws `picture`, `factor` (1..ENLARGE_MAX) times as large, onto `page` with its top
 * left corner at (left, top), where it must fit. Factor 1 copies the pixels; others
 * interpolate with the Catmull-Rom cubic (Keys 1981, a = -1/2), edges repeated. */
void enlarge_onto(struct image *page, const struct image *picture, int left, int top,
                  int factor);

#endif
