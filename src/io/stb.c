/* stb.c: stb_image with a bound on its memory: it grows its buffers to whatever a
 * compressed stream unpacks to. Leaves everything else to image.c. */
#include "io/stb.h"

#include <stdlib.h>

static _Thread_local size_t largest;
static _Thread_local bool malloc_failed;

static void *bounded_realloc(void *old, size_t size)
{
    if (size > largest)
        return NULL;
    void *bytes = realloc(old, size);
    malloc_failed = malloc_failed || !bytes;
    return bytes;
}

#define STBI_MALLOC(size) bounded_realloc(NULL, (size))
#define STBI_REALLOC(bytes, size) bounded_realloc((bytes), (size))
#define STBI_FREE(bytes) free(bytes)
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
    return r;
}
