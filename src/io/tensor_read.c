/* tensor_read.c: the bytes of one tensor: as they lie, or gathered from where a view has
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
                      uint32_t crc, const char *name, struct err *e)
{
    return crc == s->crc ||
           err_set(e, ERR_INPUT,
                   "%s: tensor \"%s\": %" PRIu64 " bytes at %" PRIu64
                   ": found CRC %08x, expected %08x: the file is damaged",
                   STR_SHOW(part->path), STR_SHOW(name), s->bytes, s->offset,
                   (unsigned)crc, (unsigned)s->crc);
}

/* Reads bytes into `out`, and adds them to a checksum while they are in the cache. */
static bool read_summed(const struct tensor_part *part, unsigned char *out, uint64_t size,
                        uint64_t offset, uint32_t *crc, struct err *e)
{
    for (uint64_t done = 0; done < size;) {
        uint64_t rest = size - done;
        size_t take = rest < CHUNK ? (size_t)rest : CHUNK;
        if (!file_read_at(part->fd, out + done, take, offset + done, part->path, e))
            return false;
        *crc = crc32_add(*crc, out + done, take);
        done += take;
    }
    return true;
}

/* Reads a storage from begin to end for its checksum alone. */
static bool check_storage(const struct tensor_part *part, struct tensor_storage *s,
                          const char *name, struct err *e)
{
    unsigned char *chunk = malloc(CHUNK);
    bool ok = chunk || err_set(e, ERR_MEMORY, "out of memory for a chunk");
    uint32_t crc = 0;
    for (uint64_t done = 0; ok && done < s->bytes; done += CHUNK) {
        uint64_t rest = s->bytes - done;
        ok = read_summed(part, chunk, rest < CHUNK ? rest : CHUNK, s->offset + done, &crc,
                         e);
    }
    free(chunk);
    s->checked = ok && check_crc(part, s, crc, name, e);
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

static int64_t row_count(const struct tensor_entry *entry)
{
    return entry->rank > 0 ? entry->dim[0] : 1;
}

/* The next rows, as an entry of their own. */
static struct tensor_entry next_rows(const struct tensor_reader *r, int64_t rows)
{
    struct tensor_entry piece = *r->entry;
    uint64_t width = piece.bytes / (uint64_t)row_count(r->entry);
    uint64_t step = piece.strided && piece.rank > 0
                        ? (uint64_t)piece.stride[0] * file_dtype_size(piece.dtype)
                        : width;
    piece.offset += (uint64_t)r->row * step;
    piece.bytes = (uint64_t)rows * width;
    if (piece.rank > 0)
        piece.dim[0] = rows;
    return piece;
}

bool tensor_reader_next(struct tensor_reader *r, int64_t rows, void *out, struct err *e)
{
    const struct tensor_entry *entry = r->entry;
    const struct tensor_part *part = &r->file->parts[entry->part];
    struct tensor_storage *s =
        entry->storage >= 0 ? &r->file->storages[entry->storage] : NULL;
    if (entry->bytes == 0)
        return true;
    struct tensor_entry piece = next_rows(r, rows);
    r->row += rows;
    bool check = s && !s->checked;
    bool whole =
        s && !entry->strided && entry->offset == s->offset && entry->bytes == s->bytes;
    if (check && whole) {
        if (!read_summed(part, out, piece.bytes, piece.offset, &r->crc, e))
            return false;
        if (r->row >= row_count(entry))
            s->checked = check_crc(part, s, r->crc, entry->name, e);
        return r->row < row_count(entry) || s->checked;
    }
    if (check && !check_storage(part, s, entry->name, e))
        return false;
    if (entry->strided)
        return read_view(part, &piece, out, e);
    return file_read_at(part->fd, out, (size_t)piece.bytes, piece.offset, part->path, e);
}

bool tensor_file_read(const struct tensor_file *t, const struct tensor_entry *entry,
                      void *out, struct err *e)
{
    struct tensor_reader r = {.file = t, .entry = entry};
    return tensor_reader_next(&r, row_count(entry), out, e);
}
