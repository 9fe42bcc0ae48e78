/* prompts.c: the forms in which prompts are written. Leaves the fields of the object form
 * (names, negatives, seeds) to prompts_fields.c. */
#include "models/prompts.h"

#include "base/str.h"
#include "base/utf8.h"
#include "io/config.h"
#include "io/file.h"
#include "io/limits.h"
#include "models/prompts_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool prompts_no_memory(struct err *e)
{
    return err_set(e, ERR_MEMORY, "prompts: out of memory");
}

const char *prompts_text(const struct prompts *p, int64_t index_case, int64_t index_model)
{
    return p->text[index_case * p->models + index_model];
}

uint64_t prompts_noise_seed(const struct prompts *p, int64_t index_case, bool independent,
                            int index_in_ensemble)
{
    uint64_t own = independent ? UINT64_C(1000003) * (uint64_t)index_in_ensemble : 0;
    return p->seeds[index_case] + own;
}

static void free_texts(char **texts, int64_t count)
{
    for (int64_t i = 0; texts && i < count; i++)
        free(texts[i]);
    free(texts);
}

void prompts_free(struct prompts *p)
{
    free_texts(p->text, p->cases * p->models);
    free_texts(p->given, p->cases);
    free_texts(p->negative, p->cases);
    free_texts(p->names, p->cases);
    free(p->seeds);
    free(p->stream);
    *p = (struct prompts){0};
}

void prompts_keep_shard(struct prompts *p, int index, int count)
{
    int64_t cases = p->cases;
    for (int64_t n = index; n < cases; n += count)
        p->seeds[n / count] = p->seeds[n];
    str_keep_rows(p->text, cases, p->models, index, count);
    str_keep_rows(p->given, cases, 1, index, count);
    str_keep_rows(p->negative, cases, 1, index, count);
    p->cases = str_keep_rows(p->names, cases, 1, index, count);
}

static bool allocate(struct prompts *p, size_t cases, const struct prompts_source *source,
                     struct err *e)
{
    p->text = calloc(cases * (size_t)source->models, sizeof *p->text);
    p->given = calloc(cases, sizeof *p->given);
    p->negative = calloc(cases, sizeof *p->negative);
    p->names = calloc(cases, sizeof *p->names);
    p->seeds = calloc(cases, sizeof *p->seeds);
    if (!p->text || !p->given || !p->negative || !p->names || !p->seeds)
        return prompts_no_memory(e);
    p->cases = p->total = (int64_t)cases;
    p->models = source->models;
    return prompts_set_defaults(p, source, e);
}

bool prompts_account(struct prompts *p, int64_t n, const char *what, size_t size,
                     struct err *e)
{
    uint64_t one = limit_of(LIMIT_PROMPT), all = limit_of(LIMIT_PROMPT_TEXTS);
    if (size > one) {
        err_set(e, ERR_INPUT,
                "%s of case %lld: found %zu bytes, expected at most %" PRIu64, what,
                (long long)n, size, one);
        return limit_hint(LIMIT_PROMPT, e);
    }
    p->text_size += size;
    if (p->text_size <= all)
        return true;
    err_set(e, ERR_INPUT,
            "prompts: found more than %" PRIu64 " bytes with templates and negatives, "
            "expected at most that",
            all);
    return limit_hint(LIMIT_PROMPT_TEXTS, e);
}

static size_t templated_size(const char *template, size_t prompt_size)
{
    size_t size = strlen(template);
    for (const char *hole = template; (hole = strstr(hole, "{}")); hole += 2)
        size = size - 2 + prompt_size;
    return size;
}

/* The prompt in the place of each "{}" of the template. */
static char *apply_template(const char *template, const char *prompt)
{
    struct str s = {0};
    for (const char *hole; (hole = strstr(template, "{}")); template = hole + 2) {
        str_add_bytes(&s, template, (size_t)(hole - template));
        str_add(&s, prompt);
    }
    str_add(&s, template);
    return str_take(&s);
}

static bool set_text(struct prompts *p, const struct prompts_source *source, int64_t n,
                     int m, const char *prompt, struct err *e)
{
    char **text = &p->text[n * p->models + m];
    const char *template = source->templates ? source->templates[m] : "{}";
    if (!prompts_account(p, n, "prompt with its template",
                         templated_size(template, strlen(prompt)), e))
        return false;
    *text = apply_template(template, prompt);
    if (m == 0 && !(p->given[n] = str_dup(prompt)))
        return prompts_no_memory(e);
    return *text || prompts_no_memory(e);
}

static bool set_row(struct prompts *p, const struct prompts_source *source, int64_t n,
                    const char *prompt, struct err *e)
{
    for (int m = 0; m < source->models; m++)
        if (!set_text(p, source, n, m, prompt, e))
            return false;
    return true;
}

/* JSON */

bool prompts_read_text(const struct json *value, const char **out, struct err *e)
{
    if (!config_as_string(value, out, e))
        return false;
    if (strlen(*out) <= limit_of(LIMIT_PROMPT))
        return true;
    json_fail(value, e, "found %zu bytes, expected at most %" PRIu64, strlen(*out),
              limit_of(LIMIT_PROMPT));
    return limit_hint(LIMIT_PROMPT, e);
}

static bool all_of_ensemble(const struct prompts_source *source)
{
    for (int m = 0; m < source->models; m++)
        if (source->selection[m] >= source->ensemble_models)
            return false;
    return true;
}

/* A column per diffuser of the ensemble wins where both readings are possible, so that
 * the order of --models does not change who draws what. */
static bool row_is_ensemble(const struct prompts_source *source, size_t columns)
{
    return columns == (size_t)source->ensemble_models && all_of_ensemble(source);
}

static bool fail_row(const struct json *row, const struct prompts_source *source,
                     struct err *e)
{
    bool either = source->ensemble_models != source->models && all_of_ensemble(source);
    if (either)
        return json_fail(
            row, e,
            "found %zu prompts, expected %d (a column per model of the run) or "
            "%d (of the ensemble)",
            row->size, source->models, source->ensemble_models);
    return json_fail(row, e, "found %zu prompts, expected %d, a column per model",
                     row->size, source->models);
}

/* `row` is an array (check_rows()). */
static bool read_matrix_row(struct prompts *p, const struct prompts_source *source,
                            int64_t n, const struct json *row, struct err *e)
{
    bool ensemble = row_is_ensemble(source, row->size);
    if (!ensemble && row->size != (size_t)source->models)
        return fail_row(row, source, e);
    const char *prompt;
    int column = 0;
    for (const struct json *v = row->child; v; v = v->next, column++) {
        if (!prompts_read_text(v, &prompt, e))
            return false;
        for (int m = 0; m < source->models; m++)
            if ((ensemble ? source->selection[m] : m) == column &&
                !set_text(p, source, n, m, prompt, e))
                return false;
    }
    return true;
}

/* The rows of one file look alike: one column count, or strings throughout. */
static bool check_rows(const struct json *list, struct err *e)
{
    char found[80];
    const struct json *first = list->child;
    for (const struct json *row = first; row; row = row->next) {
        if (row->kind != JSON_STRING && row->kind != JSON_ARRAY)
            return json_fail(row, e,
                             "found %s, expected a prompt or an array of one per model",
                             json_describe(row, found, sizeof found));
        if (row->kind != first->kind ||
            (row->kind == JSON_ARRAY && row->size != first->size))
            return json_fail(row, e, "found %s, expected the same form as the first row",
                             json_describe(row, found, sizeof found));
    }
    return true;
}

static bool count_cases(const struct json *list, struct err *e)
{
    uint64_t most = limit_of(LIMIT_CASES);
    bool many = list->kind == JSON_ARRAY && list->size > most;
    return config_as_array(list, 1, (size_t)most, e) ||
           (many && limit_hint(LIMIT_CASES, e));
}

static bool read_list(struct prompts *p, const struct prompts_source *source,
                      const struct json *list, struct err *e)
{
    if (!count_cases(list, e) || !check_rows(list, e) ||
        !allocate(p, list->size, source, e))
        return false;
    const char *prompt;
    int64_t n = 0;
    for (const struct json *row = list->child; row; row = row->next, n++) {
        if (row->kind == JSON_ARRAY) {
            if (!read_matrix_row(p, source, n, row, e))
                return false;
        } else if (!prompts_read_text(row, &prompt, e) ||
                   !set_row(p, source, n, prompt, e)) {
            return false;
        }
    }
    return true;
}

static bool read_string_or_list(struct prompts *p, const struct prompts_source *source,
                                const struct json *value, struct err *e)
{
    const char *prompt;
    char found[80];
    if (value->kind == JSON_ARRAY)
        return read_list(p, source, value, e);
    if (value->kind != JSON_STRING)
        return json_fail(value, e, "found %s, expected a prompt or an array of prompts",
                         json_describe(value, found, sizeof found));
    return prompts_read_text(value, &prompt, e) && allocate(p, 1, source, e) &&
           set_row(p, source, 0, prompt, e);
}

static bool read_document(struct prompts *p, const struct prompts_source *source,
                          const struct json *root, struct err *e)
{
    static const char *const known[] = {"prompts", "negative", "names", "seeds"};
    if (root->kind != JSON_OBJECT)
        return read_string_or_list(p, source, root, e);
    const struct json *prompts;
    return config_only(root, known, 4, e) && config_need(root, "prompts", &prompts, e) &&
           read_string_or_list(p, source, prompts, e) && prompts_read_fields(p, root, e);
}

/* Text, one prompt a line */

/* Takes the next line that is not blank; false past the end. */
static bool next_line(const char **at, const char *end, const char **line, size_t *size,
                      int64_t *number)
{
    while (*at < end) {
        const char *newline = memchr(*at, '\n', (size_t)(end - *at));
        *line = *at;
        *size = (size_t)((newline ? newline : end) - *at);
        *at = newline ? newline + 1 : end;
        ++*number;
        if (*size > 0 && (*line)[*size - 1] == '\r')
            --*size;
        for (size_t i = 0; i < *size; i++)
            if ((*line)[i] != ' ' && (*line)[i] != '\t')
                return true;
    }
    return false;
}

static bool check_line(const char *line, size_t size, const char *name, int64_t number,
                       struct err *e)
{
    char shown[80];
    if (size > limit_of(LIMIT_PROMPT)) {
        err_set(e, ERR_INPUT,
                "%s: line %lld: found a prompt of %zu bytes, expected at most %" PRIu64,
                STR_SHOW(name), (long long)number, size, limit_of(LIMIT_PROMPT));
        return limit_hint(LIMIT_PROMPT, e);
    }
    if (!utf8_valid(line, size, NULL) || memchr(line, '\0', size))
        return err_set(e, ERR_INPUT, "%s: line %lld: found \"%s\", expected UTF-8 text",
                       STR_SHOW(name), (long long)number,
                       str_escape(shown, sizeof shown, line, size));
    return true;
}

static bool read_lines(struct prompts *p, const struct prompts_source *source,
                       const char *text, size_t size, const char *name, struct err *e)
{
    const char *line, *end = text + size;
    size_t line_size, cases = 0;
    int64_t number = 0;
    if (size >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
        text += 3;
    for (const char *at = text; next_line(&at, end, &line, &line_size, &number); cases++)
        if (!check_line(line, line_size, name, number, e))
            return false;
    if (cases < 1 || cases > limit_of(LIMIT_CASES)) {
        err_set(e, ERR_INPUT, "%s: found %zu prompts, expected 1..%" PRIu64,
                STR_SHOW(name), cases, limit_of(LIMIT_CASES));
        return cases > 0 && limit_hint(LIMIT_CASES, e);
    }
    if (!allocate(p, cases, source, e))
        return false;
    const char *at = text;
    for (int64_t n = 0; next_line(&at, end, &line, &line_size, &number); n++) {
        char *prompt = strndup(line, line_size);
        bool ok = prompt ? set_row(p, source, n, prompt, e) : prompts_no_memory(e);
        free(prompt);
        if (!ok)
            return false;
    }
    return true;
}

/* Where they come from */

static bool looks_like_json(const char *text, size_t size)
{
    size_t at = size >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
    while (at < size && strchr(" \t\r\n", text[at]) && text[at])
        at++;
    return at == size || strchr("[{\"", text[at]);
}

static bool read_text(struct prompts *p, const struct prompts_source *source,
                      const char *text, size_t size, const char *name, bool lines,
                      struct err *e)
{
    if (lines)
        return read_lines(p, source, text, size, name, e);
    struct json_document d = {0};
    bool ok = json_parse(&d, name, text, size, e) && read_document(p, source, d.root, e);
    json_free(&d);
    return ok;
}

static bool read_file(struct prompts *p, const struct prompts_source *source,
                      struct err *e)
{
    char *text = NULL;
    size_t size = 0;
    bool is_stdin = strcmp(source->file, "-") == 0;
    const char *name = is_stdin ? "standard input" : source->file;
    bool ok = is_stdin ? file_read_stream(STDIN_FILENO, name, LIMIT_JSON_PROMPTS, &text,
                                          &size, e)
                       : file_read_all(name, LIMIT_JSON_PROMPTS, &text, &size, e);
    if (!ok && !is_stdin)
        file_hint_missing(
            name,
            "--prompts takes a JSON file, a .txt file with a prompt a line, "
            "or - for standard input; diffens help prompts shows more",
            e);
    bool lines = is_stdin ? ok && !looks_like_json(text, size)
                          : str_ends_with(source->file, ".txt");
    ok = ok && read_text(p, source, text, size, name, lines, e);
    if (!ok && text && !lines && !str_ends_with(name, ".json") &&
        !looks_like_json(text, size))
        err_hint(e, "a file with a prompt a line is to be named .txt");
    if (ok && is_stdin)
        p->stream = text;
    else
        free(text);
    return ok;
}

static void note_empty(const struct prompts *p, const struct progress *progress)
{
    for (int64_t i = 0; i < p->cases * p->models; i++) {
        if (p->text[i][0])
            continue;
        progress_note(progress, NOTE_INFO,
                      "prompt of case %s, model %lld is empty: drawn without a prompt",
                      p->names[i / p->models], (long long)(i % p->models));
        return;
    }
}

bool prompts_read(struct prompts *p, const struct prompts_source *source,
                  const struct progress *progress, struct err *e)
{
    bool ok = source->file
                  ? read_file(p, source, e)
                  : allocate(p, 1, source, e) && set_row(p, source, 0, source->prompt, e);
    if (ok)
        note_empty(p, progress);
    else
        prompts_free(p);
    return ok;
}
