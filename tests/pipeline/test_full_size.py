"""Whole commands with networks of the published sizes, from the files that people have:
Stable Diffusion 1.5 as a directory, as fp16 `.bin` and as a training checkpoint, the VQGANs
of taming-transformers, ViT-B/32, VGG16 with LPIPS heads. Weights are random. Some 20 GB of
disk, 12 GB of memory, half an hour."""

import json
import shutil

import numpy
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file

import checkpoints
from ensembles import reference_picture, save_diffuser
from perceptual_references import VGG16, build_clip, build_lpips, save_clip, vgg_state
from references import VQModel, randomize
from test_blend import reference_blend
from test_diffusers import compare

pytestmark = pytest.mark.full

PROMPT = "a castle on a hill at sunset"
STEPS, SIZE = 2, (256, 256)
GB = 1e9

# A diffuser's peak in f32 as a part of its weights: text encoder, UNet, VAE in f32.
MEMORY_LIMIT = 1.3

# ch_mult, z_channels, attn_resolutions, codes, their width: configs of taming-transformers
# (ImageNet) and latent-diffusion (OpenImages).
VQGANS = {"f16-16384": ([1, 1, 2, 2, 4], 256, [16], 16384, 256),
          "f16-1024": ([1, 1, 2, 2, 4], 256, [16], 1024, 256),
          "f8-256": ([1, 2, 2, 4], 4, [32], 256, 4)}


def save_vqgan(path, kind):
    """A Lightning checkpoint with a discriminator beside the model, as published."""
    widths, channels, attention, codes, code_width = VQGANS[kind]
    model = randomize(VQModel(
        {"double_z": False, "z_channels": channels, "resolution": 256, "ch": 128,
         "in_channels": 3, "out_ch": 3, "ch_mult": widths, "num_res_blocks": 2,
         "attn_resolutions": attention, "dropout": 0.0}, codes, code_width), seed=41)
    loss = {"loss.discriminator.main.0.weight": torch.randn(64, 3, 4, 4),
            "loss.perceptual_loss.lin0.model.1.weight": torch.randn(1, 64, 1, 1)}
    path.parent.mkdir(exist_ok=True)
    checkpoints.save_lightning(model.state_dict() | loss, path)
    return model


def save_half_bin(folder):
    """Another model, in half precision, as pickles."""
    save_diffuser(folder, "sd1 at full size", seed=100)
    for name, pickle in ("unet/diffusion_pytorch_model",) * 2, \
            ("vae/diffusion_pytorch_model",) * 2, \
            ("text_encoder/model", "text_encoder/pytorch_model"):
        path = folder / f"{name}.safetensors"
        state = {key: value.half() for key, value in load_file(path).items()}
        torch.save(state, folder / f"{pickle}.bin")
        path.unlink()


def save_checkpoint(folder, path):
    """The directory's weights as a Lightning checkpoint, copies for EMA beside them."""
    pipeline = StableDiffusionPipeline.from_pretrained(
        folder, safety_checker=None, requires_safety_checker=False)
    checkpoints.save_lightning(checkpoints.single_file(pipeline, "v1"), path)


def save_critics(folder):
    save_clip(folder / "clip", build_clip({"projection_dim": 512}),
              mean=[0.48, 0.46, 0.41], std=[0.27, 0.26, 0.28])
    lpips = build_lpips(VGG16, seed=43)
    (folder / "lpips").mkdir()
    torch.save(vgg_state(lpips), folder / "lpips/vgg16-397923af.pth",
               _use_new_zipfile_serialization=False)
    save_file({f"lin{i}.model.1.weight": lin.model[1].weight.contiguous()
               for i, lin in enumerate(lpips.lins)}, folder / "lpips/lpips.safetensors")


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """The folder of an ensemble, and the reference VQGAN."""
    folder = tmp_path_factory.mktemp("full")
    save_diffuser(folder / "directory", "sd1 at full size")
    save_half_bin(folder / "half")
    save_checkpoint(folder / "directory", folder / "checkpoint.ckpt")
    save_critics(folder)
    vqgan = save_vqgan(folder / "vqgan/last.ckpt", "f16-16384")
    (folder / "ensemble.json").write_text(json.dumps({
        "name": "full", "pair": ["directory", "half"],
        "diffusers": [{"name": "directory", "path": "directory"},
                      {"name": "half", "path": "half"},
                      {"name": "checkpoint", "path": "checkpoint.ckpt"}],
        "vqgan": {"path": "vqgan/last.ckpt", "size": SIZE},
        "clip": {"path": "clip"}, "perceptual": {"path": "lpips"}}))
    yield folder, vqgan
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def blended(full, diffens, tmp_path_factory):
    """A run of all three diffusers, and how it went."""
    out = tmp_path_factory.mktemp("blended") / "run"
    result = diffens("blend", "--ensemble", full[0] / "ensemble.json", "--prompt", PROMPT,
                     "--weights", "0.5,0.3,0.2", "--layer", "all", "--steps", STEPS, "--size",
                     "%dx%d" % SIZE, "--random-seed", 7, "--device", "cpu", "--out", out)
    return out, result


def test_pictures_equal_diffusers(full, blended, observe):
    for name in "directory", "half":
        theirs = reference_picture(full[0] / name, PROMPT, 7, STEPS, SIZE,
                                   torch_dtype=torch.float32)
        compare(blended[0] / f"images/000_{name}.png", theirs, observe,
                f"SD 1.5, {name}, {SIZE[0]}x{SIZE[1]}")
    tensor = numpy.load(blended[0] / "images.npy")
    assert (tensor[0, 0] == tensor[0, 2]).all(), "the checkpoint has the directory's weights"
    assert "ModelCheckpoint" in blended[1].stderr


def test_blends_equal_taming(full, blended, observe):
    pictures = numpy.load(blended[0] / "images.npy")[0]
    for layer in "preconv", "prequant", "postquant":
        theirs = reference_blend(full[1], pictures, (0.5, 0.3, 0.2), layer)
        compare(next((blended[0] / "blend").glob(f"000_{layer}_*.png")), theirs, observe,
                f"f16-16384, {layer}")


def test_memory(full, blended, observe):
    """Three diffusers, one of them with as many bytes of copies in its file: no more than
    one of them and its activations."""
    weights = sum(path.stat().st_size
                  for path in (full[0] / "directory").rglob("*.safetensors"))
    observe("pipeline", "full size", f"peak memory / {weights / GB:.2f} GB of weights",
            blended[1].peak / weights, MEMORY_LIMIT)
    assert blended[1].peak <= MEMORY_LIMIT * weights


def test_optimize(full, blended, diffens, tmp_path):
    diffens("optimize", "--ensemble", full[0] / "ensemble.json", "--images", blended[0],
            "--epochs", 3, "--device", "cpu", "--out", tmp_path / "run")
    losses = numpy.loadtxt(tmp_path / "run/optimize/000_losses.csv", delimiter=",", skiprows=1)
    assert len(losses) == 3 and numpy.isfinite(losses).all()
    assert (tmp_path / "run/optimize/000.png").exists()


@pytest.mark.parametrize("kind", ["f16-1024", "f8-256"])
def test_other_vqgans(full, blended, diffens, tmp_path, observe, kind):
    vqgan = save_vqgan(tmp_path / "vqgan/last.ckpt", kind)
    (tmp_path / "ensemble.json").write_text(json.dumps({
        "name": kind, "diffusers": [{"name": name, "path": name} for name in
                                    ("directory", "half", "checkpoint")],
        "vqgan": {"path": "vqgan/last.ckpt", "size": SIZE}}))
    diffens("blend", "--ensemble", tmp_path / "ensemble.json", "--images", blended[0],
            "--weights", "0.5,0.3,0.2", "--device", "cpu", "--out", tmp_path / "run")
    theirs = reference_blend(vqgan, numpy.load(blended[0] / "images.npy")[0], (0.5, 0.3, 0.2),
                             "postquant")
    compare(next((tmp_path / "run/blend").glob("000_*.png")), theirs, observe,
            f"{kind}, postquant")


def test_checks(full, diffens):
    """`models check` reads every weight of all of it; `show` knows what the files are."""
    shown = diffens("models", "show", full[0] / "ensemble.json").stdout
    assert "f16, 16384 codes" in shown and "patches of 32" in shown and "859.52 M" in shown
    checked = diffens("models", "check", full[0] / "ensemble.json")
    assert "all weights finite" in checked.stdout and checked.peak < GB / 2
    alone = diffens("models", "check", full[0] / "checkpoint.ckpt")
    assert "689 other tensors" in diffens("models", "show", full[0] / "checkpoint.ckpt").stdout
    assert alone.peak < GB / 2
