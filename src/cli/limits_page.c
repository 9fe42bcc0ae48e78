/* limits_page.c: `diffens help limits`, out of the table of limits. */
#include "cli/pages.h"

#include "io/limits.h"

#include <string.h>

/* Further lines of `about` below the first. */
static void add_row(struct str *out, const struct limit_row *row)
{
    char initial[32];
    const char *about = row->about, *end = strchr(about, '\n');
    str_addf(out, "  %-20s%10s  ", row->name,
             limit_show(row, row->initial, initial, sizeof initial));
    for (; end; about = end + 1, end = strchr(about, '\n')) {
        str_add_bytes(out, about, (size_t)(end - about));
        str_addf(out, "\n%34s", "");
    }
    str_addf(out, "%s\n", about);
}

void limits_add(struct str *out)
{
    str_add(out, "Files are untrusted: what is over a limit is refused before memory is "
                 "spent on\nit. --limit NAME=N sets another; several are separated by "
                 "commas, or --limit is\nrepeated. KiB, MiB, GiB (or K, M, G) are powers "
                 "of 1024, kB, MB, GB of 1000.\n\n"
                 "  name                   default  of what\n");
    for (int i = 0; i < LIMIT_COUNT; i++)
        add_row(out, &limit_table[i]);
    str_add(out, "\n  diffens blend --images scans --limit image-side=30000,"
                 "image-file=1GiB\n");
}
