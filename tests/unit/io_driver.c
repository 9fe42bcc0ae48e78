/* io_driver.c: what test_io_references.py runs to compare our readers and writers with
 * Python's. `io_driver MODE FILE...` prints one JSON value a line for each file. */
#include "base/sha256.h"
#include "diffens/image.h"
#include "diffens/tensor_file.h"
#include "io/config.h"
#include "io/json_write.h"
#include "io/limits.h"
#include "io/safetensors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool show_entry(struct json_writer *w, const struct tensor_file *t,
                       const struct tensor_entry *entry, struct err *e)
{
    char hex[SHA256_HEX];
    void *bytes = malloc((size_t)entry->bytes + 1);
    bool ok = bytes && tensor_file_read(t, entry, bytes, e);
    if (ok)
        sha256_bytes(bytes, (size_t)entry->bytes, hex);
    free(bytes);
    if (!ok)
        return err_set(e, ERR_MEMORY, "out of memory for a tensor");
    json_write_key(w, entry->name);
    json_write_open_array(w);
    json_write_string(w, file_dtype_name(entry->dtype));
    json_write_open_array(w);
    for (int i = 0; i < entry->rank; i++)
        json_write_int(w, entry->dim[i]);
    json_write_close(w);
    json_write_string(w, hex);
    json_write_close(w);
    return true;
}

static bool show_tensors(struct json_writer *w, const char *path, struct err *e)
{
    struct tensor_file t;
    if (!tensor_file_open(&t, path, e))
        return false;
    json_write_open_object(w);
    bool ok = true;
    for (size_t i = 0; ok && i < t.count; i++)
        ok = show_entry(w, &t, &t.entries[i], e);
    json_write_close(w);
    tensor_file_close(&t);
    return ok;
}

static bool show_globals(struct json_writer *w, const char *path, struct err *e)
{
    struct tensor_file t;
    if (!tensor_file_open(&t, path, e))
        return false;
    json_write_string(w, t.unknown_globals ? t.unknown_globals : "");
    tensor_file_close(&t);
    return true;
}

static void show_value(struct json_writer *w, const struct json *value)
{
    struct err e = {0};
    int64_t integer;
    uint64_t large;
    double number;
    if (value->key)
        json_write_key(w, value->key);
    switch (value->kind) {
    case JSON_NULL:
        json_write_null(w);
        return;
    case JSON_BOOL:
        json_write_bool(w, value->truth);
        return;
    case JSON_STRING:
        json_write_string(w, value->text);
        return;
    case JSON_NUMBER:
        if (config_as_int(value, INT64_MIN, INT64_MAX, &integer, &e))
            json_write_int(w, integer);
        else if (config_as_uint64(value, &large, &e))
            json_write_uint(w, large);
        else if (config_as_double(value, -INFINITY, INFINITY, &number, &e))
            json_write_double(w, number);
        else
            json_write_string(w, "out of range");
        return;
    case JSON_ARRAY:
        json_write_open_array(w);
        break;
    case JSON_OBJECT:
        json_write_open_object(w);
        break;
    }
    for (const struct json *child = value->child; child; child = child->next)
        show_value(w, child);
    json_write_close(w);
}

static bool show_json(struct json_writer *w, const char *path, struct err *e)
{
    struct json_document d;
    if (!json_read(&d, path, LIMIT_JSON_PROMPTS, e))
        return false;
    show_value(w, d.root);
    json_free(&d);
    return true;
}

static void show_picture(struct json_writer *w, const struct image *image, bool alpha)
{
    char hex[SHA256_HEX];
    size_t size = (size_t)image->width * (size_t)image->height * 3;
    sha256_bytes(image->rgb, size, hex);
    json_write_open_array(w);
    json_write_int(w, image->width);
    json_write_int(w, image->height);
    json_write_bool(w, alpha);
    json_write_string(w, hex);
    json_write_close(w);
}

/* Also writes the picture and the file's name, as texts, to FILE.png. */
static bool show_image(struct json_writer *w, const char *path, struct err *e)
{
    struct image image = {0};
    bool alpha = false;
    char copy[1024];
    snprintf(copy, sizeof copy, "%s.png", path);
    const struct image_text texts[] = {{"path", path},
                                       {"say", "caf\xc3\xa9 \xe2\x98\x83"}};
    bool ok =
        image_read(&image, path, &alpha, e) && image_write_png(&image, copy, texts, 2, e);
    if (ok)
        show_picture(w, &image, alpha);
    image_free(&image);
    return ok;
}

/* Shows every cell, and copies the tensor to FILE.npy. */
static bool show_npy(struct json_writer *w, const char *path, struct err *e)
{
    struct image_tensor t = {0}, copy = {0};
    struct image image = {0};
    char copy_path[1024];
    snprintf(copy_path, sizeof copy_path, "%s.npy", path);
    bool ok =
        image_tensor_open(&t, path, e) &&
        image_tensor_create(&copy, copy_path, t.cases, t.models, t.height, t.width, e);
    json_write_open_array(w);
    for (int64_t n = 0; ok && n < t.cases; n++)
        for (int64_t m = 0; ok && m < t.models; m++) {
            ok = image_tensor_read(&t, n, m, &image, e) &&
                 image_tensor_write(&copy, n, m, &image, e);
            if (ok)
                show_picture(w, &image, false);
        }
    json_write_close(w);
    image_free(&image);
    return image_tensor_close(&t, e) && image_tensor_close(&copy, e) && ok;
}

/* Copies every tensor and text of a file to FILE.safetensors. */
static bool copy_tensors(struct json_writer *w, const char *path, struct err *e)
{
    enum { MOST = 64 };
    struct safetensors_tensor tensors[MOST];
    struct safetensors_text texts[MOST];
    void *bytes[MOST] = {NULL};
    struct tensor_file t;
    char copy[1024];
    snprintf(copy, sizeof copy, "%s.safetensors", path);
    if (!tensor_file_open(&t, path, e))
        return false;
    bool ok = t.count <= MOST && t.metadata_count <= MOST;
    for (size_t i = 0; ok && i < t.count; i++) {
        const struct tensor_entry *from = &t.entries[i];
        bytes[i] = malloc((size_t)from->bytes + 1);
        ok = bytes[i] && tensor_file_read(&t, from, bytes[i], e);
        tensors[i] = (struct safetensors_tensor){
            from->name, from->dtype, from->rank, {0}, bytes[i]};
        memcpy(tensors[i].dim, from->dim, sizeof from->dim);
    }
    for (size_t i = 0; ok && i < t.metadata_count; i++)
        texts[i] = (struct safetensors_text){t.metadata[i].key, t.metadata[i].value};
    ok = (ok || err_set(e, ERR_MEMORY, "out of memory for a copy")) &&
         safetensors_write(copy, tensors, t.count, texts, t.metadata_count, e);
    json_write_string(w, copy);
    for (int i = 0; i < MOST; i++)
        free(bytes[i]);
    tensor_file_close(&t);
    return ok;
}

/* Memory that ran out while showing. */
static bool shown(const struct str *line, struct err *e)
{
    return !line->failed || err_set(e, ERR_MEMORY, "out of memory for the output");
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        bool (*show)(struct json_writer *, const char *, struct err *);
    } modes[] = {
        {"tensors", show_tensors}, {"globals", show_globals}, {"copy", copy_tensors},
        {"json", show_json},       {"image", show_image},     {"npy", show_npy},
    };
    for (size_t mode = 0; argc > 2 && mode < sizeof modes / sizeof *modes; mode++) {
        if (strcmp(argv[1], modes[mode].name) != 0)
            continue;
        for (int i = 2; i < argc; i++) {
            struct str line = {0};
            struct json_writer w = {.out = &line};
            struct err e = {0};
            if (!modes[mode].show(&w, argv[i], &e) || !shown(&line, &e)) {
                str_clear(&line);
                w = (struct json_writer){.out = &line};
                json_write_open_object(&w);
                json_write_key(&w, "error");
                json_write_string(&w, e.message);
                json_write_close(&w);
            }
            puts(str_text(&line));
            str_free(&line);
        }
        return 0;
    }
    fprintf(stderr, "usage: io_driver tensors|globals|copy|json|image|npy FILE...\n");
    return 2;
}
