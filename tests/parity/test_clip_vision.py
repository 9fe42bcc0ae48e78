"""The CLIP image encoder against transformers', on the same seeded random weights."""

import json
import subprocess

import pytest
import torch
from safetensors.torch import load_file, save_file

from perceptual_references import build_clip, embed, save_clip

TOLERANCE = 1e-4  # of the largest absolute value, fp32

TINY = {"hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 3,
        "num_attention_heads": 4, "image_size": 32, "patch_size": 8, "projection_dim": 24}
DEMO = {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 4,
        "num_attention_heads": 4, "image_size": 128, "patch_size": 16,
        "projection_dim": 128}
VIT_B32 = {"projection_dim": 512}
VIT_B16 = {"patch_size": 16, "projection_dim": 512}
VIT_L14 = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24,
           "num_attention_heads": 16, "patch_size": 14, "projection_dim": 768}


def run(driver, folder, x):
    save_file({"x": x}, str(folder / "inputs"))
    done = subprocess.run([driver("optimize_driver"), "clip", folder, folder / "inputs",
                           folder / "outputs"], capture_output=True, text=True)
    return done, load_file(str(folder / "outputs")) if done.returncode == 0 else None


def pictures(config, count):
    side = config.get("image_size", 224)
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(22))


def full(id, *values):
    return pytest.param(*values, id=id, marks=pytest.mark.full)


@pytest.mark.parametrize("config, whole, count", [
    pytest.param(TINY, True, 3, id="CLIPModel"),
    pytest.param(TINY, False, 2, id="CLIPVisionModelWithProjection"),
    pytest.param({**TINY, "hidden_act": "gelu", "num_hidden_layers": 1}, False, 1,
                 id="gelu, one layer"),
    pytest.param(DEMO, True, 4, id="as in the demo"),
    full("ViT-B/32", VIT_B32, True, 4),
    full("ViT-B/16", VIT_B16, False, 2),
    full("ViT-L/14", VIT_L14, False, 1),
])
def test_embeddings(driver, observe, tmp_path, request, config, whole, count):
    model = build_clip(config, whole)
    save_clip(tmp_path, model)
    x = pictures(config, count)
    done, ours = run(driver, tmp_path, x)
    assert done.returncode == 0, done.stderr
    with torch.no_grad():
        reference = embed(model, x).double()
    error = ((ours["embeddings"] - reference).abs().max() / reference.abs().max()).item()
    observe("clip_vision", request.node.callspec.id, "embeddings", error, TOLERANCE)
    assert ours["embeddings"].shape == reference.shape
    assert error <= TOLERANCE


def test_normalisation_is_the_preprocessors_else_openais(driver, tmp_path):
    from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD
    model = build_clip(TINY)
    save_clip(tmp_path, model)
    constants = run(driver, tmp_path, pictures(TINY, 1))[1]["normalisation"]
    assert torch.equal(constants, torch.tensor([OPENAI_CLIP_MEAN, OPENAI_CLIP_STD]))
    save_clip(tmp_path, model, [0.5, 0.25, 0.125], [0.5, 0.5, 1.0])
    constants = run(driver, tmp_path, pictures(TINY, 1))[1]["normalisation"]
    assert constants.tolist() == [[0.5, 0.25, 0.125], [0.5, 0.5, 1.0]]


@pytest.mark.parametrize("change, message", [
    ({"model_type": "siglip"}, '$.model_type: found "siglip", expected clip'),
    ({"vision_config": None}, "vision_config"),
    ({"vision_config": {**TINY, "patch_size": 7}},
     "patch_size: found 7, expected a divisor of image_size 32"),
    ({"vision_config": {**TINY, "num_attention_heads": 5}},
     "num_attention_heads: found 5, expected a divisor of hidden_size 48"),
    ({"vision_config": {**TINY, "hidden_act": "relu"}}, 'found "relu", expected quick_gelu'),
    ({"vision_config": {**TINY, "hidden_size": 40}}, "expected [40,3,8,8]"),
    ({"vision_config": {**TINY, "num_channels": 4}}, "num_channels"),
    ({"projection_dim": 25}, "expected [25,48]"),
])
def test_what_does_not_fit_is_refused(driver, tmp_path, change, message):
    save_clip(tmp_path, build_clip(TINY))
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    done, _ = run(driver, tmp_path, pictures(TINY, 1))
    assert done.returncode == 3 and message in done.stderr, done.stderr


@pytest.mark.parametrize("text, message", [
    ('{"image_mean": [0.5, 0.5]}', "$.image_mean"),
    ('{"image_std": [0.5, 0.5, 0]}', "$.image_std[2]"),
    ('{"image_std": [0.5, 0.5', "preprocessor_config.json"),
])
def test_a_broken_preprocessor_is_refused(driver, tmp_path, text, message):
    save_clip(tmp_path, build_clip(TINY))
    (tmp_path / "preprocessor_config.json").write_text(text)
    done, _ = run(driver, tmp_path, pictures(TINY, 1))
    assert done.returncode == 3 and message in done.stderr, done.stderr
