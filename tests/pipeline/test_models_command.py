"""`diffens models` and `diffens doctor`: what they find, say and answer to scripts."""

import hashlib
import json
import os
import shutil
import subprocess

import pytest
import torch
from safetensors.torch import load_file, save_file

UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def whole(critical, tmp_path_factory):
    """A complete ensemble under the name "whole", in a models folder of its own."""
    models = tmp_path_factory.mktemp("models")
    shutil.copytree(critical.parent, models / "whole")
    text = (models / "whole/ensemble.json").read_text()
    (models / "whole/ensemble.json").write_text(text.replace('"tiny"', '"whole"'))
    return models / "whole"


@pytest.fixture
def copy(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "models/whole")
    return tmp_path / "models/whole"


@pytest.fixture
def run(build, tmp_path):
    """run(models, ...): the program with that models folder, away from the real ones."""
    def call(models, *arguments, status=0, **environment):
        result = subprocess.run([build / "diffens", *map(str, arguments)], text=True,
                                capture_output=True, stdin=subprocess.DEVNULL, timeout=120,
                                env={**os.environ, "DIFFENS_MODELS": str(models),
                                     **environment})
        assert result.returncode == status, result.stdout + result.stderr
        errors = [l for l in result.stderr.splitlines() if l.startswith("diffens: error: ")]
        assert len(errors) == (1 if status else 0)
        return result
    return call


def parsed(result):
    return json.loads(result.stdout)


def edit(path, change):
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def test_list(run, whole):
    text = run(whole.parent, "models", "list").stdout
    row = next(line for line in text.splitlines() if line.startswith("whole"))
    assert " complete " in row and str(whole) in row
    found = parsed(run(whole.parent, "models", "list", "--json"))["ensembles"]
    entry = next(e for e in found if e["name"] == "whole")
    files = {p.stat().st_ino: p.stat().st_size for p in whole.rglob("*")
             if p.is_file() and p != whole / "ensemble.json"
             and p != whole / "vqgan/config.json"}  # the ensemble names the file alone
    assert entry["complete"] and entry["bytes"] == sum(files.values())
    assert {m["role"] for m in entry["models"]} == {"diffuser", "vqgan", "clip",
                                                    "perceptual"}


def test_list_says_what_is_missing(run, copy):
    shutil.rmtree(copy / "a")
    (copy.parent / "odd").mkdir()
    (copy.parent / "odd/ensemble.json").write_text("{")
    text = run(copy.parent, "models", "list").stdout
    assert "incomplete" in text and "unreadable" in text
    assert f"whole: {copy / 'a'}: No such file" in text
    found = parsed(run(copy.parent, "models", "list", "--json"))["ensembles"]
    assert [e["complete"] for e in found if e["path"].startswith(str(copy.parent))] == [
        False, False]


def test_show(run, whole):
    text = run(whole.parent, "models", "show", "whole").stdout
    assert "UNet2DConditionModel" in text and "pair: a, b" in text and "f8" in text
    shown = parsed(run(whole.parent, "models", "show", "whole", "--json"))
    unet = shown["models"][0]["networks"][1]
    count = sum(t.numel() for t in load_file(whole / "a" / UNET).values())
    assert unet["parameters"] == count and unet["dtypes"] == "F32"
    assert unet["tensors"] == len(load_file(whole / "a" / UNET))
    assert shown["complete"] and shown["problems"] == []


def test_check_of_what_is_whole(run, whole):
    checked = parsed(run(whole.parent, "models", "check", "whole", "--json"))
    assert checked["complete"] and checked["checksums"] == 0
    assert all(n["nonfinite"] == 0 for m in checked["models"] for n in m["networks"])
    assert "all weights finite" in run(whole.parent, "models", "check", "whole").stdout


def test_check_of_demo(run, whole):
    assert "all weights finite" in run(whole.parent, "models", "check", "demo").stdout


def test_every_tensor_that_does_not_fit_is_named(run, copy):
    def spoil(tensors):
        for name in [n for n in tensors if n.startswith("mid_block")]:
            del tensors[name]
        tensors["conv_in.bias"] = tensors["conv_in.bias"][:7].clone()
        tensors["extra"] = torch.zeros(1)
    names = [n for n in load_file(copy / "a" / UNET) if n.startswith("mid_block")]
    edit(copy / "a" / UNET, spoil)
    problems = parsed(run(copy.parent, "models", "check", "whole", "--json",
                          status=3))["problems"]
    assert len(names) > 5
    for name in names:
        assert len([p for p in problems if f"{name}: found nothing" in p]) >= 1, name
    assert any("conv_in.bias: found [7], expected [32]" in p for p in problems)
    assert any(f"{len(names)} tensors missing and 1 of another shape or type" in p
               for p in problems)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_numbers_that_are_not_finite_are_counted(run, copy, dtype):
    def spoil(tensors):
        for name in tensors:
            tensors[name] = tensors[name].to(dtype)
        weight = tensors["conv_in.weight"].view(-1)
        weight[3], weight[5], weight[6] = float("nan"), float("inf"), -float("inf")
    edit(copy / "b" / UNET, spoil)
    result = run(copy.parent, "models", "check", "whole", status=3)
    assert f"{UNET}: conv_in.weight: 1 NaN and 2 infinite of" in result.stdout
    assert "not finite" in result.stdout


def test_checksums(run, copy):
    files = [p for p in copy.rglob("*") if p.is_file() and p.suffix == ".safetensors"]
    lines = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(copy)}\n"
             for p in files]
    (copy / "SHA256SUMS").write_text("".join(lines), newline="\r\n")
    text = run(copy.parent, "models", "check", "whole").stdout
    assert f"{len(files)} of {len(files)} files agree" in text
    with open(copy / "a" / UNET, "r+b") as file:
        file.seek(-5, os.SEEK_END)
        byte = file.read(1)
        file.seek(-5, os.SEEK_END)
        file.write(bytes([byte[0] ^ 1]))
    text = run(copy.parent, "models", "check", "whole", status=3).stdout
    assert f"{UNET}: found SHA-256" in text and "expected " in text
    (copy / "SHA256SUMS").write_text("0" * 64 + "  ../../secret\n")
    assert "expected a digest and a file below" in run(
        copy.parent, "models", "check", "whole", status=3).stdout


def test_folders_that_link_to_themselves_are_counted_once(run, copy):
    size = parsed(run(copy.parent, "models", "check", copy / "a", "--json"))["bytes"]
    for i in range(9):
        (copy / "a/unet" / f"again{i}").symlink_to(".")
    assert parsed(run(copy.parent, "models", "check", copy / "a", "--json"))["bytes"] == size


def test_check_of_paths(run, whole):
    models = whole.parent
    for path, words in ((whole / "a", "UNet2DConditionModel"),
                        (whole / "clip", "CLIPVisionModelWithProjection"),
                        (whole / "lpips", "LPIPS"), (whole, "whole: "),
                        (whole / "ensemble.json", "whole: "),
                        (whole / "vqgan", "VQModel"),
                        (whole / "vqgan/model.safetensors", "VQModel")):
        assert words in run(models, "models", "check", path).stdout, path
    file = parsed(run(models, "models", "check", whole / "a" / UNET, "--json"))["models"][0]
    assert file["kind"] == "a UNet of diffusers" and file["networks"][0]["nonfinite"] == 0


def test_check_of_a_pytorch_file(run, whole, tmp_path):
    tensors = {"features.0.weight": torch.ones(64, 3, 3, 3),
               "odd": torch.full((8, 6), float("inf")).t()}
    torch.save(tensors, tmp_path / "vgg.pth")
    result = run(whole.parent, "models", "check", tmp_path / "vgg.pth", status=3)
    assert "odd: 0 NaN and 48 infinite of 48 weights" in result.stdout


@pytest.mark.parametrize("arguments, status, words", [
    (["list", "whole"], 2, "expected list"), (["check"], 2, "expected list"),
    (["chekc", "whole"], 2, "chekc"), ([], 2, "found nothing behind it"),
    (["show", "nobody"], 3, "nobody"), (["check", "/nonexistent/model"], 3, "nonexistent"),
    (["check", "/"], 3, "expected an ensemble or a model"),
    (["check", "/dev/null"], 3, "/dev/null: found a device, expected a regular file"), (["check", "a", "b"], 2, "as well")])
def test_refusals(run, whole, arguments, status, words):
    result = run(whole.parent, "models", *arguments, status=status)
    assert words in result.stderr


def test_doctor(run, whole):
    text = run(whole.parent, "doctor").stdout
    assert "libtorch" in text and "cpu: " in text and "whole: complete" in text
    found = parsed(run(whole.parent, "doctor", "--json", LC_ALL="de_DE.UTF-8"))
    assert found["ready"] and found["devices"][0]["name"] == "cpu"
    assert found["devices"][0]["memory_total"] > 0 and found["disk_free"] > 0
    assert found["locale"] == "de_DE.UTF-8" and found["processors"] >= 1
    if found["accelerators"] == 0:
        assert "everything runs" in text


def test_doctor_without_an_ensemble(build, tmp_path):
    """A program that lies where no models are."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/diffens"
    shutil.copy(build / "diffens", program)
    empty = {k: v for k, v in os.environ.items() if not k.startswith("DIFFENS_")}
    result = subprocess.run([program, "doctor"], text=True, capture_output=True, env=empty)
    assert result.returncode == 3 and "no complete ensemble" in result.stderr
    assert "set DIFFENS_MODELS" in result.stdout
