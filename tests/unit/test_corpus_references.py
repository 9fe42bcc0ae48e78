"""The fuzz corpus and mutations of it through our readers and Python's: what we accept, they
accept with the same names, shapes and bytes.

Runs tests/unit/io_driver, from $DIFFENS_BUILD or build/."""
import io
import pathlib
import pickle
import random
import struct
import zlib

import numpy as np
import pytest
import safetensors.torch
import torch
import torch_files as f
from PIL import Image

from test_io_references import DTYPES, as_we_do, driver, expected_tensors, pytestmark, sha  # noqa: F401

CORPUS = pathlib.Path(__file__).resolve().parents[1] / "fuzz/corpus"
EDGES = [0, 1, 2, 7, 8, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF]


def mutant(rng, data, other):
    """Near `data`: bytes changed, numbers at their edges, pieces moved, lost or taken from
    another file."""
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 8])):
        at, size = rng.randrange(len(data) + 1), rng.choice([1, 1, 2, 4, 8, 16])
        kind = rng.randrange(6)
        if kind == 0:
            data[at:at + 1] = bytes([rng.randrange(256)])
        elif kind == 1:
            data[at:at + 1] = bytes([data[at] ^ 1 << rng.randrange(8)] if at < len(data) else [])
        elif kind == 2:
            size = min(size, 8)
            value = (rng.choice(EDGES) & (1 << 8 * size) - 1).to_bytes(
                size, rng.choice(["little", "big"]))
            data[at:at + size] = value
        elif kind == 3:
            del data[at:at + size]
        elif kind == 4:
            start = rng.randrange(len(data) + 1)
            data[at:at] = data[start:start + size]
        else:
            start = rng.randrange(len(other) + 1)
            data[at:at + size] = other[start:start + size]
    return bytes(data)


def inputs(target, count):
    """Every file of that corpus, and so many mutants."""
    rng = random.Random(target)
    corpus = [path.read_bytes() for path in sorted((CORPUS / target).iterdir())]
    small = [data for data in corpus if len(data) < 20000]
    yield from corpus
    for _ in range(count):
        yield mutant(rng, rng.choice(small), rng.choice(small))


def accepted(tmp_path, mode, files):
    """(path, what we find) of those that we accept."""
    paths = []
    for i, data in enumerate(files):
        paths.append(tmp_path / str(i))
        paths[-1].write_bytes(data)
    for path, found in zip(paths, driver(mode, *paths), strict=True):
        if not (isinstance(found, dict) and isinstance(found.get("error"), str)):
            yield path, found


def test_safetensors(tmp_path):
    files = (struct.pack("<Q", len(header)) + header + bytes(64)
             for header in inputs("safetensors", 1000))
    count = 0
    for path, found in accepted(tmp_path, "tensors", files):
        assert expected_tensors(safetensors.torch.load(path.read_bytes())) == found
        count += 1
    assert count >= 10


def tensors_in(value, name=""):
    """(name, tensor) of all tensors in dictionaries within each other."""
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from tensors_in(inner, str(key))


def same_for_torch(path, found):
    """False where PyTorch refuses the file: unknown globals, archives without a version."""
    try:
        value = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, UnicodeDecodeError):
        return False
    theirs = {}
    for name, tensor in tensors_in(value):
        theirs.setdefault(name, []).append(expected_tensors({"": tensor})[""])
    for name, ours in found.items():
        assert any(ours in some for key, some in theirs.items() if key.endswith(name)), path
    return True


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("target", ["tensors", "pickle"])
def test_torch_files(tmp_path, target):
    def wrapped(code):
        return f.archive([("a/data.pkl", code), ("a/version", b"3\n"), ("a/data/0", f.ZEROS)])
    files = (data if target == "tensors" else wrapped(data) for data in inputs(target, 2000))
    same = [same_for_torch(path, found) for path, found in accepted(tmp_path, "tensors", files)
            if path.read_bytes()[8:9] != b"{"]
    assert sum(same) >= 8


def with_right_sums(png):
    """The chunks' checksums made right, so that what lies behind them is tried."""
    png, at = bytearray(png), 8
    while len(png) - at >= 12:
        size = int.from_bytes(png[at:at + 4], "big")
        if size > len(png) - at - 12:
            break
        png[at + 8 + size:at + 12 + size] = zlib.crc32(png[at + 4:at + 8 + size]).to_bytes(4, "big")
        at += 12 + size
    return bytes(png)


@pytest.mark.parametrize("change, least", [(bytes, 10), (with_right_sums, 100)])
def test_pictures(tmp_path, change, least):
    """Checksums made right hide damage from us alone: Pillow looks at zlib's own, too."""
    count = 0
    for path, found in accepted(tmp_path, "image", map(change, inputs("image", 1000))):
        try:
            with Image.open(path) as image:
                theirs = as_we_do(image)
        except OSError:
            assert change == with_right_sums, path
            continue
        ours = np.asarray(Image.open(f"{path}.png"))
        assert sha(ours.tobytes()) == found[3] and np.array_equal(ours, theirs), path
        count += 1
    assert count >= least


def test_image_tensors(tmp_path):
    count = 0
    for path, found in accepted(tmp_path, "npy", inputs("npy", 1000)):
        array = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
        assert found == [[array.shape[3], array.shape[2], False, sha(array[n, m].tobytes())]
                         for n in range(array.shape[0]) for m in range(array.shape[1])]
        count += 1
    assert count >= 10
