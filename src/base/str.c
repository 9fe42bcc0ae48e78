/* str.c: a growing string, and names made safe to print. Leaves files to io. */
#include "base/str.h"

#include "base/checked.h"
#include "base/utf8.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool reserve(struct str *s, size_t more)
{
    size_t need;
    if (s->failed || !checked_add_size(s->size, more, &need) ||
        !checked_add_size(need, 1, &need)) {
        s->failed = true;
        return false;
    }
    if (need <= s->capacity)
        return true;
    size_t capacity = s->capacity > SIZE_MAX / 2 ? need : s->capacity * 2;
    if (capacity < need)
        capacity = need < 64 ? 64 : need;
    char *bytes = realloc(s->bytes, capacity);
    if (!bytes) {
        s->failed = true;
        return false;
    }
    s->bytes = bytes;
    s->capacity = capacity;
    return true;
}

void str_add_bytes(struct str *s, const void *bytes, size_t size)
{
    if (!reserve(s, size))
        return;
    if (size > 0)
        memcpy(s->bytes + s->size, bytes, size);
    s->size += size;
    s->bytes[s->size] = 0;
}

void str_add(struct str *s, const char *text)
{
    str_add_bytes(s, text, strlen(text));
}

void str_addf(struct str *s, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length < 0)
        s->failed = true;
    else if (reserve(s, (size_t)length)) {
        vsnprintf(s->bytes + s->size, (size_t)length + 1, format, again);
        s->size += (size_t)length;
    }
    va_end(again);
}

void str_clear(struct str *s)
{
    s->size = 0;
    s->failed = false;
    if (s->bytes)
        s->bytes[0] = 0;
}

const char *str_text(const struct str *s)
{
    return s->bytes ? s->bytes : "";
}

char *str_take(struct str *s)
{
    str_add_bytes(s, "", 0);
    if (s->failed) {
        str_free(s);
        return NULL;
    }
    char *bytes = s->bytes;
    *s = (struct str){0};
    return bytes;
}

void str_free(struct str *s)
{
    free(s->bytes);
    *s = (struct str){0};
}

char *str_dup(const char *text)
{
    return strdup(text);
}

int64_t str_keep_rows(char **texts, int64_t rows, int64_t width, int64_t first,
                      int64_t stride)
{
    int64_t kept = 0;
    for (int64_t row = 0; row < rows; row++) {
        bool keep = row % stride == first;
        for (int64_t i = row * width; i < (row + 1) * width; i++) {
            char *text = texts[i];
            texts[i] = NULL;
            if (keep)
                texts[kept * width + i % width] = text;
            else
                free(text);
        }
        kept += keep;
    }
    return kept;
}

size_t str_hash(size_t seed, const char *bytes, size_t size)
{
    uint64_t hash = 14695981039346656037u ^ seed;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ (unsigned char)bytes[i]) * 1099511628211u;
    return (size_t)(hash ^ hash >> 32);
}

char *str_path(const char *directory, const char *name)
{
    if (name[0] == '/' || directory[0] == 0)
        return strdup(name);
    struct str path = {0};
    bool slash = directory[strlen(directory) - 1] == '/';
    str_addf(&path, "%s%s%s", directory, slash ? "" : "/", name);
    return str_take(&path);
}

const char *str_file_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

bool str_ends_with(const char *text, const char *end)
{
    size_t size = strlen(text), end_size = strlen(end);
    return size >= end_size && strcmp(text + size - end_size, end) == 0;
}

/* C1 controls and the line and paragraph separators act on a terminal too. */
static bool printable(uint32_t code_point)
{
    if (code_point < 0x20 || (code_point >= 0x7F && code_point < 0xA0))
        return false;
    if (code_point == 0x2028 || code_point == 0x2029 || code_point == 0xFEFF)
        return false;
    bool turns_direction = (code_point >= 0x202A && code_point <= 0x202E) ||
                           (code_point >= 0x2066 && code_point <= 0x2069);
    return !turns_direction;
}

/* What stands for the code point at `bytes`; *length is 0 where it is not UTF-8, and then
 * becomes the 1 byte that was escaped. */
static size_t escape_one(const char *bytes, int *length, uint32_t code_point,
                         char piece[20])
{
    static const char digits[] = "0123456789ABCDEF";
    size_t size = 0;
    if (*length > 0 && printable(code_point)) {
        if (code_point == '"' || code_point == '\\')
            piece[size++] = '\\';
        memcpy(piece + size, bytes, (size_t)*length);
        return size + (size_t)*length;
    }
    if (*length == 0)
        *length = 1;
    for (int i = 0; i < *length; i++, size += 4) {
        unsigned char byte = (unsigned char)bytes[i];
        memcpy(piece + size, "\\x", 2);
        piece[size + 2] = digits[byte >> 4];
        piece[size + 3] = digits[byte & 15];
    }
    return size;
}

/* False where `out` was too small and "..." ends it. */
static bool escape(char *out, size_t out_size, const char *bytes, size_t size)
{
    static const char cut[] = "...";
    size_t at = 0, used = 0, cut_at = 0;
    while (at < size) {
        uint32_t code_point = 0;
        int length = utf8_decode(bytes + at, size - at, &code_point);
        char piece[20];
        size_t piece_size = escape_one(bytes + at, &length, code_point, piece);
        if (used + sizeof cut <= out_size)
            cut_at = used;
        if (used + piece_size + 1 > out_size) {
            used = cut_at;
            if (out_size >= sizeof cut) {
                memcpy(out + used, cut, sizeof cut);
                return false;
            }
            break;
        }
        memcpy(out + used, piece, piece_size);
        used += piece_size;
        at += (size_t)length;
    }
    if (out_size > 0)
        out[used] = 0;
    return at >= size;
}

const char *str_escape(char *out, size_t out_size, const char *bytes, size_t size)
{
    escape(out, out_size, bytes, size);
    return out;
}

bool str_is_printable(const char *text)
{
    for (size_t at = 0, size = strlen(text); at < size;) {
        uint32_t code_point = 0;
        int length = utf8_decode(text + at, size - at, &code_point);
        if (length == 0 || !printable(code_point))
            return false;
        at += (size_t)length;
    }
    return true;
}

void str_add_shell(struct str *s, const char *text)
{
    static const char bare[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                               "0123456789_./:=,@%+-";
    bool is_printable = str_is_printable(text);
    if (*text && !text[strspn(text, bare)]) {
        str_add(s, text);
        return;
    }
    str_add(s, is_printable ? "'" : "$'");
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (is_printable && *c == '\'')
            str_add(s, "'\\''");
        else if (!is_printable && (*c < 0x20 || *c >= 0x7F || *c == '\'' || *c == '\\'))
            str_addf(s, "\\x%02X", *c);
        else
            str_add_bytes(s, c, 1);
    }
    str_add(s, "'");
}

const char *str_show(char *out, size_t out_size, const char *text)
{
    size_t size = strlen(text), half = out_size / 2;
    if (escape(out, out_size, text, size))
        return out;
    escape(out, half, text, size);
    size_t used = strlen(out), tail = size > half ? size - half : 0;
    while (tail < size &&
           ((text[tail] & 0xC0) == 0x80 ||
            !escape(out + used, out_size - used, text + tail, size - tail)))
        tail++;
    return out;
}

enum { NEAREST_LONGEST = 63 };

/* Edits (insert, delete, replace, swap of neighbours) that turn a into b. */
static int edit_distance(const char *a, const char *b)
{
    int rows[3][NEAREST_LONGEST + 1];
    int size_a = (int)strlen(a), size_b = (int)strlen(b);
    int *before = rows[0], *last = rows[1], *row = rows[2];
    for (int j = 0; j <= size_b; j++)
        before[j] = last[j] = j;
    for (int i = 1; i <= size_a; i++) {
        row[0] = i;
        for (int j = 1; j <= size_b; j++) {
            int best = last[j - 1] + (a[i - 1] != b[j - 1]);
            if (last[j] + 1 < best)
                best = last[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            row[j] = best;
        }
        int *spare = before;
        before = last;
        last = row;
        row = spare;
    }
    return last[size_b];
}

const char *str_nearest(const char *word, const char *const *known, size_t count)
{
    size_t size = strlen(word);
    if (size > NEAREST_LONGEST)
        return NULL;
    const char *nearest = NULL;
    int best = size < 3 ? 2 : (int)(size / 3) + 2;
    for (size_t i = 0; i < count; i++) {
        if (strlen(known[i]) > NEAREST_LONGEST)
            continue;
        int distance = edit_distance(word, known[i]);
        if (distance < best) {
            best = distance;
            nearest = known[i];
        }
    }
    return nearest;
}
