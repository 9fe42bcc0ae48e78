/* fuzz_json.c: a JSON document; what is accepted says the same when written and read
 * again. */
#include "fuzz.h"

#include "io/json.h"
#include "io/json_write.h"

#include "base/str.h"

static void write_value(struct json_writer *w, const struct json *value)
{
    if (value->key)
        json_write_key(w, value->key);
    switch (value->kind) {
    case JSON_NULL:
        json_write_null(w);
        return;
    case JSON_BOOL:
        json_write_bool(w, value->truth);
        return;
    case JSON_NUMBER: /* as a text: a number's spelling is not kept by the writer */
    case JSON_STRING:
        json_write_string(w, value->text);
        return;
    case JSON_ARRAY:
        json_write_open_array(w);
        break;
    case JSON_OBJECT:
        json_write_open_object(w);
        break;
    }
    for (const struct json *child = value->child; child; child = child->next)
        write_value(w, child);
    json_write_close(w);
}

static void write_document(struct str *out, const struct json_document *d)
{
    struct json_writer w = {.out = out};
    write_value(&w, d->root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json_document d = {0}, again = {0};
    struct str first = {0}, second = {0};
    struct err e = {0};
    bool ok = json_parse(&d, "fuzz.json", (const char *)data, size, &e);
    fuzz_outcome(ok, &e);
    struct faults *paused = fuzz_pause();
    if (ok) {
        write_document(&first, &d);
        FUZZ_CHECK(json_parse(&again, "again.json", first.bytes, first.size, &e));
        write_document(&second, &again);
        FUZZ_CHECK(strcmp(str_text(&first), str_text(&second)) == 0);
    }
    fuzz_resume(paused);
    json_free(&d);
    json_free(&again);
    str_free(&first);
    str_free(&second);
    return 0;
}
