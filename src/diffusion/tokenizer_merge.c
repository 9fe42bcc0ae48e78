/* tokenizer_merge.c: one word becomes ids, by merging neighbours in the order of rank.
 * Leaves the vocabulary to tokenizer_bpe.c. */
#include "diffusion/tokenizer_bpe.h"

#include <stdlib.h>

void id_list_add(struct id_list *list, int32_t id)
{
    if (list->failed)
        return;
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 128;
        int32_t *ids = realloc(list->ids, capacity * sizeof *ids);
        if (!ids) {
            list->failed = true;
            return;
        }
        list->ids = ids;
        list->capacity = capacity;
    }
    list->ids[list->count++] = id;
}

void id_list_free(struct id_list *list)
{
    free(list->ids);
    *list = (struct id_list){0};
}

/* Symbols of a word are a doubly linked list in an array; -1 ends it on both sides. A
 * symbol that was merged into its left neighbour has the id -1. */
struct symbol {
    int32_t id;
    int32_t before, after;
};

/* A merge that was possible when it was found: `at` and its neighbour become `merged`. */
struct candidate {
    int32_t rank, at, merged;
};

struct word {
    const struct bpe *bpe;
    struct symbol *symbols;
    struct candidate *heap; /* the lowest rank, then the leftmost, on top */
    size_t heap_count;
};

static bool goes_first(const struct candidate *a, const struct candidate *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

static void heap_push(struct word *w, struct candidate item)
{
    size_t at = w->heap_count++;
    while (at > 0 && goes_first(&item, &w->heap[(at - 1) / 2])) {
        w->heap[at] = w->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    w->heap[at] = item;
}

static struct candidate heap_pop(struct word *w)
{
    struct candidate top = w->heap[0], last = w->heap[--w->heap_count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= w->heap_count)
            break;
        if (child + 1 < w->heap_count && goes_first(&w->heap[child + 1], &w->heap[child]))
            child++;
        if (!goes_first(&w->heap[child], &last))
            break;
        w->heap[at] = w->heap[child];
        at = child;
    }
    w->heap[at] = last;
    return top;
}

static const struct bpe_merge *merge_at(const struct word *w, int32_t at)
{
    if (at < 0 || w->symbols[at].after < 0)
        return NULL;
    return bpe_find_merge(w->bpe, w->symbols[at].id, w->symbols[w->symbols[at].after].id);
}

static void propose(struct word *w, int32_t at)
{
    const struct bpe_merge *merge = merge_at(w, at);
    if (merge)
        heap_push(w, (struct candidate){merge->rank, at, merge->merged});
}

static void apply(struct word *w, struct candidate c)
{
    struct symbol *symbol = &w->symbols[c.at];
    struct symbol *gone = &w->symbols[symbol->after];
    symbol->id = c.merged;
    symbol->after = gone->after;
    gone->id = -1;
    if (symbol->after >= 0)
        w->symbols[symbol->after].before = c.at;
    propose(w, symbol->before);
    propose(w, c.at);
}

static void merge_word(struct word *w, size_t size)
{
    for (size_t i = 0; i + 1 < size; i++)
        propose(w, (int32_t)i);
    while (w->heap_count > 0) {
        struct candidate c = heap_pop(w);
        if (w->symbols[c.at].id < 0)
            continue;
        /* Stale when its neighbours have changed since (tokenizers: Word::merge_all). */
        const struct bpe_merge *merge = merge_at(w, c.at);
        if (merge && merge->merged == c.merged)
            apply(w, c);
    }
}

void bpe_encode_word(const struct bpe *b, const char *word, size_t size, int32_t unknown,
                     struct id_list *out)
{
    struct word w = {.bpe = b};
    if (size == 0)
        return;
    w.symbols = malloc(size * sizeof *w.symbols);
    /* Each merge removes a symbol and proposes at most two more. */
    w.heap = malloc(3 * size * sizeof *w.heap);
    if (!w.symbols || !w.heap) {
        out->failed = true;
        goto done;
    }
    for (size_t i = 0; i < size; i++) {
        bool last = i + 1 == size;
        int32_t id = b->byte_id[last][(unsigned char)word[i]];
        w.symbols[i] = (struct symbol){.id = id < 0 ? unknown : id,
                                       .before = (int32_t)i - 1,
                                       .after = last ? -1 : (int32_t)i + 1};
    }
    merge_word(&w, size);
    for (int32_t at = 0; at >= 0; at = w.symbols[at].after)
        id_list_add(out, w.symbols[at].id);
done:
    free(w.symbols);
    free(w.heap);
}
