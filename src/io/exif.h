/* exif.h: how a camera was held. Leaves the pixels to jpeg.c. */
#ifndef DIFFENS_EXIF_H
#define DIFFENS_EXIF_H

#include <stddef.h>
#include <stdint.h>

/* The orientation that a JPEG file's EXIF data give (EXIF 2.32, tag 274), 1..8: what has
 * to be undone to show the picture upright. 1, which is upright, where there is none or
 * what is there makes no sense. */
int exif_orientation(const uint8_t *bytes, size_t size);

#endif
