/* pages.c: topics of `diffens help`. Leaves the help of commands and options to help.c.
 */
#include "cli/pages.h"

#include <string.h>

/* Texts as they appear. */
/* clang-format off */
const struct page page_table[] = {
    {.name = "prompts",
     .summary = "what a prompts file may hold",
     .text =
         "--prompt TEXT draws one picture a model. --prompts FILE takes a .txt file with\n"
         "one prompt a line, or JSON; each prompt is a case:\n"
         "\n"
         "  \"a castle\"                           one case, the same for every model\n"
         "  [\"a castle\", \"a red house\"]          two cases\n"
         "  [[\"a castle\", \"a castle, ink\"]]      one case; a column for each model\n"
         "  {\"prompts\": [\"a castle\", \"a fox\"],\n"
         "   \"negative\": \"blurry\",             or an array, one for each case\n"
         "   \"names\": [\"castle\", \"fox\"],       file names instead of 000, 001\n"
         "   \"seeds\": [7, 8]}                  instead of --random-seed + case\n"
         "\n"
         "Prompts are literal UTF-8 of at most 75 tokens; what is over is cut, and a\n"
         "warning quotes it (--strict-tokens refuses instead). An ensemble's templates,\n"
         "such as \"poster style {}\", are applied unless --raw-prompts is given. Without\n"
         "any prompt the ensemble's own example is drawn.\n"
         "\n"
         "  diffens generate --prompts prompts.json --random-seed 7\n"
         "  printf 'a castle\\na red house\\n' | diffens generate --prompts -\n"},
    {.name = "ensembles",
     .summary = "sets of models, and how to make one",
     .text =
         "An ensemble is a folder with an ensemble.json, found by its name in\n"
         "$DIFFENS_MODELS, in the installation's share/diffens/models or beside the\n"
         "build; --ensemble takes the path of the file as well.\n"
         "\n"
         "  {\"name\": \"mine\",\n"
         "   \"diffusers\": [{\"name\": \"sd15\", \"path\": \"sd15\"},\n"
         "                 {\"name\": \"ghibli\", \"path\": \"/data/ghibli\",\n"
         "                  \"prompt\": \"ghibli style {}\"}],\n"
         "   \"pair\": [\"sd15\", \"ghibli\"],\n"
         "   \"vqgan\": {\"path\": \"vqgan/model.safetensors\", \"size\": [256, 256]},\n"
         "   \"clip\": {\"path\": \"clip\"}, \"perceptual\": {\"path\": \"lpips\"},\n"
         "   \"example\": \"a castle on a hill at sunset\"}\n"
         "\n"
         "blend needs the vqgan, optimize the clip and perceptual networks too. Paths are\n"
         "relative to the file. Defaults of its own: \"generate\": {\"steps\": 30},\n"
         "\"optimize\": {\"epochs\": 400}. --models A,B takes some of them, and paths:\n"
         "\n"
         "  diffens generate --ensemble ./mine/ensemble.json --models ghibli,/data/other\n"},
    {.name = "layers",
     .summary = "where pictures are mixed",
     .text =
         "With E the VQGAN's encoder, C the convolution before its codebook, Q the\n"
         "nearest codebook entries, D the decoder, and w the weights of the parents x:\n"
         "\n"
         "  preconv      D(Q(C(sum w E(x))))    the encoder's output\n"
         "  prequant     D(Q(sum w C(E(x))))    just before the codebook\n"
         "  postquant    D(sum w Q(C(E(x))))    codebook entries themselves\n"
         "\n"
         "A mix of codebook entries need not be one, so postquant is the smoothest; the\n"
         "others snap to entries after the mix and keep edges. --requantize does so for\n"
         "postquant as well. At gamma 0 and 1 every layer gives a parent as the VQGAN\n"
         "sees it. optimize moves a latent at one of these layers (prequant unless told\n"
         "otherwise) instead of mixing in closed form.\n"
         "\n"
         "  diffens blend --layer all --gamma 0:1:5\n"
         "  diffens optimize --layer postquant\n"},
    {.name = "exit-status",
     .summary = "what a script can tell from it",
     .text =
         "    0  all that was asked for exists\n"
         "    1  a bug: please report it\n"
         "    2  the command line: nothing was done\n"
         "    3  bad or missing input: file, field, what was found and expected\n"
         "    4  output cannot be written\n"
         "    5  out of memory, after smaller batches\n"
         "    6  a picture is not made of finite numbers and was left out; the others\n"
         "       are there\n"
         "    7  the device is missing or broke\n"
         "    8  another live run holds the directory\n"
         "   75  stopped on request, with what was done saved: go on with --resume\n"
         "\n"
         "  diffens blend --prompts p.json --out runs/a || echo \"failed: $?\" >&2\n"},
    {.name = "limits",
     .summary = "how much of a file is taken in, and how to take more",
     .add = limits_add},
    {.name = "--man", .add = manual_add},
    {.name = "--bash", .add = completion_add_bash},
    {.name = "--zsh", .add = completion_add_zsh},
    {.name = "--fish", .add = completion_add_fish},
};
/* clang-format on */

const int page_count = sizeof page_table / sizeof *page_table;

const struct page *page_find(const char *name)
{
    for (const struct page *p = page_table; p < page_table + page_count; p++)
        if (strcmp(p->name, name) == 0)
            return p;
    return NULL;
}

void page_add(struct str *out, const struct page *page)
{
    if (page->text)
        str_add(out, page->text);
    else
        page->add(out);
}
