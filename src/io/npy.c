/* npy.c: the image tensor as an .npy file (numpy.lib.format, version 1.0). Leaves
 * pictures to image.c. */
#include "diffens/image.h"

#include "base/checked.h"
#include "base/str.h"
#include "io/file.h"
#include "io/limits.h"
#include "io/npy_header.h"
#include "io/publish.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { CHANNELS = 3 };

static bool too_large(const struct image_tensor *t)
{
    int64_t side = (int64_t)limit_of(LIMIT_IMAGE_SIDE);
    return t->height > side || t->width > side;
}

static bool cell_bytes(const struct image_tensor *t, uint64_t *bytes)
{
    return t->height >= 1 && t->width >= 1 && !too_large(t) &&
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
                   "%s: reserve space: %s: %" PRIu64 " bytes needed, %" PRIu64
                   " bytes free",
                   STR_SHOW(path), strerror(error), bytes, free_bytes);
}

bool image_tensor_create(struct image_tensor *t, const char *path, int64_t cases,
                         int64_t models, int64_t height, int64_t width, struct err *e)
{
    *t = (struct image_tensor){
        .fd = -1, .cases = cases, .models = models, .height = height, .width = width};
    struct str header = {0};
    struct publish p = {0};
    uint64_t bytes = 0;
    bool ok = false;
    npy_header_make(&header, (int64_t[]){cases, models, height, width, CHANNELS});
    t->data = header.size;
    t->path = str_dup(path);
    if (header.failed || !t->path) {
        err_set(e, ERR_MEMORY, "%s: out of memory", STR_SHOW(path));
        goto done;
    }
    if (!file_bytes(t, &bytes)) {
        err_set(e, ERR_USAGE,
                "%s: found %" PRId64 " x %" PRId64 " x %" PRId64 " x %" PRId64
                " x 3 bytes, expected at least one picture, sides of 1..%" PRIu64
                " and fewer than 2^63 bytes",
                STR_SHOW(path), cases, models, height, width, limit_of(LIMIT_IMAGE_SIDE));
        if (too_large(t))
            limit_hint(LIMIT_IMAGE_SIDE, e);
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

static bool check_header(const struct npy_header *h, struct image_tensor *t,
                         struct err *e)
{
    if (strcmp(h->descr, "|u1") != 0)
        return err_set(e, ERR_INPUT, "descr: found \"%s\", expected \"|u1\" (uint8)",
                       STR_SHOW(h->descr));
    if (h->fortran)
        return err_set(e, ERR_INPUT, "fortran_order: found True, expected False");
    struct str shape = {0};
    for (int i = 0; i < h->rank && i < NPY_RANK; i++)
        str_addf(&shape, "%s%" PRId64, i ? ", " : "", h->dim[i]);
    uint64_t bytes;
    t->data = h->data;
    bool ok = h->rank == NPY_RANK && h->dim[4] == CHANNELS;
    if (ok) {
        t->cases = h->dim[0];
        t->models = h->dim[1];
        t->height = h->dim[2];
        t->width = h->dim[3];
        ok = file_bytes(t, &bytes);
    }
    if (!ok)
        err_set(e, ERR_INPUT,
                "shape: found (%s%s), expected (N, M, H, W, 3), with H and W "
                "1..%" PRIu64,
                str_text(&shape), h->rank > NPY_RANK ? ", ..." : "",
                limit_of(LIMIT_IMAGE_SIDE));
    if (!ok && too_large(t))
        limit_hint(LIMIT_IMAGE_SIDE, e);
    str_free(&shape);
    return ok;
}

static bool check_size(const struct image_tensor *t, uint64_t found, struct err *e)
{
    uint64_t expected = 0;
    if (file_bytes(t, &expected) && found == expected)
        return true;
    return err_set(e, ERR_INPUT, "found %" PRIu64 " bytes, expected %" PRIu64 "%s", found,
                   expected, found < expected ? ": incomplete?" : "");
}

bool image_tensor_open(struct image_tensor *t, const char *path, struct err *e)
{
    unsigned char bytes[NPY_LARGEST_HEAD];
    uint64_t size = 0;
    *t = (struct image_tensor){.fd = file_open(path, &size, e)};
    bool ok = t->fd >= 0;
    if (ok && !(t->path = str_dup(path)))
        ok = err_set(e, ERR_MEMORY, "%s: out of memory", STR_SHOW(path));
    size_t part = size < sizeof bytes ? (size_t)size : sizeof bytes;
    ok = ok && file_read_at(t->fd, bytes, part, 0, path, e);
    struct err cause = {0};
    struct npy_header header;
    if (ok && !(npy_header_parse(&header, bytes, part, &cause) &&
                check_header(&header, t, &cause) && check_size(t, size, &cause))) {
        ok = err_from(e, &cause, path);
    }
    if (!ok) {
        file_close(t->fd);
        free(t->path);
        *t = (struct image_tensor){.fd = -1};
    }
    return ok;
}

bool image_tensor_reopen(struct image_tensor *t, const char *path, struct err *e)
{
    if (!image_tensor_open(t, path, e))
        return false;
    file_close(t->fd);
    do
        t->fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    while (t->fd < 0 && errno == EINTR);
    if (t->fd >= 0)
        return true;
    err_set(e, ERR_OUTPUT, "%s: open for writing: %s", STR_SHOW(path), strerror(errno));
    image_tensor_close(t, e);
    return false;
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
    *offset =
        t->data +
        ((uint64_t)index_case * (uint64_t)t->models + (uint64_t)index_model) * *bytes;
    return true;
}

bool image_tensor_write(struct image_tensor *t, int64_t index_case, int64_t index_model,
                        const struct image *image, struct err *e)
{
    uint64_t offset = 0, bytes = 0;
    if (!cell_offset(t, index_case, index_model, &offset, &bytes, e))
        return false;
    if (image->width != t->width || image->height != t->height)
        return err_set(
            e, ERR_BUG, "%s: a picture of %d x %d in a tensor of %" PRId64 " x %" PRId64,
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
