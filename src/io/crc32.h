/* crc32.h: CRC-32 as zip archives have it, of bytes as they come. */
#ifndef DIFFENS_CRC32_H
#define DIFFENS_CRC32_H

#include <stddef.h>
#include <stdint.h>

/* Start from 0. */
uint32_t crc32_add(uint32_t crc, const void *bytes, size_t size);

#endif
