"""Compares our readers and writers with Python's: safetensors, json, Pillow, NumPy.

Runs tests/unit/io_driver, from $DIFFENS_BUILD or build/."""
import hashlib
import json
import os
import pathlib
import random
import struct
import zlib
import subprocess

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch
from PIL import Image, ImageOps, PngImagePlugin

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("DIFFENS_BUILD", ROOT / "build"))
DRIVER = next((p for p in (BUILD / "tests" / "io_driver", BUILD / "io_driver") if p.exists()), None)

pytestmark = pytest.mark.skipif(DRIVER is None, reason=f"no io_driver in {BUILD}")


def driver(mode, *paths):
    out = subprocess.run([DRIVER, mode, *map(str, paths)], capture_output=True, check=True)
    return [json.loads(line) for line in out.stdout.decode().split("\n")[:-1]]


def sha(data):
    return hashlib.sha256(bytes(data)).hexdigest()


DTYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8",
    torch.uint8: "U8", torch.bool: "BOOL",
}


def sample_tensors():
    torch.manual_seed(0)
    tensors = {f"t.{name}.weight": (torch.randn(3, 5) * 20).to(dtype)
               for dtype, name in DTYPES.items()}
    tensors['odd "name"\n\u2603\U0001f600'] = torch.ones(2)
    tensors["scalar"] = torch.tensor(7)
    tensors["empty"] = torch.zeros(0, 4)
    tensors["rank8"] = torch.zeros(1, 2, 1, 2, 1, 2, 1, 2)
    return tensors


def tensor_bytes(t):
    return t.contiguous().flatten().view(torch.uint8).numpy().tobytes() if t.numel() else b""


def expected_tensors(tensors):
    return {k: [DTYPES[t.dtype], list(t.shape), sha(tensor_bytes(t))] for k, t in tensors.items()}


def test_safetensors_are_read(tmp_path):
    tensors = sample_tensors()
    safetensors.torch.save_file(tensors, tmp_path / "a.safetensors", metadata={"format": "pt"})
    assert driver("tensors", tmp_path / "a.safetensors") == [expected_tensors(tensors)]


def test_safetensors_are_written(tmp_path):
    tensors, metadata = sample_tensors(), {"format": "pt", "say": 'a"\n\u2603'}
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file(tensors, path, metadata=metadata)
    copy, = driver("copy", path)
    with safetensors.safe_open(copy, "pt") as f:
        assert f.metadata() == metadata
        again = {k: f.get_tensor(k) for k in f.keys()}
    assert expected_tensors(again) == expected_tensors(tensors)


@pytest.mark.parametrize("name", ["m.safetensors.index.json", "m.safetensors.index.fp16.json"])
def test_shards_are_read(tmp_path, name):
    tensors = sample_tensors()
    names = sorted(tensors)
    shards = {"m-1.safetensors": names[::2], "m-2.safetensors": names[1::2]}
    for shard, part in shards.items():
        safetensors.torch.save_file({k: tensors[k] for k in part}, tmp_path / shard)
    index = {"metadata": {"total_size": 1},
             "weight_map": {k: shard for shard, part in shards.items() for k in part}}
    (tmp_path / name).write_text(json.dumps(index))
    assert driver("tensors", tmp_path / name) == [expected_tensors(tensors)]


def mutated_headers(count):
    """Files near a good one: what we accept, the reference library must accept alike."""
    rng = random.Random(1)
    good = json.dumps({
        "a": {"dtype": "F32", "shape": [2, 1], "data_offsets": [0, 8]},
        "b": {"dtype": "U8", "shape": [3], "data_offsets": [8, 11]},
        "__metadata__": {"k": "v"}}).encode()
    pieces = [b'"', b"{", b"}", b"[", b"]", b",", b":", b"0", b"1", b"-", b"8", b" ", b"e", b".",
              b"\\u0061", b"\xff", b"null", b"F16", b"U8", b"\n"]
    for _ in range(count):
        header = bytearray(good)
        for _ in range(rng.randint(0, 3)):
            at = rng.randrange(len(header))
            header[at:at + rng.randint(0, 2)] = rng.choice(pieces)
        length = len(header) + (rng.randint(-2, 2) if rng.random() < 0.1 else 0)
        yield struct.pack("<Q", length) + bytes(header) + bytes(range(11 + (rng.random() < 0.1)))


def test_what_we_accept_the_reference_accepts(tmp_path):
    paths = []
    for i, data in enumerate(mutated_headers(1500)):
        paths.append(tmp_path / f"{i}.safetensors")
        paths[-1].write_bytes(data)
    accepted = refused = 0
    for path, found in zip(paths, driver("tensors", *paths)):
        if set(found) == {"error"} and isinstance(found["error"], str):
            refused += 1
            continue
        accepted += 1
        with safetensors.safe_open(path, "pt") as f:
            assert expected_tensors({k: f.get_tensor(k) for k in f.keys()}) == found
    assert accepted > 100 and refused > 500


def test_json_is_read_as_python_reads_it(tmp_path):
    rng = random.Random(2)
    strings = ["", "a", 'q"\\/\b\f\n\r\t', "\u00e9\u2603\U0001f600", "\x7f\u2028", "a" * 300]

    def value(depth):
        kind = rng.randrange(8 if depth < 6 else 6)
        if kind == 0:
            return rng.choice([None, True, False])
        if kind == 1:
            return rng.randint(-2**63, 2**64 - 1)
        if kind == 2:
            return struct.unpack("<d", rng.randbytes(8))[0]
        if kind == 3:
            return rng.uniform(-10, 10)
        if kind < 6:
            return rng.choice(strings) + str(rng.randrange(100))
        if kind == 6:
            return [value(depth + 1) for _ in range(rng.randrange(6))]
        return {f"{rng.choice(strings)}{i}": value(depth + 1) for i in range(rng.randrange(25))}

    paths, values = [], []
    while len(values) < 300:
        v = value(0)
        text = json.dumps(v, ensure_ascii=rng.random() < 0.5, indent=rng.choice([None, 2]))
        if "NaN" in text or "Infinity" in text:
            continue
        paths.append(tmp_path / f"{len(values)}.json")
        paths[-1].write_text(text, encoding="utf-8")
        values.append(v)
    assert driver("json", *paths) == values


def pictures(folder):
    rng = np.random.default_rng(3)
    smooth = np.add.outer(np.arange(37) * 5, np.arange(53) * 3)
    rgb = np.stack([smooth, smooth * 2, 255 - smooth], -1).astype(np.uint8)
    noise = rng.integers(0, 256, (31, 29, 3), dtype=np.uint8)
    grey16 = (rng.integers(0, 65536, (9, 8))).astype(np.uint16)
    alpha = rng.integers(0, 256, (13, 11, 4), dtype=np.uint8)
    yield "rgb.png", Image.fromarray(rgb), {}
    yield "noise.png", Image.fromarray(noise), {}
    yield "grey.png", Image.fromarray(rgb[..., 0]), {}
    yield "one-bit.png", Image.fromarray(rgb[..., 0]).convert("1"), {}
    yield "palette.png", Image.fromarray(rgb).quantize(16), {}
    yield "rgba.png", Image.fromarray(alpha), {}
    yield "grey-alpha.png", Image.fromarray(alpha).convert("LA"), {}
    yield "grey16.png", Image.fromarray(grey16), {}
    yield "photo.jpg", Image.fromarray(rgb), {"quality": 95, "subsampling": 0}
    yield "grey.jpg", Image.fromarray(rgb[..., 0]), {"quality": 95}
    yield "progressive.jpg", Image.fromarray(rgb), {"quality": 95, "subsampling": 0,
                                                   "progressive": True}
    yield "cmyk.jpg", Image.fromarray(rgb).convert("CMYK"), {}


def as_we_do(image):
    """RGB as image.h says: 16 bits by their upper byte, alpha on white."""
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
    if image.mode in ("RGBA", "LA"):
        pixels = np.asarray(image.convert("RGBA")).astype(int)
        a = pixels[..., 3:]
        return ((pixels[..., :3] * a + 255 * (255 - a) + 127) // 255).astype(np.uint8)
    return np.asarray(image.convert("RGB"))


def test_pictures(tmp_path):
    for name, image, options in pictures(tmp_path):
        path = tmp_path / name
        image.save(path, **options)
        found, = driver("image", path)
        if name == "cmyk.jpg":
            assert "CMYK" in found["error"]
            continue
        expected = as_we_do(Image.open(path))
        assert found[:2] == [image.width, image.height], name
        assert found[2] == (image.mode in ("RGBA", "LA")), name
        copy = Image.open(f"{path}.png")
        copy.load()
        assert copy.mode == "RGB" and copy.size == image.size
        ours = np.asarray(copy)
        assert found[3] == sha(ours.tobytes()), name
        assert np.array_equal(ours, expected), name
        assert copy.text == {"path": str(path), "say": "caf\u00e9 \u2603"}
        assert isinstance(copy.text["say"], PngImagePlugin.iTXt)
        assert not isinstance(copy.text["path"], PngImagePlugin.iTXt)


def interlaced(picture, bit_depth, colours):
    """A PNG in Adam7's order; pixels of less than a byte are grey ones of a bit."""
    def chunk(kind, data):
        return (struct.pack(">I", len(data)) + kind + data
                + struct.pack(">I", zlib.crc32(kind + data)))
    rows = b""
    for x, y, across, down in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4),
                               (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)):
        for row in picture[y::down, x::across]:
            packed = np.packbits(row) if bit_depth == 1 else row
            rows += b"\0" + packed.tobytes() if row.size else b""
    height, width = picture.shape[:2]
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(
        ">IIBBBBB", width, height, bit_depth, colours, 0, 0, 1))
        + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


@pytest.mark.parametrize("bit_depth, colours, channels", [(8, 2, 3), (8, 6, 4), (1, 0, 0)])
def test_interlaced_pictures(tmp_path, bit_depth, colours, channels):
    rng = np.random.default_rng(5)
    for height, width in (1, 1), (1, 9), (5, 3), (8, 8), (13, 17), (2, 40):
        path = tmp_path / f"{height}x{width}.png"
        shape = (height, width, channels) if channels else (height, width)
        path.write_bytes(interlaced(rng.integers(0, 1 << bit_depth, shape, dtype=np.uint8),
                                    bit_depth, colours))
        found, = driver("image", path)
        assert found[3] == sha(as_we_do(Image.open(path)).tobytes()), path


@pytest.mark.parametrize("order", ["II", "MM"])
@pytest.mark.parametrize("orientation", range(0, 10))
def test_pictures_of_a_turned_camera_are_upright(tmp_path, order, orientation):
    """As Pillow turns them; what is no orientation turns nothing."""
    path = tmp_path / "a.jpg"
    picture = Image.fromarray(np.random.default_rng(2).integers(
        0, 256, (3, 5, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1))
    short, long = (("<H", "<I") if order == "II" else (">H", ">I"))
    pack = struct.pack
    tiff = (order.encode() + pack(short, 42) + pack(long, 8) + pack(short, 2)
            + pack(short, 0x010F) + pack(short, 2) + pack(long, 4) + b"me\0\0"
            + pack(short, 0x0112) + pack(short, 3) + pack(long, 1) + pack(short, orientation)
            + b"\0\0" + pack(long, 0))
    picture.save(path, quality=95, exif=b"Exif\0\0" + tiff)
    found, = driver("image", path)
    shown = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    ours = np.asarray(Image.open(f"{path}.png"))
    assert found[:2] == list(shown.size)
    assert np.abs(ours.astype(int) - np.asarray(shown)).max() <= 4


def test_cut_jpegs_are_refused(tmp_path):
    Image.effect_noise((64, 64), 50).save(tmp_path / "n.jpg")
    data = (tmp_path / "n.jpg").read_bytes()
    paths = []
    for size in range(2, len(data) - 1, 37):
        paths.append(tmp_path / f"{size}.jpg")
        paths[-1].write_bytes(data[:size])
    assert all("error" in found for found in driver("image", *paths))


def test_image_tensors(tmp_path):
    tensor = np.random.default_rng(4).integers(0, 256, (3, 2, 6, 5, 3), dtype=np.uint8)
    np.save(tmp_path / "a.npy", tensor)
    found, = driver("npy", tmp_path / "a.npy")
    assert found == [[5, 6, False, sha(tensor[n, m].tobytes())] for n in range(3) for m in range(2)]
    again = np.load(tmp_path / "a.npy.npy", mmap_mode="r")
    assert again.dtype == np.uint8 and np.array_equal(again, tensor)
    assert (tmp_path / "a.npy.npy").read_bytes() == (tmp_path / "a.npy").read_bytes()
    for bad in (tensor.astype(np.float32), np.asfortranarray(tensor), tensor[0]):
        np.save(tmp_path / "b.npy", bad)
        found, = driver("npy", tmp_path / "b.npy")
        assert "expected" in found["error"]
