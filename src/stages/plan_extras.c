/* plan_extras.c: what weight files hold beside the tensors that the run asks for: other
 * tensors, and classes or functions by name, as trainers' checkpoints do. Nothing of it
 * is used or looked up, and the user is told. Leaves the reading to src/io. */
#include "stages/plan_internal.h"

#include "base/str.h"

#include <string.h>

static bool check_tensors(const struct plan *p, const struct network *n, struct err *e)
{
    struct weights_findings f = {0};
    if (n->asked.node)
        f = weights_check(n->asked);
    if (f.unused == 0)
        return true;
    if (p->run->options->strict)
        return err_set(e, ERR_INPUT,
                       "%s: found %lld tensors that the architecture has no use for, "
                       "expected none: %s is the first",
                       STR_SHOW(n->path), (long long)f.unused, STR_SHOW(f.first_unused));
    progress_note(p->run->progress, NOTE_WARNING,
                  "%s: %lld tensors are not used; %s is the first", STR_SHOW(n->path),
                  (long long)f.unused, STR_SHOW(f.first_unused));
    return true;
}

static bool check_others(const struct plan *p, const struct network *n, struct err *e)
{
    if (n->file.has_blanks)
        progress_note(
            p->run->progress, NOTE_INFO,
            "%s: the header begins with blanks, where its format has none: read "
            "as the safetensors library does",
            STR_SHOW(n->path));
    const char *names = n->file.unknown_globals;
    if (!names)
        return true;
    if (p->run->options->reject_unknown_globals)
        return err_set(e, ERR_INPUT, "%s: found the globals %s, expected tensors only",
                       STR_SHOW(n->path), names);
    progress_note(p->run->progress, NOTE_WARNING,
                  "%s: holds more than tensors; ignored, nothing of it was run: %s",
                  STR_SHOW(n->path), names);
    return true;
}

static bool check_file(const struct plan *p, const struct network *n, struct err *e)
{
    return check_tensors(p, n, e) && check_others(p, n, e);
}

/* Its three networks may be in one file. */
static bool check_diffuser(const struct plan *p, const struct diffuser *d, struct err *e)
{
    const struct network *const others[] = {&d->text_network, &d->vae_network};
    bool ok = check_file(p, &d->unet_network, e);
    for (int i = 0; ok && i < 2; i++)
        ok = check_tensors(p, others[i], e) &&
             (strcmp(others[i]->path, d->unet_network.path) == 0 ||
              check_others(p, others[i], e));
    return ok;
}

bool plan_check_extras(const struct plan *p, struct err *e)
{
    for (int m = 0; p->diffusers && m < p->models; m++)
        if (!check_diffuser(p, &p->diffusers[m], e))
            return false;
    return check_file(p, &p->vqgan.network, e) && check_file(p, &p->clip.network, e) &&
           check_file(p, &p->perceptual.vgg_network, e) &&
           check_file(p, &p->perceptual.heads_network, e);
}
