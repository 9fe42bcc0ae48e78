/* crc32.c: CRC-32 by libdeflate, whose carry-less multiplication keeps up with reading
 * weights; zlib's does not. */
#include "io/crc32.h"

#include <libdeflate.h>

uint32_t crc32_add(uint32_t crc, const void *bytes, size_t size)
{
    return libdeflate_crc32(crc, bytes, size);
}
