/* stb.h: stb_image, PNG only, with a bound on the memory it may ask for. Leaves
 * checking the file's head, and what to do with channels, to image.c. */
#ifndef DIFFENS_STB_H
#define DIFFENS_STB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stb_result {
    uint8_t *pixels; /* [height,width,channels], for free(); NULL on failure */
    int width, height, channels;
    bool out_of_memory; /* malloc failed; not set where `most` was the reason */
    const char *reason; /* may quote bytes of the file; "" where there are pixels */
};

/* Decodes `bytes`. No allocation may be larger than `most` bytes. */
struct stb_result stb_decode(const uint8_t *bytes, size_t size, size_t most);

#endif
