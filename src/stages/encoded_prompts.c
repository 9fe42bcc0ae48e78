/* encoded_prompts.c: encodes the prompts of all cases, each text once where cases in a
 * row share it. Leaves loading to src/diffusion/diffuser.h. */
#include "stages/encoded_prompts.h"

#include "base/stop.h"
#include "models/prompts.h"
#include "stages/generate.h"

#include <stdlib.h>
#include <string.h>

/* The texts of one case, and their encodings. */
struct pair {
    const char *prompt, *negative; /* the latter NULL where nothing leads away from it */
    struct encoded_prompt encoded;
};

static struct pair texts_of(const struct plan *p, int64_t n, int m)
{
    struct sampler_settings settings = generate_settings(p);
    bool guided = sampler_takes_negative(&settings);
    return (struct pair){.prompt = prompts_text(p->run->prompts, n, m),
                         .negative = guided ? p->run->prompts->negative[n] : NULL};
}

static bool same(const char *a, const char *b)
{
    return a && b && strcmp(a, b) == 0;
}

/* True where all texts together are no larger than the encoder. */
static bool fit(const struct plan *p, int m, const unsigned char *settled)
{
    const struct diffuser *d = &p->diffusers[m];
    int64_t each = tokenizer_max_length(d->tokenizer) * d->text.hidden_size;
    int64_t room = weights_check(d->text_network.asked).parameters / each;
    struct pair before = {0};
    for (int64_t n = 0; n < p->cases && room >= 0; n++) {
        if (settled[n])
            continue;
        struct pair now = texts_of(p, n, m);
        room -= !same(now.prompt, before.prompt);
        room -= now.negative && !same(now.negative, before.negative);
        before = now;
    }
    return room >= 0;
}

/* Encodes what the case before did not have. */
static bool encode(tc_scope *s, struct diffuser_weights *w, const struct pair *before,
                   struct pair *now, struct err *e)
{
    struct encoded_prompt *made = &now->encoded;
    made->prompt = same(now->prompt, before->prompt)
                       ? before->encoded.prompt
                       : sampler_encode(s, w, now->prompt, e);
    if (!made->prompt || !now->negative)
        return made->prompt != NULL;
    made->negative = same(now->negative, before->negative)
                         ? before->encoded.negative
                         : sampler_encode(s, w, now->negative, e);
    return made->negative != NULL;
}

bool encoded_prompts_make(struct encoded_prompts *t, const struct plan *p, int m,
                          const unsigned char *settled, struct diffuser_weights *w,
                          struct err *e)
{
    if (t->scope || !fit(p, m, settled))
        return true;
    t->of = calloc((size_t)p->cases, sizeof *t->of);
    if (!t->of)
        return err_set(e, ERR_MEMORY, "no host memory for %lld prompts",
                       (long long)p->cases);
    t->scope = tc_push(w->root);
    tc_context(t->scope, "%s", w->diffuser->name);
    struct pair before = {0};
    bool ok = true;
    for (int64_t n = 0; ok && n < p->cases; n++) {
        if (settled[n])
            continue;
        struct pair now = texts_of(p, n, m);
        ok = stop_check(e) && encode(t->scope, w, &before, &now, e);
        t->of[n] = now.encoded;
        before = now;
    }
    if (ok)
        diffuser_drop(w, PART_TEXT);
    else
        encoded_prompts_free(t);
    return ok;
}

bool encoded_prompts_of(const struct encoded_prompts *t, tc_scope *s,
                        const struct plan *p, int64_t n, int m,
                        struct diffuser_weights *w, struct sampler_cell *cell,
                        struct err *e)
{
    struct pair now = texts_of(p, n, m);
    if (t->scope)
        now.encoded = t->of[n];
    else if (!encode(s, w, &(struct pair){0}, &now, e))
        return false;
    cell->prompt = now.encoded.prompt;
    cell->negative = now.encoded.negative;
    return true;
}

void encoded_prompts_free(struct encoded_prompts *t)
{
    if (t->scope)
        tc_pop(t->scope, NULL);
    free(t->of);
    *t = (struct encoded_prompts){0};
}
