/* str.h: a growing string, names made safe to print, the nearest known word. Leaves files
 * and errors to others. */
#ifndef DIFFENS_STR_H
#define DIFFENS_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A string builder. Start from `{0}`. Running out of memory is sticky: later additions do
 * nothing, and `failed` is looked at once, at the end. The bytes may hold NULs; one that
 * is not counted follows them. */
struct str {
    char *bytes;
    size_t size, capacity;
    bool failed;
};

void str_add(struct str *s, const char *text);
void str_add_bytes(struct str *s, const void *bytes, size_t size);
void str_addf(struct str *s, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Empties the string and forgets a failure; keeps the memory. */
void str_clear(struct str *s);

/* The text, owned by `s`; "" while nothing was added. */
const char *str_text(const struct str *s);

/* The text, now owned by the caller (free()); NULL when memory was out. `s` is empty
 * afterwards. */
char *str_take(struct str *s);

/* Accepts a zeroed string. */
void str_free(struct str *s);

/* A copy that the caller frees; NULL when memory is out. */
char *str_dup(const char *text);

/* A table of texts that free() takes, `width` a row: rows first, first + stride, ... move
 * to the front, the others are freed. Returns how many rows are left. */
int64_t str_keep_rows(char **texts, int64_t rows, int64_t width, int64_t first,
                      int64_t stride);

/* FNV-1a of the bytes, folded; for hash tables in memory. Other seeds give other hashes. */
size_t str_hash(size_t seed, const char *bytes, size_t size);

/* "directory/name", or `name` alone where it is absolute or the directory is "". The
 * caller frees it; NULL when memory is out. */
char *str_path(const char *directory, const char *name);

/* What follows the last '/'. Points into `path`. */
const char *str_file_name(const char *path);

bool str_ends_with(const char *text, const char *end);

/* Writes `bytes` so that they are safe to print on one line: quotes, backslashes, control
 * characters and what is not UTF-8 as \", \\ and \xNN; cut with "..." where `out_size` is
 * too small. Returns `out`. */
const char *str_escape(char *out, size_t out_size, const char *bytes, size_t size);

/* Whether str_escape() would leave `text` as it is, but for quotes and backslashes. */
bool str_is_printable(const char *text);

/* Appends `text` as one word of a POSIX shell; what is not printable as $'\xNN', which
 * bash, zsh, ksh and busybox know. */
void str_add_shell(struct str *s, const char *text);

/* A name for an error message, escaped; of more than about 300 bytes the middle is left
 * out, since both ends of a path say where to look. Lives until the end of the enclosing
 * block. */
#define STR_SHOW(text) str_show((char[320]){0}, 320, (text))
const char *str_show(char *out, size_t out_size, const char *text);

/* The word of `known` that `word` is probably a slip of (by edit distance), or NULL. */
const char *str_nearest(const char *word, const char *const *known, size_t count);

#endif
