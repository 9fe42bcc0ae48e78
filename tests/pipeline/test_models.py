"""Model directories that are broken: refused before anything is drawn, by file and field."""

import json
import shutil
import struct

import pytest
from safetensors.torch import load_file, save_file

UNET = "unet/diffusion_pytorch_model.safetensors"


def edit_json(name, **changes):
    """Sets fields of a JSON file; None removes one."""
    def edit(folder):
        path = folder / name
        fields = json.loads(path.read_text())
        for key, value in changes.items():
            fields.pop(key, None)
            if value is not None:
                fields[key] = value
        path.write_text(json.dumps(fields))
    return edit


def edit_weights(name, change):
    def edit(folder):
        tensors = load_file(folder / name)
        change(tensors)
        save_file(tensors, folder / name)
    return edit


def write(name, data):
    return lambda folder: (folder / name).write_bytes(data)


def cut(name, size):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-size])


CASES = {
    "no directory": (shutil.rmtree, ["No such file"]),
    "no index": (lambda f: (f / "model_index.json").unlink(), ["model_index.json"]),
    "class of the pipeline": (edit_json("model_index.json", _class_name="FluxPipeline"),
                              ["$._class_name", "FluxPipeline", "StableDiffusionPipeline"]),
    "class of a part": (edit_json("model_index.json", unet=["diffusers", "DiTModel"]),
                        ["$.unet[1]", "DiTModel", "UNet2DConditionModel"]),
    "no folder": (lambda f: shutil.rmtree(f / "vae"), ["vae"]),
    "missing field": (edit_json("unet/config.json", block_out_channels=None),
                      ["unet/config.json", "block_out_channels"]),
    "type of an element": (edit_json("unet/config.json", block_out_channels=[32, "64", 64]),
                           ["unet/config.json", "$.block_out_channels[1]", '"64"']),
    "too few": (edit_json("unet/config.json", down_block_types=["DownBlock2D"]),
                ["$.down_block_types", "3"]),
    "block type": (edit_json("unet/config.json", mid_block_type="UNetMidBlock2DSimpleCrossAttn"),
                   ["$.mid_block_type", "UNetMidBlock2DCrossAttn"]),
    "unsupported setting": (edit_json("unet/config.json", class_embed_type="timestep"),
                            ["$.class_embed_type", "timestep"]),
    "groups": (edit_json("vae/config.json", norm_num_groups=5), ["norm_num_groups", "5"]),
    "activation": (edit_json("text_encoder/config.json", hidden_act="relu"),
                   ["$.hidden_act", "relu", "quick_gelu"]),
    "scheduler": (edit_json("scheduler/scheduler_config.json", _class_name="Karras"),
                  ["scheduler_config.json", "Karras"]),
    "prediction": (edit_json("scheduler/scheduler_config.json", prediction_type="flow"),
                   ["$.prediction_type", "flow", "epsilon"]),
    "weights of another model": (edit_json("unet/config.json",
                                           block_out_channels=[32, 64, 96]),
                                 [UNET, "missing", "of another shape", "found [",
                                  "expected ["]),
    "missing tensor": (edit_weights(UNET, lambda t: t.pop("conv_in.weight")),
                       [UNET, "1 tensors missing", "conv_in.weight: found nothing"]),
    "shape of a tensor": (
        edit_weights(UNET, lambda t: t.update({"conv_in.bias": t["conv_in.bias"][:7].clone()})),
        ["conv_in.bias: found [7], expected [32]"]),
    "pointer file": (write(UNET, b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
                     [UNET, "LFS"]),
    "web page": (write(UNET, b"<!DOCTYPE html><html>not found</html>"), [UNET]),
    "empty file": (write(UNET, b""), [UNET]),
    "incomplete download": (cut(UNET, 1000), [UNET, "1000 bytes short"]),
    "no weights": (lambda f: (f / UNET).unlink(), ["unet", "diffusion_pytorch_model"]),
    "vocabulary": (edit_json("text_encoder/config.json", vocab_size=600),
                   ["vocab", "600", "516"]),
    "widths": (edit_json("unet/config.json", cross_attention_dim=48),
               ["cross_attention_dim", "48", "32"]),
    "inpainting": (edit_json("unet/config.json", in_channels=9), ["in_channels", "9"]),
    "control characters": (edit_json("model_index.json", _class_name="a\x1b[31mb\n"),
                           ["\\x1B[31mb"]),
}


@pytest.mark.parametrize("name", CASES)
def test_a_broken_model_is_refused(diffens, tiny, tmp_path, name):
    spoil, words = CASES[name]
    shutil.copytree(tiny[0].parent / "a", tmp_path / "model")
    spoil(tmp_path / "model")
    result = diffens("generate", "--ensemble", tiny[0], "--models", f"b,{tmp_path}/model",
                     "--prompt", "a cat", "--out", tmp_path / "run", status=3)
    errors = result.stderr.splitlines()
    assert sum("diffens: error: " in line for line in errors) == 1
    line = next(line for line in errors if "diffens: error: " in line)
    assert all(word in line for word in words), line
    assert result.stdout == "" and not (tmp_path / "run").exists()


def test_unused_tensors_are_counted_or_refused(diffens, tiny, tmp_path):
    shutil.copytree(tiny[0].parent / "a", tmp_path / "model")
    edit_weights(UNET, lambda t: t.update({"extra": t["conv_in.bias"].clone()}))(
        tmp_path / "model")
    def generate(model, out, *more, **expected):
        return diffens("generate", "--ensemble", tiny[0], "--models", model, "--prompt",
                       "a cat", "--steps", 1, "--size", "64x64", "--out", tmp_path / out,
                       *more, **expected)
    result = generate(tmp_path / "model", "run")
    assert "warning: " in result.stderr
    assert "1 tensors are not used; extra is the first" in result.stderr
    refused = generate(tmp_path / "model", "strict", "--strict", status=3)
    assert f"{UNET}: found 1 tensors that the architecture has no use for" in refused.stderr
    assert "not used" not in generate("a", "other", "--strict").stderr


def test_blanks_in_front_of_a_header_are_noted(diffens, tiny, tmp_path):
    shutil.copytree(tiny[0].parent / "a", tmp_path / "model")
    data = (tmp_path / "model" / UNET).read_bytes()
    (tmp_path / "model" / UNET).write_bytes(
        struct.pack("<Q", struct.unpack("<Q", data[:8])[0] + 2) + b" \n" + data[8:])
    plan = diffens("generate", "--ensemble", tiny[0], "--models", tmp_path / "model", "--prompt",
                   "", "--out", tmp_path / "run", "--dry-run")
    assert f"{UNET}: the header begins with blanks" in plan.stderr
    assert "prompt of case 000, model 0 is empty: drawn without a prompt" in plan.stderr


def test_safetensors_come_first_and_it_is_said(diffens, tiny, tmp_path):
    shutil.copytree(tiny[0].parent / "a", tmp_path / "model")
    (tmp_path / "model/unet/diffusion_pytorch_model.bin").write_bytes(b"not looked at")
    plan = diffens("generate", "--ensemble", tiny[0], "--models", tmp_path / "model", "--prompt",
                   "a cat", "--out", tmp_path / "run", "--dry-run", "-v")
    assert f"weights: {tmp_path}/model/{UNET}" in plan.stderr and ".bin" not in plan.stderr


@pytest.mark.parametrize("prefix", ["", "text_model."])
def test_text_encoders_with_and_without_prefix(diffens, tiny, tmp_path, prefix):
    """transformers has saved both; the picture is the same."""
    shutil.copytree(tiny[0].parent / "a", tmp_path / "model")

    def rename(tensors):
        for name in list(tensors):
            tensors[prefix + name.removeprefix("text_model.")] = tensors.pop(name)
    edit_weights("text_encoder/model.safetensors", rename)(tmp_path / "model")
    for models, out in (("a", "1"), (tmp_path / "model", "2")):
        diffens("generate", "--ensemble", tiny[0], "--models", models, "--prompt", "a cat",
                "--steps", 1, "--size", "64x64", "--out", tmp_path / out)
    assert ((tmp_path / "1/images.npy").read_bytes() ==
            (tmp_path / "2/images.npy").read_bytes())
