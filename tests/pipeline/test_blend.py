"""Blending: against taming-transformers, the identities of the mix, determinism."""

import itertools
import json

import numpy
import pytest
import torch
from PIL import Image

LAYERS = ["preconv", "prequant", "postquant"]


def pixels(path):
    return numpy.asarray(Image.open(path)).astype(int)


@pytest.fixture(scope="module")
def parents(tmp_path_factory):
    """An image tensor of 2 cases and 3 models, at the VQGAN's own size."""
    path = tmp_path_factory.mktemp("parents") / "parents.npy"
    smooth = numpy.random.default_rng(3).integers(0, 256, (2, 3, 8, 8, 3), numpy.uint8)
    numpy.save(path, smooth.repeat(8, axis=2).repeat(8, axis=3))
    return path


def reference_blend(vqgan, pictures, weights, layer):
    """What the definitions and taming-transformers' modules make of [M,H,W,3] bytes."""
    x = torch.tensor(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    shares = torch.tensor(weights).view(-1, 1, 1, 1)

    def quantize(z):
        return vqgan.quantize(z)[0]
    with torch.no_grad():
        z = vqgan.encoder(x)
        if layer == "preconv":
            z = quantize(vqgan.quant_conv((shares * z).sum(0, keepdim=True)))
        elif layer == "prequant":
            z = quantize((shares * vqgan.quant_conv(z)).sum(0, keepdim=True))
        else:
            z = (shares * quantize(vqgan.quant_conv(z))).sum(0, keepdim=True)
        picture = vqgan.decoder(vqgan.post_quant_conv(z))[0]
    return ((picture + 1) * 127.5).clamp(0, 255).permute(1, 2, 0).numpy()


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("weights", [(0.5, 0.2, 0.3), (0.7, 0.3, 0.0)])
def test_blend_equals_taming(diffens, tiny, parents, tmp_path, layer, weights):
    ensemble, vqgan = tiny
    lines = diffens("blend", "--ensemble", ensemble, "--images", parents, "--layer", layer,
                    "--weights", ",".join(map(str, weights)), "--out", tmp_path / "run")
    tensor = numpy.load(parents)
    pictures = [line for line in lines.stdout.splitlines() if "/blend/" in line]
    assert len(pictures) == 2
    for case, path in enumerate(pictures):
        theirs = reference_blend(vqgan, tensor[case], weights, layer)
        assert theirs.std() > 5
        assert numpy.abs(pixels(path) - theirs).max() <= 1


@pytest.mark.parametrize("layer", LAYERS)
def test_identities_bit_for_bit(diffens, tiny, parents, tmp_path, layer):
    ensemble, _ = tiny

    def blend(name, *arguments):
        out = diffens("blend", "--ensemble", ensemble, "--images", parents, "--layer", layer,
                      "--out", tmp_path / name, *arguments).stdout
        return [pixels(line) for line in out.splitlines() if "/blend/" in line]

    names = ["model0", "model1", "model2"]
    ends = {}
    for first, second in itertools.permutations(names, 2):
        zero, one = blend(f"{first}{second}", "--pair", f"{first},{second}", "--gamma",
                          "0,1")[:2]
        for name, picture in ((first, zero), (second, one)):
            assert (ends.setdefault(name, picture) == picture).all()
    assert (ends["model0"] != ends["model1"]).any()
    for i, name in enumerate(names):
        weights = ",".join("1" if i == j else "0" for j in range(3))
        assert (blend(f"w{i}", "--weights", weights)[0] == ends[name]).all()


def test_equal_parents_are_their_own_blend(diffens, tiny, parents, tmp_path):
    ensemble, _ = tiny
    one = numpy.load(parents)[:1, :1].repeat(3, axis=1)
    numpy.save(tmp_path / "equal.npy", one)
    out = diffens("blend", "--ensemble", ensemble, "--images", tmp_path / "equal.npy",
                  "--layer", "all", "--gamma", "0:1:8", "--pair", "model0,model1",
                  "--out", tmp_path / "two").stdout
    out += diffens("blend", "--ensemble", ensemble, "--images", tmp_path / "equal.npy",
                   "--layer", "all", "--weights", "0.2,0.3,0.5", "--weights", "0.1,0.2,0.7",
                   "--out", tmp_path / "three").stdout
    pictures = [pixels(line) for line in out.splitlines() if "/blend/" in line]
    assert len(pictures) == 3 * 8 + 3 * 2
    assert all((picture == pictures[0]).all() for picture in pictures)


def test_weights_are_checked_and_normalised(diffens, tiny, parents, tmp_path):
    ensemble, _ = tiny
    common = ["blend", "--ensemble", ensemble, "--images", parents]
    result = diffens(*common, "--weights", "0.5,0.5", "--out", tmp_path / "a", status=2)
    assert "2" in result.stderr and "3" in result.stderr
    result = diffens(*common, "--weights", "1,1,0", "--out", tmp_path / "b")
    assert "sum" in result.stderr
    result = diffens(*common, "--weights", "1,1,0", "--normalize", "--out", tmp_path / "c")
    halves = diffens(*common, "--weights", "0.5,0.5,0", "--out", tmp_path / "d")
    for ours, theirs in zip(result.stdout.splitlines(), halves.stdout.splitlines()):
        assert (pixels(ours) == pixels(theirs)).all()


def test_same_command_same_bytes(diffens, tiny, tmp_path):
    ensemble, _ = tiny
    for name in "12":
        diffens("blend", "--ensemble", ensemble, "--prompt", "a cat", "--steps", 3, "--gamma",
                "0:1:3", "--layer", "all", "--size", "64x64", "--out", tmp_path / name)
    first = sorted(p.relative_to(tmp_path / "1") for p in (tmp_path / "1").rglob("*.*")
                   if p.suffix in (".png", ".npy"))
    assert len(first) == 1 + 2 + 9 + 1
    for name in first:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_batch_and_order_change_no_parent(diffens, tiny, tmp_path):
    ensemble, _ = tiny
    prompts = tmp_path / "p.json"
    prompts.write_text(json.dumps(["a cat", "a hill", "", "the sea", "cat cat"]))

    def generate(name, *arguments):
        diffens("generate", "--ensemble", ensemble, "--prompts", prompts, "--steps", 4,
                "--size", "64x64", "--out", tmp_path / name, *arguments)
        return numpy.load(tmp_path / name / "images.npy", mmap_mode="r").astype(int)

    alone = generate("alone", "--batch", 1)
    assert alone.shape == (5, 3, 64, 64, 3)
    assert numpy.abs(generate("together", "--batch", 8) - alone).max() <= 1
    reverse = generate("reverse", "--batch", 1, "--models", "c,b,a")
    assert (reverse[:, ::-1] == alone).all()


def test_noise_is_shared_or_independent(diffens, tiny, tmp_path):
    """The same model twice draws the same only where it starts from the same noise."""
    ensemble = json.loads(tiny[0].read_text())
    folder = str(tiny[0].parent / "a")
    ensemble["diffusers"] = [{"name": n, "path": folder, "prompt": "{}"} for n in ("x", "y")]
    ensemble["pair"] = ["x", "y"]
    ensemble["vqgan"]["path"] = str(tiny[0].parent / "vqgan/model.safetensors")
    path = tmp_path / "ensemble.json"
    path.write_text(json.dumps(ensemble))

    def generate(name, *arguments):
        diffens("generate", "--ensemble", path, "--prompt", "a cat", "--steps", 2, "--size",
                "64x64", "--batch", 1, "--out", tmp_path / name, *arguments)
        return numpy.load(tmp_path / name / "images.npy")[0]

    shared = generate("shared")
    assert (shared[0] == shared[1]).all()
    apart = generate("independent", "--noise", "independent")
    assert (apart[0] == shared[0]).all() and (apart[1] != shared[1]).any()
    assert (apart[1] == generate("seed", "--random-seed", 42 + 1000003)[0]).all()
