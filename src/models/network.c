/* network.c: opens, checks and loads one network's weights. Leaves formats to
 * tensor_file.h and names to weights.h. */
#include "models/network.h"

#include "base/str.h"

#include <stdlib.h>

static bool as_it_is(struct tensor_file *t, struct err *e)
{
    (void)t, (void)e;
    return true;
}

bool network_open(struct network *n, char *path, tc_scope *shapes, struct err *e)
{
    return network_open_as(n, path, as_it_is, shapes, e);
}

bool network_open_as(struct network *n, char *path, layout_function *layout,
                     tc_scope *shapes, struct err *e)
{
    n->path = path;
    if (!tensor_file_open(&n->file, path, e) || !layout(&n->file, e))
        return false;
    n->asked = weights_load(shapes, &n->file, "", (weights){NULL}, TC_F32, e);
    return n->asked.node != NULL;
}

struct teller {
    const struct network *network;
    const struct progress *progress;
};

static void tell_finding(void *user, const char *finding)
{
    const struct teller *t = user;
    progress_note(t->progress, NOTE_FINDING, "%s: %s", STR_SHOW(t->network->path),
                  finding);
}

bool network_check(const struct network *n, const tc_scope *shapes,
                   const struct progress *progress, struct err *e)
{
    if (!tc_check(shapes, e))
        return err_in_file(e, n->path);
    progress_note(progress, NOTE_DETAIL, "weights: %s", STR_SHOW(n->path));
    struct weights_findings f = weights_check(n->asked);
    weights_tell_findings(n->asked, tell_finding, &(struct teller){n, progress});
    if (f.missing + f.mismatched > 0)
        return err_set(e, ERR_INPUT,
                       "%s: %lld tensors missing and %lld of another shape or type than "
                       "the architecture asks for: %s",
                       STR_SHOW(n->path), (long long)f.missing, (long long)f.mismatched,
                       f.wrong);
    return true;
}

void network_leave_out(struct network *n, const char *const *parts)
{
    for (; *parts; parts++)
        weights_leave_out(n->asked, *parts);
}

weights network_load(const struct network *n, tc_scope *scope, enum tc_dtype dtype,
                     struct err *e)
{
    return weights_load(scope, &n->file, "", n->asked, dtype, e);
}

void network_close(struct network *n)
{
    weights_unload(n->asked);
    tensor_file_close(&n->file);
    free(n->path);
    *n = (struct network){0};
}
