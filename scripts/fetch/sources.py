"""What the paper's ensemble consists of, and where each file of it lies. Leaves the
downloading to download.py."""

import dataclasses
import os
import re
import urllib.parse

from download import FetchError


@dataclasses.dataclass
class Item:
    """One file: its place below the ensemble's folder, and what is known of it. `sha256`
    may be a prefix; `blob` is git's hash; `hub`: the server's ETag is one of them."""
    path: str
    url: str
    size: int | None = None
    sha256: str | None = None
    blob: str | None = None
    hub: bool = False


# name in --only -> what it is
DIFFUSERS = {
    "sd15": "stable-diffusion-v1-5/stable-diffusion-v1-5",
    "openjourney": "prompthero/openjourney",
    "ghibli": "nitrosocke/Ghibli-Diffusion",
}
CLIP = "openai/clip-vit-base-patch32"
NAMES = [*DIFFUSERS, "clip", "vqgan", "lpips"]

# environment variable -> default
BASES = {
    "HF_ENDPOINT": "https://huggingface.co",
    "DIFFENS_TAMING_URL": "https://heibox.uni-heidelberg.de/d/a7530b09fed84f80a887",
    "DIFFENS_VGG_URL": "https://download.pytorch.org/models",
    "DIFFENS_LPIPS_URL": "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/"
                         "master/lpips/weights/v0.1",
}

DIFFUSER_FILES = ["model_index.json", "scheduler/scheduler_config.json",
                  "tokenizer/vocab.json", "tokenizer/merges.txt",
                  "text_encoder/config.json", "unet/config.json", "vae/config.json"]
DIFFUSER_EXTRAS = ["tokenizer/special_tokens_map.json", "tokenizer/tokenizer_config.json"]
DIFFUSER_WEIGHTS = {"text_encoder": ["model", "pytorch_model"],
                    "unet": ["diffusion_pytorch_model"], "vae": ["diffusion_pytorch_model"]}

# The start of what it is, as torchvision has it in the file's name.
VGG_SHA256 = "397923af"

# The published heads of LPIPS 0.1 for VGG, as the lpips package of PyPI carries them;
# taming-transformers checks the same file by its MD5.
HEADS_SHA256 = "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868"


def base(variable):
    return os.environ.get(variable, "").rstrip("/") or BASES[variable]


def weight_files(files, folder, stems, half):
    """The files that hold one network: one file, or an index and its shards; safetensors
    before pickles, and full precision before half unless `half`."""
    variants = ["fp16.", ""] if half else ["", "fp16."]
    for ending in ("safetensors", "bin"):
        for stem in stems:
            at = f"{folder}/{stem}" if folder else stem
            for variant in variants:
                if f"{at}.{variant}{ending}" in files:
                    return [f"{at}.{variant}{ending}"]
                index = f"{at}.{ending}.index.{variant}json"
                shard = re.compile(re.escape(at) + rf"(\.fp16)?-\d+-of-\d+(\.fp16)?\.{ending}")
                shards = [name for name in files if (match := shard.fullmatch(name)) and
                          bool(match[1] or match[2]) == bool(variant)]
                if index in files and shards:
                    return [index, *sorted(shards)]
    return []


def hub_listing(client, repository):
    """{name: record} of a repository's files, and the commit that they belong to."""
    place = f"{base('HF_ENDPOINT')}/api/models/{repository}"
    listing = client.json(f"{place}?blobs=true")
    try:
        return {file["rfilename"]: file for file in listing["siblings"]}, listing["sha"]
    except (KeyError, TypeError):
        raise FetchError(f"{place}: found no list of files (siblings, sha)") from None


def hub_items(repository, commit, files, names, folder):
    for name in names:
        file, large = files[name], files[name].get("lfs") or {}
        yield Item(path=f"{folder}/{name}", size=large.get("size", file.get("size")),
                   url=f"{base('HF_ENDPOINT')}/{repository}/resolve/{commit}/"
                       f"{urllib.parse.quote(name)}",
                   sha256=large.get("sha256"), blob=None if large else file.get("blobId"),
                   hub=True)


def need(files, names, repository):
    absent = [name for name in names if name not in files]
    if absent:
        raise FetchError(f"{repository}: found no {', '.join(absent)} there")
    return names


def diffuser(client, name, half):
    repository = DIFFUSERS[name]
    files, commit = hub_listing(client, repository)
    names = list(need(files, DIFFUSER_FILES, repository))
    names += [extra for extra in DIFFUSER_EXTRAS if extra in files]
    for folder, stems in DIFFUSER_WEIGHTS.items():
        names += found_weights(files, folder, stems, half, repository)
    return list(hub_items(repository, commit, files, names, name))


def found_weights(files, folder, stems, half, repository):
    weights = weight_files(files, folder, stems, half)
    if not weights:
        raise FetchError(f"{repository}: found no weights of {folder or 'the model'}, "
                         f"expected {stems[0]}.safetensors or .bin")
    return weights


def clip(client, half):
    files, commit = hub_listing(client, CLIP)
    names = need(files, ["config.json", "preprocessor_config.json"], CLIP)
    names = names + found_weights(files, "", ["model", "pytorch_model"], half, CLIP)
    return list(hub_items(CLIP, commit, files, names, "clip"))


def plain(client, path, url, sha256=None):
    return Item(path=path, url=url, size=client.size(url), sha256=sha256)


def items(client, names, half):
    """All files of these parts, with the sizes that the servers give."""
    found = []
    for name in names:
        if name in DIFFUSERS:
            found += diffuser(client, name, half)
        elif name == "clip":
            found += clip(client, half)
        elif name == "vqgan":
            found.append(plain(client, "vqgan/last.ckpt", f"{base('DIFFENS_TAMING_URL')}/files/"
                                                          "?p=%2Fckpts%2Flast.ckpt&dl=1"))
        else:
            found += [plain(client, "lpips/vgg16.pth",
                            f"{base('DIFFENS_VGG_URL')}/vgg16-397923af.pth", VGG_SHA256),
                      plain(client, "lpips/lpips.pth", f"{base('DIFFENS_LPIPS_URL')}/vgg.pth",
                            HEADS_SHA256)]
    return found
