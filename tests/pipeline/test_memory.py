"""Host memory: one diffuser at a time, no growth with the number of cases, and little for a
file that is refused."""

import json
import os
import struct

import places
import pytest
import torch_files as f
from diffusers import UNet2DConditionModel

from ensembles import save_diffuser

MB = 1 << 20
ENTRY = b'"%d":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1],"data_offsets":[%d,%d]},'
BAD_LAST = {  # much that is right, and something wrong at the end
    "safetensors": lambda n: b"{" + b"".join(ENTRY % (i, 4 * i, 4 * i + 4) for i in range(n))
    + b'"x":5}',
    "numbers of a pickle": lambda n: b"]" + (b"(" + b"K\1" * 50 * n + b"e") + b"R.",
    "dictionaries of a pickle": lambda n: b"](" + b"}" * n + b"eR.",
    "memo of a pickle": lambda n: b"".join(b"}r%s0" % struct.pack("<I", i)
                                           for i in range(5 * n)) + b"R.",
    "arrays of prompts": lambda n: b"[" + b"[]," * 20 * n + b"1]",
    "depth of prompts": lambda n: b"[" * 80 * n,
}
HOSTILE_PICTURES = {  # a few bytes that ask for much, and many that are nothing
    "PNG of too many pixels": places.png(16384, 16384, data=b""),
    "PNG of pixels that are not there": places.png(8192, 8192, depth=16, color=6, data=b""),
    "PNG that unpacks to more": places.png(data=bytes(1 << 28)),
    "PNG that unpacks to less": places.png(8192, 8192, data=bytes(150 << 20)),
    "interlaced PNG": places.png(8192, 8192, data=bytes(150 << 20), header=b"\0\0\1"),
    "JPEG of too many pixels": places.saved(sides=(65500, 65500)),
    "JPEG of pixels that are not there": places.saved(sides=(8192, 8192)),
    "progressive JPEG": places.saved(sides=(8192, 8192), progressive=True),
    "a large file": (b"GIF89a", 250 * MB),
    "a large PNG": (places.png(16384, 16384)[:33], 250 * MB),
    "a larger PNG": (places.png()[:33], 300 * MB),
}


def test_three_diffusers_need_no_more_than_one(diffens, tmp_path):
    """With weights of some 100 MB each, so that a second one in memory would show."""
    for seed, name in enumerate("abc"):
        save_diffuser(tmp_path / name, seed=seed)
        unet = UNet2DConditionModel(
            layers_per_block=1, block_out_channels=[256, 512, 512], cross_attention_dim=32,
            norm_num_groups=8, sample_size=16,
            down_block_types=["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
            up_block_types=["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"])
        unet.save_pretrained(tmp_path / name / "unet")
        weights = tmp_path / name / "unet/diffusion_pytorch_model.safetensors"
        assert weights.stat().st_size > 100 * MB
    (tmp_path / "ensemble.json").write_text(json.dumps({
        "name": "large", "diffusers": [{"name": n, "path": n, "prompt": "{}"} for n in "abc"],
        "vqgan": {"path": "none.safetensors", "size": [64, 64]}}))

    def peak(models):
        return diffens("generate", "--ensemble", tmp_path / "ensemble.json", "--models",
                       models, "--prompt", "x", "--steps", 1, "--size", "64x64", "--out",
                       tmp_path / f"run-{models}").peak
    one, three = peak("a"), peak("a,b,c")
    print(f"one diffuser {one / MB:.0f} MB, three {three / MB:.0f} MB")
    assert three <= 1.05 * one


def test_memory_does_not_grow_with_cases(diffens, tiny, tmp_path):
    def peak(cases):
        (tmp_path / "p.json").write_text(json.dumps(["a cat"] * cases))
        return diffens("blend", "--ensemble", tiny[0], "--prompts", tmp_path / "p.json",
                       "--steps", 1, "--size", "64x64", "--gamma", "0.5", "--out",
                       tmp_path / f"run-{cases}").peak
    few, many = peak(2), peak(64)
    print(f"2 cases {few / MB:.0f} MB, 64 cases {many / MB:.0f} MB")
    assert abs(many - few) <= 20 * MB


@pytest.mark.parametrize("kind", HOSTILE_PICTURES)
def test_refusing_a_picture_takes_little_memory(diffens, tiny, tmp_path, kind):
    """At most 64 MiB more than a file that is empty."""
    def peak(name, data, size):
        file = tmp_path / name
        file.parent.mkdir(parents=True)
        file.write_bytes(data)
        os.truncate(file, size)
        return diffens("blend", "--ensemble", tiny[0], "--out", tmp_path / "out", "--images",
                       file.parents[1], status=3).peak
    data = HOSTILE_PICTURES[kind]
    data, size = data if isinstance(data, tuple) else (data, len(data))
    empty, hostile = peak("1/a/x.png", b"", 0), peak("2/a/x.png", data, size)
    print(f"{kind}: {(hostile - empty) / MB:.0f} MB more for {len(data)} bytes")
    assert hostile - empty <= 64 * MB


@pytest.mark.parametrize("kind", BAD_LAST)
def test_refusing_a_file_takes_little_memory(diffens, tiny, tmp_path, kind):
    """At most 64 MiB and four times the metadata more than a tiny file of that kind."""
    def peak(count):
        data, file = BAD_LAST[kind](count), tmp_path / f"{count}.json"
        if kind == "safetensors":
            file.write_bytes(struct.pack("<Q", len(data)) + data)
        elif "pickle" in kind:
            file.write_bytes(f.archive([("a/data.pkl", b"\x80\x02" + data)]))
        else:
            file.write_bytes(data)
        command = (["generate", "--ensemble", tiny[0], "--out", tmp_path / "out", "--prompts"]
                   if "prompts" in kind else ["models", "check"])
        return diffens(*command, file, status=3).peak, len(data)
    few, many = peak(1), peak(90000)
    print(f"{kind}: {(many[0] - few[0]) / MB:.0f} MB more for {many[1] / MB:.1f} MB")
    assert many[0] - few[0] <= 64 * MB + 4 * many[1]
