"""Writes the seeds of the fuzz targets: tests/fuzz/corpus/TARGET/seed-NAME, small files of
every kind that the parsers know. What fuzzing found lies beside them and is left alone.

    .venv/bin/python tests/fuzz/make_corpus.py
"""

import io
import json
import pathlib
import pickle
import struct
import sys

import numpy as np
import torch
from PIL import Image, PngImagePlugin

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent / "unit"))
import torch_files as f  # noqa: E402

DEMO = ROOT / "models/demo"


def save(target, name, data):
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"seed-{name}").write_bytes(data.encode() if isinstance(data, str) else data)


def entry(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def safetensors():
    headers = {
        "two": {"a.b": entry("F32", [2, 4], 0, 32), "c": entry("U8", [32], 32, 64)},
        "metadata": {"__metadata__": {"format": "pt", "k": "v\u00e9"},
                     "x": entry("BF16", [4, 8], 0, 64)},
        "empty": {"s": entry("I64", [], 0, 8), "z": entry("F16", [0, 3], 8, 8),
                  "t": entry("F64", [7], 8, 64)}}
    for name, header in headers.items():
        text = json.dumps(header)
        save("safetensors", name, text)
        save("tensors", "safetensors-" + name,
             struct.pack("<Q", len(text)) + text.encode() + bytes(64))


def torch_files():
    state = {"a": torch.arange(6.0).reshape(2, 3), "b.c": torch.ones(2, dtype=torch.half)}
    state["t"] = state["a"].T
    for zipped in (True, False):
        for protocol in (2, 4):
            stream = io.BytesIO()
            torch.save({"state_dict": state, "epoch": 3}, stream, pickle_protocol=protocol,
                       _use_new_zipfile_serialization=zipped)
            save("tensors", f"{'zip' if zipped else 'legacy'}-{protocol}", stream.getvalue())
    value = f.dict_of(a=f.tensor(), b=f.tensor((2, 2), (2, 1), 4))
    save("tensors", "legacy-by-hand", f.legacy(value))
    save("tensors", "zip-by-hand", f.checkpoint(value))
    save("zip", "checkpoint", f.checkpoint(value))
    save("zip", "zip32", f.checkpoint(value, zip64=False))
    save("zip", "empty", f.archive([]))
    save("pickle", "tensors", f.program(value))
    save("pickle", "nested", f.program(f.dict_of(state_dict=value, epoch=f.integer(3))))
    save("pickle", "v3", f.program(f.dict_of(a=f.tensor(
        (4, 6), (6, 1), function="_rebuild_tensor_v3", more=b"ctorch\nfloat16\n",
        of=f.storage(elements=48, kind="torch.storage\nUntypedStorage")))))
    save("pickle", "global", f.program(f.dict_of(a=f.tensor(), b=f.called(
        "os", "system", f.text("true")))))
    for protocol in (2, 3, 4, 5):
        plain = {"a": [1, 2.5, None, True, "text", b"bytes", (1,), 1 << 70], 3: {"x": set()}}
        save("pickle", f"plain-{protocol}", pickle.dumps(plain, protocol))


def texts():
    save("shards", "two", json.dumps({"metadata": {"total_size": 8}, "weight_map": {
        "a": "a.safetensors", "b": "b.safetensors"}}))
    save("json", "all", '{"a": [1, -2.5e-3, true, false, null, "\\u00e9\\ud83d\\ude00\\n"], '
         '"b": {"c": {}}, "": []}')
    save("json", "string", '"x"')
    save("json", "bom", "\ufeff[1]")
    forms = {"string": '"a cat"', "array": '["a cat", "a dog"]',
             "rows": '[["a", "b", "c"], ["d", "e", "f"]]',
             "object": json.dumps({"prompts": ["a", "b"], "negative": ["x", "y"],
                                   "names": ["one", "two"], "seeds": [7, None]})}
    for name, text in forms.items():
        save("prompts", name, "j" + text)
    save("prompts", "text", "ta cat\n\nred caf\u00e9\r\na dog")
    vocab = {c: i for i, c in enumerate(["a", "b", "c", "a</w>", "b</w>", "c</w>", "ab",
                                         "ab</w>", "<|startoftext|>", "<|endoftext|>"])}
    for name, special in (("plain", ""), ("special", json.dumps(
            {"bos_token": "<|startoftext|>", "eos_token": {"content": "<|endoftext|>"},
             "unk_token": "<|endoftext|>", "pad_token": "a"}))):
        save("tokenizer", name, "\xff".join([json.dumps(vocab),
             "#version: 0.2\na b\na b</w>\n", "abc <|endoftext|> cab CAB",
                                                  special]).encode("latin-1"))
    whole = {"model": {"type": "BPE", "end_of_word_suffix": "</w>", "vocab": vocab,
                       "merges": [["a", "b"], "a b</w>"]},
             "added_tokens": [{"id": 10, "content": "cat", "normalized": True}]}
    save("tokenizer", "json", "\xff".join(["", json.dumps(whole), "ab a cat", ""])
         .encode("latin-1"))
    cells = [{"case": "000", "model": m, "file": f"images/000_{m}.png", "state": "planned"}
             for m in "ab"]
    run = {"state": "running", "cases": ["000"], "cells": cells, "sums": {},
           "files": ["images.npy", *(cell["file"] for cell in cells)],
           "optimize": [{"case": "000", "best": 3}]}
    lines = [{"cell": 0, "sha256": "0" * 64, "pixels_sha256": "a" * 64, "seconds": 1.5},
             {"file": "images.npy", "sha256": "1" * 64}, {"outcome": {"x": 1}, "case": 0},
             {"weights": 0, "file": 0, "sha256": "2" * 64}]
    journal = "".join(json.dumps(line) + "\n" for line in lines)
    save("record", "run", f"{json.dumps(run)}\xff{journal}".encode("latin-1"))
    save("record", "torn", f"{json.dumps(run)}\xff{journal[:-30]}".encode("latin-1"))
    hashes = {"images/000_a.png": ["0" * 64, 1, 2, -3, 2**64 - 1],
              "figure.png": ["1" * 64, 2**63, 0, 5, 0]}
    for name, index in {"hashes": {"format": 1, "files": hashes},
                        "hashes-cut": {"format": 1, "files": {"a": ["1", 1, 2, 3, 4]}},
                        "hashes-newer": {"format": 2, "files": {}}}.items():
        save("record", name, f"{json.dumps(run)}\xff\xff{json.dumps(index)}".encode("latin-1"))
    save("command_line", "blend", "blend\n--prompt\na cat\n--gamma\n0:1:5\n--layer=all")
    save("command_line", "optimize", "optimize\n--seed\nnoise\n--epochs\n20\n--crops\n"
         "1x1,8x0.25\n--weights\n0.5,0.5\n--lr=1e-2")
    save("command_line", "generate", "generate\n--prompts\np.json\n--size\n64x128\n"
         "--models\na,b\n--batch\nauto\n--time-limit\n3600\n--random-seed\n7\n-q")
    save("command_line", "help", "help\nprompts")
    save("command_line", "config", "blend\n--config\n/nonexistent\n--prompt=x")


def configs():
    files = {"t": "text_encoder", "u": "unet", "v": "vae"}
    diffuser = next(p.parent for p in sorted(DEMO.glob("*/model_index.json")))
    for letter, part in files.items():
        save("configs", part, letter + (diffuser / part / "config.json").read_text())
    save("configs", "clip", "c" + (DEMO / "clip/config.json").read_text())
    save("configs", "normalisation",
         "n" + json.dumps({"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.2, 0.2]}))
    save("configs", "ensemble", "e" + (DEMO / "ensemble.json").read_text())


def pictures():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (6, 5, 4), dtype=np.uint8)
    modes = {"rgb": Image.fromarray(pixels[..., :3]), "rgba": Image.fromarray(pixels),
             "grey": Image.fromarray(pixels[..., 0]),
             "palette": Image.fromarray(pixels[..., :3]).quantize(7),
             "bits": Image.fromarray(pixels[..., 0]).convert("1"),
             "16": Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)}
    info = PngImagePlugin.PngInfo()
    info.add_text("diffens", '{"a": 1}')
    info.add_itxt("parameters", "caf\u00e9 \u2603")
    for name, picture in modes.items():
        stream = io.BytesIO()
        picture.save(stream, "PNG", pnginfo=info)
        save("image", "png-" + name, stream.getvalue())
    for name, settings in {"jpeg": {}, "jpeg-progressive": {"progressive": True}}.items():
        stream = io.BytesIO()
        modes["rgb"].save(stream, "JPEG", quality=50, **settings)
        save("image", name, stream.getvalue())
    stream = io.BytesIO()
    np.save(stream, rng.integers(0, 256, (2, 2, 2, 3, 3), dtype=np.uint8))
    save("npy", "image-tensor", stream.getvalue())
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.zeros((1, 1, 1, 2, 3), np.uint8), version=(2, 0))
    save("npy", "version-2", stream.getvalue())


for make in (safetensors, torch_files, texts, configs, pictures):
    make()
