"""One bad element in a network: caught, made again in fp32 where that helps, and never a
picture where it does not."""

import json
import shutil

import numpy
import pytest
from safetensors.numpy import load_file, save_file

TOO_LARGE = 1e6  # for fp16, whose largest number is 65504


@pytest.fixture
def poisoned(tiny, tmp_path):
    """poisoned(file, tensor, index, value): a copy of the ensemble with one bad element."""
    folder = tmp_path / "ensemble"
    shutil.copytree(tiny[0].parent, folder)

    def poison(file, name, index, value):
        tensors = load_file(folder / file)
        tensors[name] = tensors[name].copy()
        tensors[name][index] = value
        save_file(tensors, folder / file, metadata={"format": "pt"})
        return folder / "ensemble.json"
    return poison


@pytest.fixture
def draw(diffens, tmp_path):
    """Two cases, of which one says "cat"; returns the result and the tensor."""
    prompts = tmp_path / "p.json"
    prompts.write_text(json.dumps(["a cat", "a hill"]))

    def run(out, ensemble, dtype, status=0, models="a"):
        result = diffens("generate", "--ensemble", ensemble, "--prompts", prompts, "--models",
                         models, "--steps", 2, "--size", "64x64", "--dtype", dtype, "--out",
                         tmp_path / out, "-v", status=status)
        return result, numpy.load(tmp_path / out / "images.npy").astype(int)
    return run


def test_one_case_overflows_in_fp16(poisoned, draw, tmp_path):
    """Only the case with the bad token is drawn again, and then as in fp32."""
    vocabulary = json.loads((tmp_path / "ensemble/a/tokenizer/vocab.json").read_text())
    ensemble = poisoned("a/text_encoder/model.safetensors",
                        "embeddings.token_embedding.weight", (vocabulary["cat</w>"], 0),
                        TOO_LARGE)
    result, short = draw("fp16", ensemble, "fp16")
    assert "1 of 2 pictures not finite in fp16: drawn again in fp32" in result.stderr
    result, full = draw("fp32", ensemble, "fp32")
    assert "not finite" not in result.stderr
    assert numpy.abs(short[0] - full[0]).max() <= 1
    assert 0 < numpy.abs(short[1] - full[1]).mean() < 8


def test_the_vae_overflows_in_fp16(poisoned, draw, tmp_path):
    config = tmp_path / "ensemble/a/vae/config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"force_upcast": False}))
    ensemble = poisoned("a/vae/diffusion_pytorch_model.safetensors", "decoder.conv_in.bias",
                        0, TOO_LARGE)
    result, short = draw("fp16", ensemble, "fp16")
    assert result.stderr.count("the VAE overflowed: decoded in fp32") == 2
    assert numpy.abs(short - draw("fp32", ensemble, "fp32")[1]).mean() < 8


@pytest.mark.parametrize("file, name", [
    ("a/unet/diffusion_pytorch_model.safetensors", "conv_in.bias"),
    ("a/vae/diffusion_pytorch_model.safetensors", "decoder.conv_in.bias"),
    ("a/text_encoder/model.safetensors", "final_layer_norm.bias")])
def test_what_stays_broken_is_left_out(poisoned, draw, record, tmp_path, file, name):
    ensemble = poisoned(file, name, 0, numpy.nan)
    result, _ = draw("run", ensemble, "fp32", status=6, models="a,b")
    assert "000_a.png" in result.stderr and "2 of 4" in result.stderr
    states = {cell["file"]: cell["state"] for cell in record(tmp_path / "run")["cells"]}
    assert states == {"images/000_a.png": "nonfinite", "images/001_a.png": "nonfinite",
                      "images/000_b.png": "done", "images/001_b.png": "done"}
    assert not (tmp_path / "run/images/000_a.png").exists()
    assert record(tmp_path / "run")["state"] == "failed"


@pytest.mark.parametrize("value, status", [(TOO_LARGE, 0), (numpy.nan, 6)])
def test_the_vqgan_breaks(diffens, poisoned, tmp_path, value, status):
    ensemble = poisoned("vqgan/model.safetensors", "decoder.conv_in.bias", 0, value)
    numpy.save(tmp_path / "parents.npy",
               numpy.random.default_rng(1).integers(0, 256, (1, 2, 64, 64, 3), numpy.uint8))

    def blend(dtype):
        return diffens("blend", "--ensemble", ensemble, "--images", tmp_path / "parents.npy",
                       "--gamma", "0.5", "--dtype", dtype, "--out", tmp_path / dtype,
                       status=status)
    assert "1 of 1 mixtures not finite in fp16: made again in fp32" in blend("fp16").stderr
    blend("fp32")
    pictures = [tmp_path / dtype / "blend/000_postquant_g0.5.png" for dtype in ("fp16", "fp32")]
    assert [p.exists() for p in pictures] == [status == 0] * 2
