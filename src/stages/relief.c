/* relief.c: remedies for a lack of memory that all stages share. */
#include "stages/relief.h"

bool relief_empty_cache(struct relief *r, const struct err *failure)
{
    if (failure->code != ERR_MEMORY)
        return false;
    tc_recover(r->root);
    tc_empty_cache(r->root);
    bool first = !r->emptied;
    r->emptied = true;
    return first;
}

bool relief_slice(struct relief *r)
{
    if (r->sliced)
        return false;
    r->sliced = true;
    tc_slice_attention(r->root, true);
    progress_note(r->progress, NOTE_WARNING,
                  "out of memory: attention in slices from now on, which is slower");
    return true;
}

bool relief_try(struct relief *r, const struct err *failure)
{
    return relief_empty_cache(r, failure) ||
           (failure->code == ERR_MEMORY && relief_slice(r));
}

void relief_worked(struct relief *r)
{
    r->emptied = false;
}

bool relief_hint(struct err *e)
{
    return e->code == ERR_MEMORY &&
           err_hint(e, "a smaller --size, --dtype fp16 or --device cpu may fit");
}
