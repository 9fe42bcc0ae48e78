"""The same weights from the files that people have: pickles, single files, old names. The
pictures are the same, bit for bit."""

import json
import shutil

import pytest
import torch
from diffusers import StableDiffusionPipeline
from diffusers.loaders import single_file_utils
from safetensors.torch import load_file, save_file

import checkpoints as c
from ensembles import save_critics, save_vqgan

UNET = "unet/diffusion_pytorch_model"
VAE = "vae/diffusion_pytorch_model"
TEXT = "text_encoder/model"


@pytest.fixture(scope="module", params=c.UNETS)
def model(request, tmp_path_factory):
    """A diffusers directory, its single-file state dict, and which kind they are."""
    folder = tmp_path_factory.mktemp(request.param)
    pipeline = c.build_pipeline(folder / "directory", request.param)
    pipeline.save_pretrained(folder / "directory")
    vqgan = folder / "vqgan"
    save_vqgan(vqgan)
    (folder / "ensemble.json").write_text(json.dumps({
        "name": "one", "diffusers": [{"name": "directory", "path": "directory"}],
        "vqgan": {"path": "vqgan/model.safetensors", "size": [64, 64]}}))
    return folder, c.single_file(pipeline, request.param), request.param, pipeline


@pytest.fixture(scope="module")
def draw(diffens):
    def run(folder, out, *arguments, model=None, status=0):
        chosen = ["--models", model] if model else []
        return diffens("generate", "--ensemble", folder / "ensemble.json", *chosen, "--prompt",
                       "a cat", "--steps", 2, "--size", "64x64", "--out", out, *arguments,
                       status=status)
    return run


@pytest.fixture(scope="module")
def original(model, draw, tmp_path_factory):
    """What the directory as it was saved draws: the bytes of the image tensor."""
    out = tmp_path_factory.mktemp("original") / "run"
    draw(model[0], out)
    return (out / "images.npy").read_bytes()


def test_the_names_are_those_that_diffusers_converts(model):
    """diffusers' conversion of our single file gives its own state dicts back."""
    _, state, kind, pipeline = model
    unet = single_file_utils.convert_ldm_unet_checkpoint(dict(state), dict(pipeline.unet.config))
    vae = single_file_utils.convert_ldm_vae_checkpoint(dict(state), dict(pipeline.vae.config))
    for found, expected in (unet, pipeline.unet.state_dict()), (vae, pipeline.vae.state_dict()):
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in expected)
    if kind == "v2":
        text = single_file_utils.convert_open_clip_checkpoint(pipeline.text_encoder, dict(state))
        text = c.bare(text)
        assert all(torch.equal(text[name], value) for name, value in
                   c.bare(pipeline.text_encoder.state_dict()).items())


@pytest.mark.parametrize("form", ["lightning.ckpt", "legacy.ckpt", "plain.safetensors"])
def test_single_files(model, original, draw, tmp_path, form):
    folder, state, _, _ = model
    path = tmp_path / form
    if form == "plain.safetensors":
        save_file(state, path)
    elif form == "legacy.ckpt":
        torch.save(state, path, _use_new_zipfile_serialization=False)
    else:
        c.save_lightning(state, path)
    result = draw(folder, tmp_path / "run", model=path)
    assert (tmp_path / "run/images.npy").read_bytes() == original
    assert ("ModelCheckpoint" in result.stderr) == (form == "lightning.ckpt")
    assert (tmp_path / f"run/images/000_{path.stem}.png").exists()


def test_training_checkpoints_are_whole(model, tmp_path):
    """What Lightning wrote beside the weights is there, and the weights are ours."""
    c.save_lightning(model[1], tmp_path / "x.ckpt")
    found = torch.load(tmp_path / "x.ckpt", weights_only=False)
    assert found["state_dict"].keys() == model[1].keys()
    assert all(torch.equal(found["state_dict"][name], value) for name, value in model[1].items())
    assert len(found["optimizer_states"][0]["state"]) > 100
    assert any("ModelCheckpoint" in key for key in found["callbacks"])
    assert found["loops"] and found["lr_schedulers"] and found["global_step"] == 1
    assert type(found["hyper_parameters"]["settings"]).__name__ == "AttributeDict"


def test_single_files_are_looked_at(model, diffens, tmp_path):
    """All three networks, without a tokenizer; what is not theirs is counted."""
    _, state, kind, pipeline = model
    c.save_lightning(state, tmp_path / "x.ckpt")
    found = json.loads(diffens("models", "check", tmp_path / "x.ckpt", "--json").stdout)
    networks = found["models"][0]["networks"]
    assert [n["name"] for n in networks] == ["text_encoder", "unet", "vae"]
    assert all(n["nonfinite"] == 0 for n in networks)
    assert networks[1]["parameters"] == sum(p.numel() for p in pipeline.unet.parameters())
    others = sum(name.startswith("model_ema") for name in state) + 2  # betas, scale_factor
    assert f"{others} other tensors" in diffens("models", "show", tmp_path / "x.ckpt").stdout
    name = "model.diffusion_model.middle_block.0.in_layers.2.weight"
    c.save_lightning(without(name)(state), tmp_path / "y.ckpt")
    broken = diffens("models", "check", tmp_path / "y.ckpt", status=3)
    assert "mid_block.resnets.0.conv1.weight: found nothing" in broken.stdout + broken.stderr


def as_bin(folder, name, state=None, bin_name=None, **settings):
    state = state or load_file(folder / f"{name}.safetensors")
    (folder / f"{name}.safetensors").unlink()
    torch.save(state, folder / f"{bin_name or name}.bin", **settings)


def all_bin(folder):
    as_bin(folder, UNET)
    as_bin(folder, VAE, _use_new_zipfile_serialization=False)
    text = {"text_model." + name: value for name, value in
            c.bare(load_file(folder / f"{TEXT}.safetensors")).items()}
    text["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    as_bin(folder, TEXT, text, "text_encoder/pytorch_model")


def old_attentions(folder):
    """What the VAEs of SD 1.x have, once as dense layers, once as 1x1 convolutions."""
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    state = load_file(folder / f"{VAE}.safetensors")
    for new, name in old.items():
        state = {key.replace(f"attentions.0.{new}.", f"attentions.0.{name}."): value
                 for key, value in state.items()}
    as_bin(folder, VAE, c.as_convolutions(state, "decoder.mid_block.attentions"))


def shards(folder):
    state = load_file(folder / f"{UNET}.safetensors")
    (folder / f"{UNET}.safetensors").unlink()
    parts = {"p-1.bin": sorted(state)[::2], "p-2.bin": sorted(state)[1::2]}
    for part, names in parts.items():
        torch.save({name: state[name].T.contiguous().T for name in names if
                    state[name].ndim == 2} | {name: state[name] for name in names if
                                              state[name].ndim != 2}, folder / "unet" / part)
    (folder / f"{UNET}.bin.index.json").write_text(json.dumps(
        {"weight_map": {name: part for part, names in parts.items() for name in names}}))


def hub_cache(folder):
    """Links into blobs named by their hash, outside the directory."""
    blobs = folder.parent / "blobs"
    blobs.mkdir()
    for i, path in enumerate(sorted(folder.rglob("*.*"))):
        if path.is_file():
            path.rename(blobs / f"{i:040x}")
            path.symlink_to(blobs / f"{i:040x}")


def safetensors_first(folder):
    for name in UNET, VAE:
        (folder / f"{name}.bin").write_bytes(b"not looked at")


@pytest.mark.parametrize("change", [all_bin, old_attentions, shards, hub_cache,
                                    safetensors_first])
def test_directories(model, original, draw, tmp_path, change):
    if model[2] == "v2" and change is not all_bin:
        pytest.skip("once is enough")
    shutil.copytree(model[0] / "directory", tmp_path / "m/changed")
    change(tmp_path / "m/changed")
    draw(model[0], tmp_path / "run", model=tmp_path / "m/changed")
    assert (tmp_path / "run/images.npy").read_bytes() == original


def test_half_precision_variants(model, draw, tmp_path):
    if model[2] == "v2":
        pytest.skip("once is enough")
    for form in "bin", "safetensors":
        changed = tmp_path / form
        shutil.copytree(model[0] / "directory", changed)
        for name, old in (UNET, UNET), (VAE, VAE), (TEXT, "text_encoder/pytorch_model"):
            state = {k: v.half() if v.is_floating_point() else v
                     for k, v in load_file(changed / f"{name}.safetensors").items()}
            (changed / f"{name}.safetensors").unlink()
            if form == "bin":
                torch.save(state, changed / f"{old}.fp16.bin")
            else:
                save_file(state, changed / f"{name}.fp16.safetensors")
        draw(model[0], tmp_path / f"run-{form}", model=changed)
    assert ((tmp_path / "run-bin/images.npy").read_bytes() ==
            (tmp_path / "run-safetensors/images.npy").read_bytes())


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_directories_in_shards(model, original, draw, tmp_path, variant):
    """save_pretrained() with small shards, for which it also writes an index."""
    if model[2] == "v2":
        pytest.skip("once is enough")
    pipeline = StableDiffusionPipeline.from_pretrained(
        model[0] / "directory", dtype=torch.float16 if variant else torch.float32)
    expected = original
    if variant:
        pipeline.save_pretrained(tmp_path / "whole", variant=variant)
        draw(model[0], tmp_path / "run-whole", model=tmp_path / "whole")
        expected = (tmp_path / "run-whole/images.npy").read_bytes()
        assert expected != original
    pipeline.save_pretrained(tmp_path / "shards", variant=variant, max_shard_size="100KB")
    for name in UNET, VAE, TEXT:
        index = "index.fp16.json" if variant else "index.json"
        assert (tmp_path / f"shards/{name}.safetensors.{index}").exists()
        shards = list((tmp_path / "shards").glob(f"{name}*.safetensors"))
        assert len(shards) > 1 and all("-of-0" in shard.name for shard in shards)
    draw(model[0], tmp_path / "run", model=tmp_path / "shards")
    assert (tmp_path / "run/images.npy").read_bytes() == expected


def without(prefix):
    return lambda state: {k: v for k, v in state.items() if not k.startswith(prefix)}


def inpainting(state):
    name = "model.diffusion_model.input_blocks.0.0.weight"
    return state | {name: torch.zeros(state[name].shape[0], 9, 3, 3)}


REFUSED = {
    "no UNet": (without("model.diffusion_model."), "found no model.diffusion_model.input_blocks"),
    "no VAE": (without("first_stage_model.decoder"), "expected an autoencoder"),
    "no text encoder": (without("cond_stage_model."), "expected a CLIP text encoder"),
    "XL": (lambda s: s | {"conditioner.embedders.0.transformer.text_model.embeddings."
                          "token_embedding.weight": torch.ones(1)}, "Stable Diffusion XL"),
    "inpainting": (inpainting, "9 input and 4 output channels"),
    "missing tensor": (without("model.diffusion_model.middle_block.0.in_layers.2.weight"),
                       "mid_block.resnets.0.conv1.weight"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_single_files_that_are_refused(model, draw, tmp_path, name):
    if model[2] == "v2":
        pytest.skip("once is enough")
    change, words = REFUSED[name]
    save_file(change(model[1]), tmp_path / "x.safetensors")
    result = draw(model[0], tmp_path / "run", model=tmp_path / "x.safetensors", status=3)
    assert words in result.stderr and not (tmp_path / "run").exists()


def test_unknown_globals_can_be_refused(model, draw, tmp_path):
    if model[2] == "v2":
        pytest.skip("once is enough")
    c.save_lightning(model[1], tmp_path / "x.ckpt")
    result = draw(model[0], tmp_path / "run", "--reject-unknown-globals",
                  model=tmp_path / "x.ckpt", status=3)
    assert "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint" in result.stderr


def test_tokenizers_and_predictions_of_single_files(model, original, draw, tmp_path):
    """In an ensemble of a single file alone: a tokenizer of its own, and a word for what
    the UNet predicts."""
    folder, state, kind, _ = model
    save_file(state, tmp_path / "x.safetensors")
    fields = {"name": "x", "diffusers": [{"name": "x", "path": "x.safetensors"}]}
    (tmp_path / "ensemble.json").write_text(json.dumps(fields))
    assert "tokenizer" in draw(tmp_path, tmp_path / "none", status=3).stderr
    fields["tokenizer"] = {"path": str(folder / "directory/tokenizer")}
    (tmp_path / "ensemble.json").write_text(json.dumps(fields))
    draw(tmp_path, tmp_path / "run")
    assert (tmp_path / "run/images.npy").read_bytes() == original
    other = "epsilon" if kind == "v2" else "v_prediction"
    fields["diffusers"][0]["prediction"] = other
    (tmp_path / "ensemble.json").write_text(json.dumps(fields))
    draw(tmp_path, tmp_path / "other")
    assert (tmp_path / "other/images.npy").read_bytes() != original


def test_vqgan_and_critics_as_published(diffens, tmp_path):
    """A Lightning checkpoint with the discriminator in it, torchvision's VGG16 in the old
    format, the lpips package's heads, and CLIP as pytorch_model.bin."""
    from PIL import Image
    import numpy as np
    for name in "a", "b":
        (tmp_path / "pictures/one").mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(ord(name)).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"pictures/one/{name}.png")

    def optimize(folder, out):
        diffens("optimize", "--ensemble", folder / "ensemble.json", "--images",
                tmp_path / "pictures", "--seed", "input", "--epochs", 2, "--crops", "1x1,2x0.5",
                "--out", out)
        return [(out / name).read_bytes() for name in ("optimize/one.png",
                                                       "optimize/one_losses.csv")]

    plain, published = tmp_path / "plain", tmp_path / "published"
    model = save_vqgan(plain / "vqgan")
    fields = {"name": "x", "diffusers": [{"name": "a", "path": "a"}, {"name": "b", "path": "b"}],
              "vqgan": {"path": "vqgan/model.safetensors", "size": [64, 64]},
              **save_critics(plain)}
    (plain / "ensemble.json").write_text(json.dumps(fields))
    expected = optimize(plain, tmp_path / "run-plain")

    (published / "vqgan").mkdir(parents=True)
    seeded = torch.Generator().manual_seed(47)
    discriminator = {f"loss.discriminator.main.{i}.weight":
                     torch.randn(4, 3, 4, 4, generator=seeded) for i in range(3)}
    c.save_lightning(model.state_dict() | discriminator, published / "vqgan/last.ckpt")
    shutil.copytree(plain / "clip", published / "clip")
    as_bin(published, "clip/model", bin_name="clip/pytorch_model")
    (published / "lpips").mkdir()
    torch.save(load_file(plain / "lpips/vgg16.safetensors") |
               {"classifier.0.weight": torch.zeros(4, 4)},
               published / "lpips/vgg16-397923af.pth", _use_new_zipfile_serialization=False)
    torch.save(load_file(plain / "lpips/lpips.safetensors"), published / "lpips/vgg.pth")
    fields["vqgan"]["path"] = "vqgan/last.ckpt"
    (published / "ensemble.json").write_text(json.dumps(fields))
    assert optimize(published, tmp_path / "run-published") == expected
