/* npy_header.c: what an .npy file says of its array. Leaves the data, and what the
 * program wants of it, to npy.c. */
#include "io/npy_header.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { PREFIX = 10, ALIGNMENT = 64 };

void npy_header_make(struct str *out, const int64_t dim[NPY_RANK])
{
    struct str dict = {0};
    str_add(&dict, "{'descr': '|u1', 'fortran_order': False, 'shape': (");
    for (int i = 0; i < NPY_RANK; i++)
        str_addf(&dict, "%s%" PRId64, i ? ", " : "", dim[i]);
    str_add(&dict, "), }");
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

static bool read_shape(struct dict *d, int64_t dim[NPY_RANK], int *rank)
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
        if (*rank < NPY_RANK)
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

static bool read_value(struct dict *d, const char *key, struct npy_header *h,
                       unsigned *seen)
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
            return err_set(d->e, ERR_INPUT,
                           "descr: found a structured type, expected |u1");
        return read_quoted(d, h->descr, sizeof h->descr);
    }
    if (which == 2)
        return read_shape(d, h->dim, &h->rank);
    h->fortran = take(d, "True");
    return h->fortran || take(d, "False") || fail_dict(d, "True or False");
}

static bool read_dict(struct dict *d, struct npy_header *h)
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
    return seen == 7 || err_set(d->e, ERR_INPUT,
                                "header: found a key missing, expected "
                                "descr, fortran_order and shape");
}

bool npy_header_parse(struct npy_header *h, const unsigned char *bytes, size_t size,
                      struct err *e)
{
    if (size < PREFIX + 2 || memcmp(bytes, "\x93NUMPY", 6) != 0)
        return err_set(e, ERR_INPUT, "found no NumPy signature, expected an .npy file");
    bool wide = bytes[6] == 2;
    if ((bytes[6] != 1 && !wide) || bytes[7] != 0)
        return err_set(e, ERR_INPUT, "version: found %d.%d, expected 1.0 or 2.0",
                       bytes[6], bytes[7]);
    size_t prefix = wide ? PREFIX + 2 : PREFIX;
    size_t length = bytes[8] | (size_t)bytes[9] << 8;
    if (wide)
        length |= (size_t)bytes[10] << 16 | (size_t)bytes[11] << 24;
    if (length > size - prefix)
        return err_set(e, ERR_INPUT, "header length: found %zu, expected at most %zu",
                       length, size - prefix);
    char text[NPY_LARGEST_HEAD + 1];
    memcpy(text, bytes + prefix, length);
    text[length] = 0;
    if (strlen(text) != length)
        return err_set(e, ERR_INPUT, "header: found a NUL, expected text");
    *h = (struct npy_header){.data = prefix + length};
    struct dict d = {.at = text, .e = e};
    return read_dict(&d, h);
}
