"""VGG16's feature maps and LPIPS against the lpips package, on the same seeded random
weights (perceptual_references.py says how it is imported without torchvision)."""

import subprocess

import pytest
import torch
from safetensors.torch import load_file, save_file

from perceptual_references import NARROW, VGG16, build_lpips, save_perceptual, unit_maps, \
    vgg_state

TOLERANCE = 1e-4  # of the largest absolute value, fp32


def run(driver, folder, a, b):
    save_file({"a": a, "b": b}, str(folder / "inputs"))
    done = subprocess.run([driver("optimize_driver"), "lpips", folder, folder / "inputs",
                           folder / "outputs"], capture_output=True, text=True)
    return done, load_file(str(folder / "outputs")) if done.returncode == 0 else None


def pictures(height, width, others):
    generator = torch.Generator().manual_seed(32)
    return [torch.rand(n, 3, height, width, generator=generator) * 2 - 1 for n in (1, others)]


@pytest.mark.parametrize("widths, height, width, others", [
    pytest.param(NARROW, 32, 32, 3, id="narrow"),
    pytest.param(NARROW, 45, 67, 2, id="narrow, odd sides"),
    pytest.param(NARROW, 16, 16, 1, id="narrow, smallest"),
    pytest.param(VGG16, 256, 256, 2, id="VGG16, 256x256", marks=pytest.mark.full),
    pytest.param(VGG16, 160, 224, 1, id="VGG16, 160x224", marks=pytest.mark.full),
])
def test_maps_and_distances(driver, observe, tmp_path, request, widths, height, width,
                            others):
    model = build_lpips(widths, seed=31)
    save_perceptual(tmp_path, model)
    a, b = pictures(height, width, others)
    done, ours = run(driver, tmp_path, a, b)
    assert done.returncode == 0, done.stderr

    def check(quantity, found, reference):
        reference = reference.double()
        assert found.shape == reference.shape
        error = ((found - reference).abs().max() / reference.abs().max()).item()
        observe("lpips", request.node.callspec.id, quantity, error, TOLERANCE)
        assert error <= TOLERANCE, quantity

    with torch.no_grad():
        maps = unit_maps(model, a)
        for i in range(5):
            check(f"map {i}", ours[f"map/{i}"], maps[i])
        check("lpips", ours["lpips"], model(a.expand_as(b), b).flatten())
        model.lpips = False
        check("l2", ours["l2"], model(a.expand_as(b), b).flatten())


def test_heads_are_optional(driver, tmp_path):
    save_perceptual(tmp_path, build_lpips(NARROW, seed=31), heads=False)
    done, ours = run(driver, tmp_path, *pictures(32, 32, 1))
    assert done.returncode == 0, done.stderr
    assert "l2" in ours and "lpips" not in ours


def edited(name, value):
    def edit(folder):
        path = folder / name
        tensors = load_file(str(path))
        tensors.update(value(tensors))
        save_file({k: v.contiguous() for k, v in tensors.items() if v is not None}, str(path))
    return edit


@pytest.mark.parametrize("edit, message", [
    (edited("vgg16.safetensors", lambda t: {"features.7.weight": None}),
     "features.7.weight: found no such tensor"),
    (edited("vgg16.safetensors", lambda t: {"features.7.weight": t["features.7.weight"][0]}),
     "features.7.weight: found another shape"),
    (edited("vgg16.safetensors", lambda t: {"features.7.bias": t["features.7.bias"][:3]}),
     "features.7.bias: found [3], expected [8]"),
    (edited("lpips.safetensors",
            lambda t: {"lin2.model.1.weight": t["lin2.model.1.weight"][:, :5]}),
     "lin2.model.1.weight: found [1,5,1,1], expected [1,12,1,1]"),
    (edited("lpips.safetensors",
            lambda t: {"lin2.model.1.weight": -t["lin2.model.1.weight"]}),
     "expected no negative weight"),
    (edited("lpips.safetensors",
            lambda t: {"lin2.model.1.weight": t["lin2.model.1.weight"] * float("nan")}),
     "expected no negative weight"),
    (lambda folder: (folder / "lpips.safetensors").write_bytes(b"?"), "lpips.safetensors"),
    (lambda folder: (folder / "vgg16.safetensors").unlink(), "vgg16.safetensors"),
])
def test_what_does_not_fit_is_refused(driver, tmp_path, edit, message):
    save_perceptual(tmp_path, build_lpips(NARROW, seed=31))
    edit(tmp_path)
    done, _ = run(driver, tmp_path, *pictures(32, 32, 1))
    assert done.returncode == 3 and message in done.stderr, done.stderr


def test_a_classifier_in_the_file_is_left_alone(driver, tmp_path):
    model = build_lpips(NARROW, seed=31)
    save_perceptual(tmp_path, model)
    save_file({**vgg_state(model), "classifier.0.weight": torch.zeros(4, 4)},
              str(tmp_path / "vgg16.safetensors"))
    assert run(driver, tmp_path, *pictures(32, 32, 1))[0].returncode == 0
