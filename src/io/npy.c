/* npy.c: the image tensor as an .npy file (numpy.lib.format, version 1.0). Leaves pictures
 * to image.c. */
#include "diffens/image.h"

#include "base/checked.h"
#include "base/str.h"
#include "io/file.h"
#include "io/limits.h"
#include "io/publish.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { CHANNELS = 3, RANK = 5, PREFIX = 10, ALIGNMENT = 64, LONGEST_HEADER = 4096 };

static bool cell_bytes(const struct image_tensor *t, uint64_t *bytes)
{
    return t->height >= 1 && t->width >= 1 && t->height <= LIMIT_IMAGE_SIDE &&
           t->width <= LIMIT_IMAGE_SIDE &&
           checked_mul_u64((uint64_t)t->height * (uint64_t)t->width, CHANNELS, bytes);
}

/* The size of the whole file. False where it overflows or a dimension is out of range. */
static bool file_bytes(const struct image_tensor *t, uint64_t *bytes)
{
    return t->cases >= 1 && t->models >= 1 && cell_bytes(t, bytes) &&
           checked_mul_u64(*bytes, (uint64_t)t->models, bytes) &&
           checked_mul_u64(*bytes, (uint64_t)t->cases, bytes) &&
           checked_add_u64(*bytes, t->data, bytes) && *bytes <= INT64_MAX;
}

static void make_header(struct str *out, const struct image_tensor *t)
{
    struct str dict = {0};
    str_addf(&dict,
             "{'descr': '|u1', 'fortran_order': False, 'shape': (%" PRId64 ", %" PRId64
             ", %" PRId64 ", %" PRId64 ", %d), }",
             t->cases, t->models, t->height, t->width, CHANNELS);
    while (!dict.failed && (PREFIX + dict.size + 1) % ALIGNMENT != 0)
        str_add(&dict, " ");
    str_add(&dict, "\n");
    unsigned char size[2] = {(unsigned char)dict.size, (unsigned char)(dict.size >> 8)};
    str_add_bytes(out, "\x93NUMPY\x01\x00", 8);
    str_add_bytes(out, size, 2);
    str_add_bytes(out, str_text(&dict), dict.size);
    out->failed = out->failed || dict.failed;
    str_free(&dict);
}

/* Claims the space now, so that a full disk shows before the first picture is made; where
 * the file system cannot, the file is at least as long as it will be. */
static bool reserve(int fd, const char *path, uint64_t bytes, struct err *e)
{
    int status;
    do
        status = fallocate(fd, 0, 0, (off_t)bytes);
    while (status != 0 && errno == EINTR);
    if (status != 0 && (errno == EOPNOTSUPP || errno == ENOSYS))
        status = ftruncate(fd, (off_t)bytes);
    if (status == 0)
        return true;
    int error = errno;
    struct statvfs disk;
    uint64_t free_bytes = 0;
    if (fstatvfs(fd, &disk) == 0)
        free_bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
    return err_set(e, ERR_OUTPUT,
                   "%s: reserve space: %s: %" PRIu64 " bytes needed, %" PRIu64 " bytes free",
                   STR_SHOW(path), strerror(error), bytes, free_bytes);
}

bool image_tensor_create(struct image_tensor *t, const char *path, int64_t cases,
                         int64_t models, int64_t height, int64_t width, struct err *e)
{
    *t = (struct image_tensor){.fd = -1, .cases = cases, .models = models,
                               .height = height, .width = width};
    struct str header = {0};
    struct publish p = {0};
    uint64_t bytes = 0;
    bool ok = false;
    make_header(&header, t);
    t->data = header.size;
    t->path = str_dup(path);
    if (header.failed || !t->path) {
        err_set(e, ERR_MEMORY, "%s: out of memory", STR_SHOW(path));
        goto done;
    }
    if (!file_bytes(t, &bytes)) {
        err_set(e, ERR_USAGE,
                "%s: found %" PRId64 " x %" PRId64 " x %" PRId64 " x %" PRId64
                " x 3 bytes, expected at least one picture, sides of 1..%d and fewer than "
                "2^63 bytes",
                STR_SHOW(path), cases, models, height, width, LIMIT_IMAGE_SIDE);
        goto done;
    }
    ok = publish_begin(&p, path, e) && publish_write(&p, header.bytes, header.size, e) &&
         reserve(p.fd, path, bytes, e) && publish_commit_open(&p, &t->fd, e);
done:
    publish_abandon(&p);
    str_free(&header);
    if (!ok) {
        struct err ignored = {0};
        image_tensor_close(t, &ignored);
    }
    return ok;
}

/* A reader of the header's Python dictionary: as much of Python as numpy.save writes. */
struct dict {
    const char *at;
    struct err *e;
};

static void skip_blanks(struct dict *d)
{
    d->at += strspn(d->at, " \t\n");
}

static bool take(struct dict *d, const char *text)
{
    skip_blanks(d);
    size_t size = strlen(text);
    if (strncmp(d->at, text, size) != 0)
        return false;
    d->at += size;
    return true;
}

static bool fail_dict(struct dict *d, const char *expected)
{
    return err_set(d->e, ERR_INPUT, "header: found \"%s\", expected %s", STR_SHOW(d->at),
                   expected);
}

static bool read_quoted(struct dict *d, char *out, size_t out_size)
{
    skip_blanks(d);
    char quote = *d->at;
    const char *end = quote == '\'' || quote == '"' ? strchr(d->at + 1, quote) : NULL;
    if (!end || (size_t)(end - d->at) > out_size)
        return fail_dict(d, "a quoted word");
    size_t size = (size_t)(end - d->at - 1);
    memcpy(out, d->at + 1, size);
    out[size] = 0;
    d->at = end + 1;
    return true;
}

static bool read_shape(struct dict *d, int64_t dim[RANK], int *rank)
{
    if (!take(d, "("))
        return fail_dict(d, "a tuple of integers");
    *rank = 0;
    while (!take(d, ")")) {
        char *end;
        skip_blanks(d);
        errno = 0;
        int64_t number = *d->at >= '0' && *d->at <= '9' ? strtoll(d->at, &end, 10) : -1;
        if (number < 0 || errno != 0)
            return fail_dict(d, "an integer 0..2^63-1");
        d->at = end;
        if (*rank < RANK)
            dim[*rank] = number;
        if (++*rank > 32)
            return fail_dict(d, "at most 32 dimensions");
        if (!take(d, ",")) {
            if (!take(d, ")"))
                return fail_dict(d, "',' or ')'");
            return true;
        }
    }
    return true;
}

struct header {
    char descr[64];
    bool fortran;
    int64_t dim[RANK];
    int rank;
};

static bool read_value(struct dict *d, const char *key, struct header *h, unsigned *seen)
{
    static const char *const keys[] = {"descr", "fortran_order", "shape"};
    unsigned which = 0;
    while (which < 3 && strcmp(key, keys[which]) != 0)
        which++;
    if (which == 3 || (*seen >> which & 1))
        return err_set(d->e, ERR_INPUT,
                       "header: found the key \"%s\", expected descr, fortran_order and "
                       "shape, each once",
                       STR_SHOW(key));
    *seen |= 1u << which;
    if (which == 0) {
        skip_blanks(d);
        if (*d->at == '[')
            return err_set(d->e, ERR_INPUT, "descr: found a structured type, expected |u1");
        return read_quoted(d, h->descr, sizeof h->descr);
    }
    if (which == 2)
        return read_shape(d, h->dim, &h->rank);
    h->fortran = take(d, "True");
    return h->fortran || take(d, "False") || fail_dict(d, "True or False");
}

static bool read_dict(struct dict *d, struct header *h)
{
    unsigned seen = 0;
    if (!take(d, "{"))
        return fail_dict(d, "'{'");
    while (!take(d, "}")) {
        char key[64];
        if (!read_quoted(d, key, sizeof key))
            return false;
        if (!take(d, ":"))
            return fail_dict(d, "':'");
        if (!read_value(d, key, h, &seen))
            return false;
        if (!take(d, ",")) {
            if (!take(d, "}"))
                return fail_dict(d, "',' or '}'");
            break;
        }
    }
    skip_blanks(d);
    if (*d->at)
        return fail_dict(d, "nothing more");
    return seen == 7 || err_set(d->e, ERR_INPUT, "header: found a key missing, expected "
                                                 "descr, fortran_order and shape");
}

static bool check_header(const struct header *h, struct image_tensor *t, struct err *e)
{
    if (strcmp(h->descr, "|u1") != 0)
        return err_set(e, ERR_INPUT, "descr: found \"%s\", expected \"|u1\" (uint8)",
                       STR_SHOW(h->descr));
    if (h->fortran)
        return err_set(e, ERR_INPUT, "fortran_order: found True, expected False");
    struct str shape = {0};
    for (int i = 0; i < h->rank && i < RANK; i++)
        str_addf(&shape, "%s%" PRId64, i ? ", " : "", h->dim[i]);
    uint64_t bytes;
    bool ok = h->rank == RANK && h->dim[4] == CHANNELS;
    if (ok) {
        t->cases = h->dim[0];
        t->models = h->dim[1];
        t->height = h->dim[2];
        t->width = h->dim[3];
        ok = file_bytes(t, &bytes);
    }
    if (!ok)
        err_set(e, ERR_INPUT, "shape: found (%s%s), expected (N, M, H, W, 3), with H and W "
                              "1..%d",
                str_text(&shape), h->rank > RANK ? ", ..." : "", LIMIT_IMAGE_SIDE);
    str_free(&shape);
    return ok;
}

/* Reads version, length and dictionary from the first bytes of the file. */
static bool parse_header(struct image_tensor *t, const unsigned char *bytes, size_t size,
                         struct err *e)
{
    if (size < PREFIX + 2 || memcmp(bytes, "\x93NUMPY", 6) != 0)
        return err_set(e, ERR_INPUT, "found no NumPy signature, expected an .npy file");
    bool wide = bytes[6] == 2;
    if ((bytes[6] != 1 && !wide) || bytes[7] != 0)
        return err_set(e, ERR_INPUT, "version: found %d.%d, expected 1.0 or 2.0", bytes[6],
                       bytes[7]);
    size_t prefix = wide ? PREFIX + 2 : PREFIX;
    size_t length = bytes[8] | (size_t)bytes[9] << 8;
    if (wide)
        length |= (size_t)bytes[10] << 16 | (size_t)bytes[11] << 24;
    if (length > size - prefix)
        return err_set(e, ERR_INPUT, "header length: found %zu, expected at most %zu",
                       length, size - prefix);
    char text[LONGEST_HEADER + 1];
    memcpy(text, bytes + prefix, length);
    text[length] = 0;
    if (strlen(text) != length)
        return err_set(e, ERR_INPUT, "header: found a NUL, expected text");
    struct header h = {0};
    struct dict d = {.at = text, .e = e};
    t->data = prefix + length;
    return read_dict(&d, &h) && check_header(&h, t, e);
}

static bool check_size(const struct image_tensor *t, uint64_t found, struct err *e)
{
    uint64_t expected = 0;
    if (file_bytes(t, &expected) && found == expected)
        return true;
    return err_set(e, ERR_INPUT,
                   "found %" PRIu64 " bytes, expected %" PRIu64 "%s", found, expected,
                   found < expected ? ": incomplete?" : "");
}

bool image_tensor_open(struct image_tensor *t, const char *path, struct err *e)
{
    unsigned char bytes[LONGEST_HEADER];
    uint64_t size = 0;
    *t = (struct image_tensor){.fd = file_open(path, &size, e)};
    bool ok = t->fd >= 0;
    if (ok && !(t->path = str_dup(path)))
        ok = err_set(e, ERR_MEMORY, "%s: out of memory", STR_SHOW(path));
    size_t part = size < sizeof bytes ? (size_t)size : sizeof bytes;
    ok = ok && file_read_at(t->fd, bytes, part, 0, path, e);
    struct err cause = {0};
    if (ok && !(parse_header(t, bytes, part, &cause) && check_size(t, size, &cause))) {
        err_in_file(&cause, path);
        ok = err_set(e, cause.code, "%s", cause.message);
    }
    if (!ok) {
        file_close(t->fd);
        free(t->path);
        *t = (struct image_tensor){.fd = -1};
    }
    return ok;
}

static bool cell_offset(const struct image_tensor *t, int64_t index_case,
                        int64_t index_model, uint64_t *offset, uint64_t *bytes,
                        struct err *e)
{
    if (index_case < 0 || index_case >= t->cases || index_model < 0 ||
        index_model >= t->models)
        return err_set(e, ERR_BUG, "%s: cell %" PRId64 ",%" PRId64 " out of range",
                       STR_SHOW(t->path), index_case, index_model);
    cell_bytes(t, bytes);
    *offset = t->data + ((uint64_t)index_case * (uint64_t)t->models +
                         (uint64_t)index_model) * *bytes;
    return true;
}

bool image_tensor_write(struct image_tensor *t, int64_t index_case, int64_t index_model,
                        const struct image *image, struct err *e)
{
    uint64_t offset = 0, bytes = 0;
    if (!cell_offset(t, index_case, index_model, &offset, &bytes, e))
        return false;
    if (image->width != t->width || image->height != t->height)
        return err_set(e, ERR_BUG, "%s: a picture of %d x %d in a tensor of %" PRId64
                                   " x %" PRId64,
                       STR_SHOW(t->path), image->width, image->height, t->width, t->height);
    for (uint64_t done = 0; done < bytes;) {
        ssize_t put = pwrite(t->fd, image->rgb + done, (size_t)(bytes - done),
                             (off_t)(offset + done));
        if (put > 0)
            done += (uint64_t)put;
        else if (put == 0 || errno != EINTR)
            return err_set(e, ERR_OUTPUT, "%s: write at byte %" PRIu64 ": %s",
                           STR_SHOW(t->path), offset + done,
                           strerror(put == 0 ? ENOSPC : errno));
    }
    return true;
}

bool image_tensor_read(const struct image_tensor *t, int64_t index_case,
                       int64_t index_model, struct image *image, struct err *e)
{
    uint64_t offset = 0, bytes = 0;
    image_free(image);
    if (!cell_offset(t, index_case, index_model, &offset, &bytes, e) ||
        !image_new(image, (int)t->width, (int)t->height, e))
        return false;
    if (file_read_at(t->fd, image->rgb, (size_t)bytes, offset, t->path, e))
        return true;
    image_free(image);
    return false;
}

bool image_tensor_close(struct image_tensor *t, struct err *e)
{
    bool ok = true;
    bool open = t->path && t->fd >= 0;
    int flags = open ? fcntl(t->fd, F_GETFL) : O_RDONLY;
    if (open && (flags & O_ACCMODE) == O_RDWR && fsync(t->fd) != 0)
        ok = err_set(e, ERR_OUTPUT, "%s: flush: %s", STR_SHOW(t->path), strerror(errno));
    if (open && close(t->fd) != 0 && ok)
        ok = err_set(e, ERR_OUTPUT, "%s: close: %s", STR_SHOW(t->path), strerror(errno));
    free(t->path);
    *t = (struct image_tensor){.fd = -1};
    return ok;
}
