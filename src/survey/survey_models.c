/* survey_models.c: opens each kind of model as a run would, on shapes alone, and notes
 * what it is and what is wrong with it. Leaves which models there are to survey.c. */
#include "survey/survey_internal.h"

#include "base/stop.h"

#include "diffusion/diffuser.h"
#include "io/finite.h"
#include "models/clip.h"
#include "models/perceptual.h"
#include "models/vqgan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void on_note(void *user, enum note_level level, const char *line)
{
    if (level == NOTE_FINDING || level == NOTE_WARNING)
        survey_problem(user, "%s", line);
}

/* What opens a model tells its findings here. */
static struct progress listen(struct survey *s)
{
    return (struct progress){.note = on_note, .user = s};
}

/* "F16+I64": the types that the tensors of a file have. */
static void write_dtypes(const struct tensor_file *file, char *out, size_t size)
{
    bool seen[FILE_BOOL + 1] = {false};
    for (size_t i = 0; i < file->count; i++)
        seen[file->entries[i].dtype] = true;
    out[0] = '\0';
    for (int dtype = 0; dtype <= FILE_BOOL; dtype++) {
        size_t used = strlen(out);
        if (seen[dtype])
            snprintf(out + used, size - used, "%s%s", used ? "+" : "",
                     file_dtype_name((enum file_dtype)dtype));
    }
}

static void report(const struct survey *s, const struct survey_network *n, uint64_t done,
                   uint64_t total)
{
    progress_at(s->progress, &(struct progress_at){.stage = "check",
                                                   .model = str_file_name(n->path),
                                                   .done = (int64_t)(done / 1000000),
                                                   .total = (int64_t)(total / 1000000),
                                                   .unit = "MB",
                                                   .units = 1});
}

/* Counts what is not finite, with a line for each tensor that has such numbers. */
static bool read_weights(struct survey *s, struct survey_network *n,
                         const struct tensor_file *file, struct err *e)
{
    uint64_t done = 0;
    n->nonfinite = 0;
    for (size_t i = 0; i < file->count; i++) {
        const struct tensor_entry *entry = &file->entries[i];
        report(s, n, done, n->bytes);
        done += entry->bytes;
        struct nonfinite found = {0};
        struct err failure = {0};
        if (!stop_check(e))
            return false;
        if (!finite_count_entry(&found, file, entry, &failure)) {
            if (failure.code != ERR_INPUT)
                return err_from(e, &failure, NULL);
            survey_problem(s, "%s", failure.message);
            return true;
        }
        n->nonfinite += found.nan + found.infinite;
        if (found.nan + found.infinite > 0)
            survey_problem(
                s, "%s: %s: %lld NaN and %lld infinite of %llu weights",
                STR_SHOW(n->path), STR_SHOW(entry->name), (long long)found.nan,
                (long long)found.infinite,
                (unsigned long long)(entry->bytes / file_dtype_size(entry->dtype)));
    }
    return true;
}

static bool add_file(struct survey *s, struct survey_model *model, const char *name,
                     const char *class_name, const char *path,
                     const struct tensor_file *file, struct err *e)
{
    struct survey_network *n = &model->networks[model->network_count++];
    *n = (struct survey_network){.name = name,
                                 .class_name = class_name,
                                 .path = str_dup(path),
                                 .tensors = (int64_t)file->count,
                                 .nonfinite = -1};
    if (!n->path)
        return err_set(e, ERR_MEMORY, "no host memory for a path");
    for (int i = 0; i < file->part_count; i++)
        n->bytes += file->parts[i].size;
    write_dtypes(file, n->dtypes, sizeof n->dtypes);
    return !s->weights || read_weights(s, n, file, e);
}

static bool add_network(struct survey *s, struct survey_model *model, const char *name,
                        const char *class_name, const struct network *network,
                        struct err *e)
{
    bool ok = add_file(s, model, name, class_name, network->path, &network->file, e);
    struct weights_findings found = weights_check(network->asked);
    struct survey_network *n = &model->networks[model->network_count - 1];
    n->parameters = found.parameters;
    n->unused = found.unused;
    return ok;
}

/* Notes why a model could not be opened; false where that says nothing about the model.
 */
static bool note_failure(struct survey *s, const struct err *failure, struct err *e)
{
    if (failure->code != ERR_INPUT)
        return err_from(e, failure, NULL);
    survey_problem(s, "%s", failure->message);
    if (failure->hint[0])
        survey_problem(s, "  %s", failure->hint);
    return true;
}

/* `alone`: not in an ensemble, from which it could have its tokenizer. */
static bool look_at_diffuser(struct survey *s, struct survey_model *model, bool alone,
                             struct err *e)
{
    struct diffuser d = {.tokenizer_folder = s->ensemble.tokenizer.path,
                         .without_tokenizer = alone};
    struct err failure = {0};
    struct progress progress = listen(s);
    if (!diffuser_open(&d, model->name, model->path, NULL, &progress, &failure))
        return note_failure(s, &failure, e);
    snprintf(model->detail, sizeof model->detail, "%s",
             scheduler_config_name(&d.scheduler));
    bool ok =
        add_network(s, model, "text_encoder", "CLIPTextModel", &d.text_network, e) &&
        add_network(s, model, "unet", "UNet2DConditionModel", &d.unet_network, e) &&
        add_network(s, model, "vae", "AutoencoderKL", &d.vae_network, e);
    model->whole = ok;
    diffuser_close(&d);
    return ok;
}

bool survey_diffuser(struct survey *s, struct survey_model *model, struct err *e)
{
    return look_at_diffuser(s, model, false, e);
}

bool survey_vqgan(struct survey *s, struct survey_model *model, struct err *e)
{
    struct vqgan v = {0};
    struct err failure = {0};
    struct progress progress = listen(s);
    if (!vqgan_open(&v, model->path, &progress, &failure))
        return note_failure(s, &failure, e);
    snprintf(model->detail, sizeof model->detail, "f%lld, %lld codes",
             (long long)vqgan_factor(&v.config), (long long)v.config.n_embed);
    bool ok = add_network(s, model, "vqgan", "VQModel", &v.network, e);
    model->whole = ok;
    vqgan_close(&v);
    return ok;
}

bool survey_clip(struct survey *s, struct survey_model *model, struct err *e)
{
    struct clip c = {0};
    struct err failure = {0};
    struct progress progress = listen(s);
    if (!clip_open(&c, model->path, &progress, &failure))
        return note_failure(s, &failure, e);
    snprintf(model->detail, sizeof model->detail, "%lld x %lld pixels, patches of %lld",
             (long long)c.config.image_size, (long long)c.config.image_size,
             (long long)c.config.patch_size);
    bool ok =
        add_network(s, model, "clip", "CLIPVisionModelWithProjection", &c.network, e);
    model->whole = ok;
    clip_close(&c);
    return ok;
}

bool survey_perceptual(struct survey *s, struct survey_model *model, struct err *e)
{
    struct perceptual p = {0};
    struct err failure = {0};
    struct progress progress = listen(s);
    if (!perceptual_open(&p, model->path, &progress, &failure))
        return note_failure(s, &failure, e);
    snprintf(model->detail, sizeof model->detail,
             p.has_heads ? "with LPIPS heads" : "without heads");
    bool ok =
        add_network(s, model, "vgg16", "VGG", &p.vgg_network, e) &&
        (!p.has_heads || add_network(s, model, "heads", "LPIPS", &p.heads_network, e));
    model->whole = ok;
    perceptual_close(&p);
    return ok;
}

/* A weight file alone */

/* Tensors of a single-file Stable Diffusion that are of no network of it: copies,
 * schedules.
 */
static size_t count_others(const struct tensor_file *file)
{
    static const char *const networks[] = {"model.diffusion_model.", "first_stage_model.",
                                           "cond_stage_model."};
    size_t others = 0;
    for (size_t i = 0; i < file->count; i++) {
        bool other = true;
        for (size_t k = 0; k < sizeof networks / sizeof *networks; k++)
            other = other &&
                    strncmp(file->entries[i].name, networks[k], strlen(networks[k])) != 0;
        others += other;
    }
    return others;
}

static bool survey_checkpoint(struct survey *s, struct survey_model *model,
                              const struct tensor_file *file, struct err *e)
{
    if (!look_at_diffuser(s, model, true, e))
        return false;
    size_t used = strlen(model->detail);
    snprintf(model->detail + used, sizeof model->detail - used,
             "%sStable Diffusion in one file, %zu other tensors", used ? ", " : "",
             count_others(file));
    return true;
}

/* What a file is whose tensors have such a name. The first that fits counts. */
static const struct {
    const char *tensor, *kind;
} kinds[] = {
    {"model.diffusion_model.input_blocks.0.0.weight", "Stable Diffusion in one file"},
    {"quantize.embedding.weight", "a VQGAN of taming-transformers"},
    {"quantize.embed.weight",
     "a GumbelVQ of taming-transformers, which no network here is"},
    {"vision_model.embeddings.patch_embedding.weight", "a CLIP with its image tower"},
    {"text_model.embeddings.token_embedding.weight", "a CLIP text encoder"},
    {"embeddings.token_embedding.weight", "a CLIP text encoder"},
    {"time_embedding.linear_1.weight", "a UNet of diffusers"},
    {"decoder.mid_block.resnets.0.conv1.weight", "an autoencoder of diffusers"},
    {"features.0.weight", "torchvision's VGG16"},
    {"lin0.model.1.weight", "LPIPS heads"},
};

static const char *kind_of(const struct tensor_file *file)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (tensor_file_find(file, kinds[i].tensor))
            return kinds[i].kind;
    return "weights of no kind that is known here";
}

bool survey_file(struct survey *s, struct survey_model *model, struct err *e)
{
    struct tensor_file file = {0};
    struct err failure = {0};
    if (!tensor_file_open(&file, model->path, &failure))
        return note_failure(s, &failure, e);
    bool ok = true;
    if (tensor_file_find(&file, "model.diffusion_model.input_blocks.0.0.weight")) {
        ok = survey_checkpoint(s, model, &file, e);
    } else if (tensor_file_find(&file, "quantize.embedding.weight")) {
        ok = survey_vqgan(s, model, e);
    } else {
        ok = add_file(s, model, "file", "", model->path, &file, e);
        model->whole = ok;
        for (size_t i = 0; ok && i < file.count; i++)
            model->networks[0].parameters +=
                (int64_t)(file.entries[i].bytes / file_dtype_size(file.entries[i].dtype));
    }
    if (!model->detail[0])
        snprintf(model->detail, sizeof model->detail, "%s", kind_of(&file));
    tensor_file_close(&file);
    return ok;
}
