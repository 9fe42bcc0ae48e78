/* stb.c: stb_image with a bound on its memory, since it grows its buffers to whatever a
 * compressed stream unpacks to, and an account of it, since it leaves some behind where
 * memory runs out. Leaves everything else to image.c. */
#include "io/stb.h"

#include <stdlib.h>

static _Thread_local size_t largest;
static _Thread_local bool malloc_failed;

enum { LIVE = 32 }; /* more than it holds at a time */
static _Thread_local void *live[LIVE];

/* The place of `bytes` among the live blocks, of NULL a free one. */
static void **place_of(const void *bytes)
{
    void **place = live;
    while (place < live + LIVE && *place != bytes)
        place++;
    return place < live + LIVE ? place : NULL;
}

static void *bounded_realloc(void *old, size_t size)
{
    void **place = place_of(old);
    if (size > largest || !place)
        return NULL;
    void *bytes = realloc(old, size);
    malloc_failed = malloc_failed || !bytes;
    if (bytes)
        *place = bytes;
    return bytes;
}

static void forget_and_free(void *bytes)
{
    void **place = place_of(bytes);
    if (place)
        *place = NULL;
    free(bytes);
}

#define STBI_MALLOC(size) bounded_realloc(NULL, (size))
#define STBI_REALLOC(bytes, size) bounded_realloc((bytes), (size))
#define STBI_FREE(bytes) forget_and_free(bytes)
#define STBI_ONLY_PNG
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_NO_HDR
#define STBI_MAX_DIMENSIONS 1000000 /* of limit_table */
#define STB_IMAGE_IMPLEMENTATION
#include <stb/stb_image.h>

struct stb_result stb_decode(const uint8_t *bytes, size_t size, size_t most)
{
    struct stb_result r = {0};
    largest = most;
    malloc_failed = false;
    r.pixels =
        stbi_load_from_memory(bytes, (int)size, &r.width, &r.height, &r.channels, 0);
    r.out_of_memory = malloc_failed;
    r.reason = r.pixels ? "" : stbi_failure_reason();
    for (int i = 0; i < LIVE; i++) {
        if (live[i] != r.pixels)
            free(live[i]);
        live[i] = NULL;
    }
    return r;
}
