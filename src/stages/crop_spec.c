/* crop_spec.c: how crops are spelled on the command line. Leaves drawing to crops.c. */
#include "diffens/optimize.h"

#include "base/str.h"

#include <stdlib.h>
#include <string.h>

/* "16x0.125", `length` bytes long. Digits, one x, digits with at most one point: nothing
 * else that strtod() would take. */
static bool parse_group(struct crop_group *group, const char *text, size_t length)
{
    char copy[32];
    size_t digits = strspn(text, "0123456789");
    if (length >= sizeof copy || digits < 1 || digits > 4 || digits + 1 >= length ||
        text[digits] != 'x')
        return false;
    memcpy(copy, text, length);
    copy[length] = 0;
    const char *scale = copy + digits + 1;
    size_t whole = strspn(scale, "0123456789"), point = scale[whole] == '.';
    size_t part = strspn(scale + whole + point, "0123456789");
    group->count = atoi(copy);
    group->scale = strtod(scale, NULL);
    return whole + part > 0 && scale[whole + point + part] == 0 && group->count >= 1 &&
           group->count <= CROPS_MAX_COUNT && group->scale > 0 && group->scale <= 1;
}

bool crop_spec_parse(struct crop_spec *spec, const char *text, struct err *e)
{
    *spec = (struct crop_spec){0};
    for (const char *at = text;; at++) {
        size_t length = strcspn(at, ",");
        if (spec->group_count == CROPS_MAX_GROUPS)
            return err_set(
                e, ERR_USAGE,
                "crops: found more than %d groups in \"%s\", expected at most that",
                CROPS_MAX_GROUPS, STR_SHOW(text));
        if (!parse_group(&spec->group[spec->group_count++], at, length))
            return err_set(e, ERR_USAGE,
                           "crops: found \"%s\", expected COUNTxSCALE,... such as "
                           "1x1,8x0.25 (count 1..%d, scale above 0, at most 1)",
                           STR_SHOW(at), CROPS_MAX_COUNT);
        at += length;
        if (!*at)
            return true;
    }
}
