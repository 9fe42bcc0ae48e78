/* parents.c: puts parents into the image tensor and beside it. Leaves the drawing of them
 * to generate.c and the reading of pictures from elsewhere to import.c. */
#include "stages/parents.h"

#include "run/record.h"

bool parents_publish(const struct plan *p, int64_t index_case, int index_model,
                     const struct image *picture, double seconds,
                     struct image_tensor *images, struct err *e)
{
    struct record *r = p->run->record;
    int cell = plan_parent_cell(p, index_case, index_model);
    const struct image_text *texts;
    int count = record_cell_texts(r, cell, &texts, e);
    bool ok = count > 0 &&
              image_tensor_write(images, index_case, index_model, picture, e) &&
              image_write_png(picture, record_cell_path(r, cell), texts, count, e) &&
              record_cell_done(r, cell, seconds, e);
    if (ok && p->results == 0) /* elsewhere parents are a step on the way */
        progress_made(p->run->progress, record_cell_path(r, cell));
    return ok;
}

bool parents_import(const struct plan *p, struct image_tensor *images, struct err *e)
{
    for (int64_t n = 0; n < p->cases; n++) {
        for (int m = 0; m < p->models; m++) {
            struct image picture = {0};
            bool ok = import_read(&p->import, n, p->import_index[m], &picture, e) &&
                      parents_publish(p, n, m, &picture, 0, images, e);
            image_free(&picture);
            if (!ok)
                return false;
        }
    }
    return true;
}
