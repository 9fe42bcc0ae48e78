/* fuzz_configs.c: the JSON files beside weights. The first byte says which. */
#include "fuzz.h"

#include "models/clip.h"
#include "models/configs.h"
#include "models/ensemble_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    union {
        struct clip_text_config text;
        struct clip_vision_config vision;
        struct unet_config unet;
        struct vae_config vae;
    } c;
    struct ensemble s = {0};
    float mean[3], deviation[3];
    struct err e = {0};
    bool ok = true;
    memset(&c, 0, sizeof c);
    if (size == 0)
        return 0;
    const char *path = fuzz_write("config.json", data + 1, size - 1);
    switch (data[0]) {
    case 't':
        ok = clip_text_config_read(path, &c.text, &e);
        break;
    case 'c':
        ok = clip_vision_config_read(path, &c.vision, &e);
        break;
    case 'n':
        ok = clip_normalisation_read(path, mean, deviation, &e);
        break;
    case 'u':
        ok = unet_config_read(path, &c.unet, &e);
        break;
    case 'v':
        ok = vae_config_read(path, &c.vae, &e);
        break;
    case 'e':
        ok = ensemble_read(&s, path, &e);
        break;
    default:
        return 0;
    }
    fuzz_outcome(ok, &e);
    if (ok && s.count > 0) {
        char *names[] = {s.diffusers[0].name, "./elsewhere/tuned.ckpt"};
        ok = ensemble_select(&s, names, 2, &e);
        FUZZ_CHECK(ok || e.code == ERR_USAGE || e.code == ERR_MEMORY);
    }
    ensemble_close(&s);
    return 0;
}
