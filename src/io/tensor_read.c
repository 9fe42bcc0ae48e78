/* tensor_read.c: the bytes of one tensor: row by row, or gathered from where a view has
 * them; checked against the checksum of their storage. Leaves names to tensor_file.c. */
#include "diffens/tensor_file.h"

#include "base/str.h"
#include "io/crc32.h"
#include "io/file.h"
#include "io/tensor_file_parts.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK ((size_t)256 << 10) /* stays in the processor's cache for its checksum */

static bool check_crc(const struct tensor_part *part, const struct tensor_storage *s,
                      uint32_t crc, struct err *e)
{
    return crc == s->crc ||
           err_set(e, ERR_INPUT,
                   "%s: %" PRIu64 " bytes at %" PRIu64
                   ": found CRC %08x, expected %08x: the file is damaged",
                   STR_SHOW(part->path), s->bytes, s->offset, (unsigned)crc,
                   (unsigned)s->crc);
}

/* Reads a storage from begin to end into `out`, or without one for its checksum alone. */
static bool read_storage(const struct tensor_part *part, struct tensor_storage *s,
                         unsigned char *out, struct err *e)
{
    unsigned char *chunk = out ? NULL : malloc(CHUNK);
    bool ok = out || chunk || err_set(e, ERR_MEMORY, "out of memory for a chunk");
    uint32_t crc = 0;
    for (uint64_t done = 0; ok && done < s->bytes;) {
        uint64_t rest = s->bytes - done;
        size_t size = rest < CHUNK ? (size_t)rest : CHUNK;
        unsigned char *place = out ? out + done : chunk;
        ok = file_read_at(part->fd, place, size, s->offset + done, part->path, e);
        if (ok)
            crc = crc32_add(crc, place, size);
        done += size;
    }
    free(chunk);
    s->checked = ok && check_crc(part, s, crc, e);
    return s->checked;
}

/* Bytes from the first element of a view to the end of its last. */
static uint64_t view_extent(const struct tensor_entry *entry)
{
    uint64_t elements = 1;
    for (int i = 0; i < entry->rank; i++)
        elements += (uint64_t)(entry->dim[i] - 1) * (uint64_t)entry->stride[i];
    return elements * file_dtype_size(entry->dtype);
}

/* Copies the elements of dimension `i` and below; returns where the next one goes. */
static unsigned char *gather(const struct tensor_entry *entry, int i,
                             const unsigned char *from, unsigned char *to)
{
    size_t size = file_dtype_size(entry->dtype);
    if (i == entry->rank) {
        memcpy(to, from, size);
        return to + size;
    }
    size_t step = (size_t)entry->stride[i] * size;
    for (int64_t k = 0; k < entry->dim[i]; k++)
        to = gather(entry, i + 1, from + (size_t)k * step, to);
    return to;
}

static bool read_view(const struct tensor_part *part, const struct tensor_entry *entry,
                      unsigned char *out, struct err *e)
{
    size_t extent = (size_t)view_extent(entry);
    unsigned char *bytes = malloc(extent);
    if (!bytes)
        return err_set(e, ERR_MEMORY, "%s: out of memory for %zu bytes",
                       STR_SHOW(part->path), extent);
    bool ok = file_read_at(part->fd, bytes, extent, entry->offset, part->path, e);
    if (ok)
        gather(entry, 0, bytes, out);
    free(bytes);
    return ok;
}

bool tensor_file_read(const struct tensor_file *t, const struct tensor_entry *entry,
                      void *out, struct err *e)
{
    const struct tensor_part *part = &t->parts[entry->part];
    struct tensor_storage *s = entry->storage >= 0 ? &t->storages[entry->storage] : NULL;
    if (entry->bytes == 0)
        return true;
    bool check = s && !s->checked;
    if (check && !entry->strided && entry->offset == s->offset &&
        entry->bytes == s->bytes)
        return read_storage(part, s, out, e);
    if (check && !read_storage(part, s, NULL, e))
        return false;
    if (entry->strided)
        return read_view(part, entry, out, e);
    return file_read_at(part->fd, out, (size_t)entry->bytes, entry->offset, part->path,
                        e);
}
