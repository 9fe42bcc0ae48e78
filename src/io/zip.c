/* zip.c: from the end of the archive back to its entries. Leaves CRCs to those who read
 * the bytes: sizes in the directory count, since PyTorch writes them behind the data
 * where a header would have them. */
#include "io/zip.h"

#include "base/str.h"
#include "io/file.h"
#include "io/limits.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define END_BYTES 22
#define END64_BYTES 56
#define LOCATOR_BYTES 20
#define RECORD_BYTES 46
#define HEADER_BYTES 30
#define NAME_MOST 1024 /* bytes of an entry's name */
#define NONE32 0xFFFFFFFFu

#define FLAG_DESCRIPTOR 0x8u /* sizes and CRC also follow the data */
#define FLAG_UTF8 0x800u

/* Little-endian numbers. */
static uint64_t number_at(const uint8_t *bytes, int size)
{
    uint64_t number = 0;
    for (int i = size - 1; i >= 0; i--)
        number = number << 8 | bytes[i];
    return number;
}

static bool is_record(const uint8_t *bytes, const char *kind)
{
    return bytes[0] == 'P' && bytes[1] == 'K' && memcmp(bytes + 2, kind, 2) == 0;
}

/* Where the directory lies, as the end records say. */
struct directory {
    uint64_t offset, size, count;
    uint64_t end; /* where it must end: the first of the end records */
};

static bool fail_zip(struct err *e, const char *found)
{
    return err_set(e, ERR_INPUT,
                   "found %s, expected a complete zip archive: incomplete download?",
                   found);
}

/* The ZIP64 end record, where the locator in front of the plain one points to it. */
static bool read_end64(struct directory *d, const struct tensor_part *part,
                       const uint8_t *locator, struct err *e)
{
    uint8_t end[END64_BYTES];
    uint64_t at = number_at(locator + 8, 8);
    if (d->end < LOCATOR_BYTES + END64_BYTES ||
        at != d->end - LOCATOR_BYTES - END64_BYTES)
        return fail_zip(e, "a ZIP64 end record in another place than its locator says");
    if (!file_read_at(part->fd, end, sizeof end, at, "ZIP64 end record", e))
        return false;
    if (!is_record(end, "\6\6") || number_at(end + 4, 8) != END64_BYTES - 12)
        return fail_zip(e, "no ZIP64 end record where its locator points to");
    if (number_at(end + 16, 8) != 0 || number_at(end + 24, 8) != number_at(end + 32, 8))
        return fail_zip(e, "a part of an archive of several files");
    d->count = number_at(end + 32, 8);
    d->size = number_at(end + 40, 8);
    d->offset = number_at(end + 48, 8);
    d->end = at;
    return true;
}

static bool read_end(struct directory *d, const struct tensor_part *part, struct err *e)
{
    uint8_t bytes[LOCATOR_BYTES + END_BYTES] = {0};
    uint8_t *end = bytes + LOCATOR_BYTES;
    if (part->size < END_BYTES)
        return fail_zip(e, "no end record");
    d->end = part->size - END_BYTES;
    bool has_locator = d->end >= LOCATOR_BYTES;
    size_t skip = has_locator ? 0 : LOCATOR_BYTES;
    if (!file_read_at(part->fd, bytes + skip, sizeof bytes - skip,
                      d->end - (LOCATOR_BYTES - skip), "end record", e))
        return false;
    if (!is_record(end, "\5\6"))
        return fail_zip(e, "no end record");
    if (number_at(end + 4, 4) != 0 || number_at(end + 8, 2) != number_at(end + 10, 2) ||
        number_at(end + 20, 2) != 0)
        return fail_zip(e, "a comment or a part of an archive of several files");
    d->count = number_at(end + 8, 2);
    d->size = number_at(end + 12, 4);
    d->offset = number_at(end + 16, 4);
    return !is_record(bytes, "\6\7") || read_end64(d, part, bytes, e);
}

static bool check_directory(const struct directory *d, struct err *e)
{
    if (d->size > d->end || d->offset != d->end - d->size)
        return err_set(e, ERR_INPUT,
                       "directory: found %" PRIu64 " bytes at %" PRIu64
                       ", expected it to end at %" PRIu64 ", where the end record begins",
                       d->size, d->offset, d->end);
    uint64_t entries = limit_of(LIMIT_ZIP_ENTRIES), most = limit_of(LIMIT_ZIP_DIRECTORY);
    if (d->count == 0 || d->count > entries) {
        err_set(e, ERR_INPUT, "found %" PRIu64 " entries, expected 1..%" PRIu64, d->count,
                entries);
        return d->count > 0 && limit_hint(LIMIT_ZIP_ENTRIES, e);
    }
    if (d->size <= most)
        return true;
    err_set(e, ERR_INPUT, "directory: found %" PRIu64 " bytes, expected at most %" PRIu64,
            d->size, most);
    return limit_hint(LIMIT_ZIP_DIRECTORY, e);
}

static bool fail_entry(const char *name, struct err *e, const char *problem)
{
    return err_set(e, ERR_INPUT, "entry \"%s\": %s", STR_SHOW(name), problem);
}

/* The sizes and the offset that did not fit into 32 bits, in this order (APPNOTE 4.5.3)
 */
static bool read_extra64(struct zip_entry *entry, uint64_t *packed, const uint8_t *extra,
                         size_t size, struct err *e)
{
    uint64_t *const fields[] = {&entry->size, packed, &entry->offset};
    while (size >= 4) {
        size_t length = (size_t)number_at(extra + 2, 2);
        if (length > size - 4)
            return fail_entry(entry->name, e,
                              "found a broken extra field, expected a whole one");
        if (number_at(extra, 2) == 1) {
            const uint8_t *at = extra + 4;
            for (int i = 0; i < 3; i++) {
                if (*fields[i] != NONE32)
                    continue;
                if (length < 8)
                    return fail_entry(entry->name, e,
                                      "found a short ZIP64 field, expected a whole one");
                *fields[i] = number_at(at, 8);
                at += 8;
                length -= 8;
            }
            return true;
        }
        extra += 4 + length;
        size -= 4 + length;
    }
    return true;
}

static bool check_method(const char *name, const uint8_t *flags_and_method, struct err *e)
{
    uint64_t flags = number_at(flags_and_method, 2);
    if (flags & ~(uint64_t)(FLAG_DESCRIPTOR | FLAG_UTF8))
        return err_set(e, ERR_INPUT,
                       "entry \"%s\": found flags 0x%04X (encrypted or patched), "
                       "expected a plain entry",
                       STR_SHOW(name), (unsigned)flags);
    return number_at(flags_and_method + 2, 2) == 0 ||
           fail_entry(name, e,
                      "found it compressed, expected it stored, as PyTorch does");
}

/* One record of the directory; *size is what it takes. `entry->offset` becomes that of
 * its header. */
static bool read_record(struct zip_entry *entry, const uint8_t *record, size_t available,
                        size_t *size, struct err *e)
{
    if (available < RECORD_BYTES || !is_record(record, "\1\2"))
        return err_set(e, ERR_INPUT, "directory: found no further entry, expected one");
    size_t name_size = (size_t)number_at(record + 28, 2);
    size_t extra_size = (size_t)number_at(record + 30, 2);
    *size = RECORD_BYTES + name_size + extra_size + (size_t)number_at(record + 32, 2);
    if (available < *size)
        return err_set(
            e, ERR_INPUT,
            "directory: found an entry that ends behind it, expected it inside");
    const uint8_t *name = record + RECORD_BYTES;
    if (name_size == 0 || memchr(name, 0, name_size))
        return err_set(e, ERR_INPUT,
                       "directory: found a name that is empty or holds a NUL, expected "
                       "neither");
    entry->name = strndup((const char *)name, name_size);
    if (!entry->name)
        return err_set(e, ERR_MEMORY, "out of memory for names");
    uint64_t packed = number_at(record + 20, 4);
    entry->crc = (uint32_t)number_at(record + 16, 4);
    entry->size = number_at(record + 24, 4);
    entry->offset = number_at(record + 42, 4);
    return check_method(entry->name, record + 8, e) &&
           read_extra64(entry, &packed, name + name_size, extra_size, e) &&
           (packed == entry->size ||
            fail_entry(entry->name, e, "found two sizes, expected it stored"));
}

static bool fail_range(const struct zip_entry *entry, struct err *e)
{
    return err_set(e, ERR_INPUT,
                   "entry \"%s\": found %" PRIu64 " bytes at %" PRIu64
                   ", expected them before the directory",
                   STR_SHOW(entry->name), entry->size, entry->offset);
}

/* The header in front of the data must tell the same story; `entry->offset` becomes that
 * of the data. */
static bool read_header(struct zip_entry *entry, const struct tensor_part *part,
                        uint64_t directory, struct err *e)
{
    uint8_t header[HEADER_BYTES + NAME_MOST];
    size_t name_size = strlen(entry->name);
    if (name_size > NAME_MOST)
        return err_set(e, ERR_INPUT,
                       "entry \"%s\": found %zu bytes of name, expected at most %d",
                       STR_SHOW(entry->name), name_size, NAME_MOST);
    size_t size = HEADER_BYTES + name_size;
    if (entry->offset > directory || directory - entry->offset < size)
        return fail_range(entry, e);
    if (!file_read_at(part->fd, header, size, entry->offset, "entry", e))
        return false;
    if (!is_record(header, "\3\4") || number_at(header + 26, 2) != name_size ||
        memcmp(header + HEADER_BYTES, entry->name, name_size) != 0)
        return fail_entry(entry->name, e,
                          "found another entry, expected it to begin here");
    if (!check_method(entry->name, header + 6, e))
        return false;
    uint64_t written = number_at(header + 22, 4);
    if (written != 0 && written != NONE32 && written != entry->size)
        return fail_entry(
            entry->name, e,
            "found another size in front of it, expected that of the directory");
    uint64_t skip = size + number_at(header + 28, 2);
    entry->offset += skip;
    return (entry->offset <= directory && entry->size <= directory - entry->offset) ||
           fail_range(entry, e);
}

static bool read_entries(struct zip *z, const struct directory *d, const uint8_t *records,
                         const struct tensor_part *part, struct err *e)
{
    size_t available = (size_t)d->size;
    for (uint64_t i = 0; i < d->count; i++) {
        size_t size = 0;
        struct zip_entry *entry = &z->entries[z->count++];
        if (!read_record(entry, records, available, &size, e) ||
            !read_header(entry, part, d->offset, e))
            return false;
        records += size;
        available -= size;
    }
    return available == 0 ||
           err_set(e, ERR_INPUT,
                   "directory: found %zu bytes behind the last entry, expected none",
                   available);
}

bool zip_read(struct zip *z, const struct tensor_part *part, struct err *e)
{
    struct directory d = {0};
    uint8_t *records = NULL;
    bool ok = read_end(&d, part, e) && check_directory(&d, e);
    if (ok && d.count * RECORD_BYTES > d.size)
        ok = err_set(e, ERR_INPUT,
                     "directory: found %" PRIu64 " bytes, expected %" PRIu64 " entries",
                     d.size, d.count);
    if (ok) {
        records = malloc((size_t)d.size);
        z->entries = calloc((size_t)d.count, sizeof *z->entries);
        ok = (records && z->entries) ||
             err_set(e, ERR_MEMORY, "out of memory for %" PRIu64 " entries", d.count);
    }
    ok = ok &&
         file_read_at(part->fd, records, (size_t)d.size, d.offset, "directory", e) &&
         read_entries(z, &d, records, part, e);
    free(records);
    return ok;
}

void zip_free(struct zip *z)
{
    for (size_t i = 0; i < z->count; i++)
        free(z->entries[i].name);
    free(z->entries);
    *z = (struct zip){0};
}
