"""Compares our reader of PyTorch's files with torch.load(), and refuses what no tensor file
is: the catalogue of bad files, exploits among them, each by name and place.

Runs tests/unit/io_driver, from $DIFFENS_BUILD or build/."""

import collections
import os
import pathlib
import pickle
import random
import sys
import types

import numpy as np
import pytest
import torch

import torch_files as f
from test_io_references import driver, expected_tensors, pytestmark, sample_tensors  # noqa: F401

FORMATS = {"zip": True, "legacy": False}


@pytest.fixture(params=FORMATS)
def save(request, tmp_path):
    """save(object) writes it in one of the formats; gives the path."""
    def write(value, name="a.pt", **settings):
        torch.save(value, tmp_path / name,
                   _use_new_zipfile_serialization=FORMATS[request.param], **settings)
        return tmp_path / name
    return write


def contiguous(tensors):
    return expected_tensors({k: v.detach().contiguous() for k, v in tensors.items()})


def views():
    base = torch.arange(240, dtype=torch.float32).reshape(2, 3, 5, 8)
    return {"whole": base, "transposed": base.transpose(0, 3), "tail": base[1, 2],
            "column": base[:, 1, :, 3], "steps": base[:, ::2, 1::3, ::5],
            "permuted": base.permute(2, 0, 3, 1), "channels last":
            torch.randn(4, 3, 5, 5).to(memory_format=torch.channels_last),
            "one": base[0, 0, 0, 7], "none": base[:, :0], "ones": base[:1, :1].transpose(0, 3),
            "expanded inside": torch.arange(6.0).expand(1, 6)}


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_tensors_of_all_types(save, protocol):
    tensors = sample_tensors()
    path = save(tensors, pickle_protocol=protocol)
    assert driver("tensors", path) == [expected_tensors(tensors)]


def test_views_are_gathered(save):
    tensors = views()
    assert driver("tensors", save(tensors)) == [contiguous(tensors)]


def test_random_views(save):
    rng = random.Random(0)
    base = torch.arange(5040, dtype=torch.int32)
    tensors = {}
    for i in range(60):
        x = base.reshape(rng.choice([(7, 8, 9, 10), (70, 72), (5040,), (5, 6, 7, 24)]))
        for _ in range(3):
            axis = rng.randrange(x.ndim)
            start = rng.randrange(x.shape[axis])
            x = x.movedim(axis, rng.randrange(x.ndim)) if rng.random() < 0.5 else x[
                (slice(None),) * axis + (slice(start, None, rng.randint(1, 3)),)]
        tensors[f"t{i}"] = x
    assert driver("tensors", save(tensors)) == [contiguous(tensors)]


def test_modules_and_parameters(save):
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    state = module.state_dict()
    assert hasattr(state, "_metadata")
    assert driver("tensors", save(state)) == [contiguous(state)]
    parameters = {"p": torch.nn.Parameter(torch.randn(3)),
                  "frozen": torch.nn.Parameter(torch.ones(2), requires_grad=False)}
    assert driver("tensors", save(parameters)) == [contiguous(parameters)]


@pytest.mark.parametrize("wrap", [
    lambda d: {"state_dict": d, "epoch": 3, "optimizer_states": [{"state": {0: {"s": 1}}}]},
    lambda d: {"model": d, "args": None}, lambda d: {"params": d},
    lambda d: collections.OrderedDict(("module." + k, v) for k, v in d.items()),
    lambda d: {"state_dict": {"module." + k: v for k, v in d.items()}},
    lambda d: {**d, "version": 3, "names": ["a", "b"], 7: "seven"}])
def test_state_dicts_in_other_things(save, wrap):
    tensors = {"a": torch.randn(2), "b.c": torch.randn(3)}
    assert driver("tensors", save(wrap(tensors))) == [expected_tensors(tensors)]


def test_devices_of_the_past(save, monkeypatch):
    monkeypatch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:7")
    tensors = {"a": torch.randn(2)}
    assert driver("tensors", save(tensors)) == [expected_tensors(tensors)]


def test_sizes_above_a_chunk(save):
    """Bytes are read and checked in pieces."""
    big = torch.randn(700, 1000)
    tensors = {"big": big, "half": big[350:], "turned": big.T}
    assert driver("tensors", save(tensors)) == [contiguous(tensors)]


def test_untyped_storages(tmp_path):
    """_rebuild_tensor_v3 names the type of the tensor, not of the storage."""
    value = f.dict_of(a=f.tensor((4, 6), (6, 1), function="_rebuild_tensor_v3",
                                 more=b"ctorch\nfloat16\n",
                                 of=f.storage(elements=48, kind="torch.storage\nUntypedStorage")))
    path = tmp_path / "a.pt"
    path.write_bytes(f.checkpoint(value))
    assert driver("tensors", path)[0]["a"][:2] == ["F16", [4, 6]]


def old_tensor():
    """What PyTorch 0.1 called for a view in the middle of a storage of 12."""
    return f.called("torch._utils", "_rebuild_tensor", f.storage(more=b"N"), f.integer(3),
                    f.tuple_of(f.integer(3), f.integer(2)),
                    f.tuple_of(f.integer(1), f.integer(4)))


NO_HOOKS = f.called("collections", "OrderedDict")
OLD_TENSORS = {
    "alone": old_tensor(),
    "new object": b"ctorch.nn.parameter\nParameter\n" + f.tuple_of(old_tensor()) + b"\x81" +
                  f.tuple_of(b"\x88", b"\x89", NO_HOOKS) + b"b",
    "called": f.called("torch.nn.parameter", "Parameter", old_tensor(), b"\x89"),
    "_rebuild_parameter": f.called("torch._utils", "_rebuild_parameter", old_tensor(), b"\x88",
                                   NO_HOOKS),
}


@pytest.mark.parametrize("name", OLD_TENSORS)
def test_tensors_of_the_past(tmp_path, name):
    """torchvision's first files: _rebuild_tensor() with 4 arguments, often in a Parameter."""
    path = tmp_path / "vgg16-397923af.pth"
    path.write_bytes(f.legacy(f.dict_of(a=OLD_TENSORS[name]),
                              data=np.arange(12, dtype="<f4").tobytes()))
    loaded = torch.load(path)
    assert loaded["a"].tolist() == [[3, 7], [4, 8], [5, 9]]
    assert isinstance(loaded["a"], torch.nn.Parameter) == (name != "alone")
    assert driver("tensors", path) == [contiguous(loaded)]
    assert driver("globals", path) == [""]


def lightning_module(monkeypatch):
    """A class that pickles under the name that Lightning's callbacks have."""
    name = "pytorch_lightning.callbacks.model_checkpoint"
    module = types.ModuleType(name)
    module.ModelCheckpoint = type("ModelCheckpoint", (), {"__module__": name})
    for i in range(1, name.count(".") + 1):
        part = ".".join(name.split(".")[:i])
        monkeypatch.setitem(sys.modules, part, types.ModuleType(part))
    monkeypatch.setitem(sys.modules, name, module)
    return module


def test_lightning_leftovers(save, monkeypatch):
    module = lightning_module(monkeypatch)
    tensors = {"encoder.w": torch.randn(2, 2), "loss.w": torch.randn(3)}
    checkpoint = {
        "epoch": 4, "global_step": 470000, "pytorch-lightning_version": "1.0.8",
        "callbacks": {module.ModelCheckpoint: {
            "best_model_score": torch.tensor(0.25), "best_model_path": "/x/last.ckpt",
            "current_score": np.float64(1.5)}},
        "optimizer_states": [{"state": {i: {"step": i, "exp_avg": torch.randn(5)}
                                        for i in range(3)}, "param_groups": [{"lr": 4.5e-6}]}],
        "hyper_parameters": {"object": module.ModelCheckpoint(), "betas": (0.5, 0.9)},
        "lr_schedulers": [], "state_dict": collections.OrderedDict(tensors)}
    path = save(checkpoint)
    assert driver("tensors", path) == [expected_tensors(tensors)]
    names = driver("globals", path)[0]
    assert "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint" in names
    assert "numpy" in names and "torch" not in names.replace("pytorch", "")


def test_shards_of_pickles(tmp_path):
    tensors = sample_tensors()
    names = sorted(tensors)
    shards = {"m-1.bin": names[::2], "m-2.bin": names[1::2]}
    for shard, part in shards.items():
        torch.save({k: tensors[k] for k in part}, tmp_path / shard)
    index = {"weight_map": {k: shard for shard, part in shards.items() for k in part}}
    import json
    (tmp_path / "m.bin.index.json").write_text(json.dumps(index))
    assert driver("tensors", tmp_path / "m.bin.index.json") == [expected_tensors(tensors)]


# What no file of tensors is; each with words of the line that refuses it.

GOOD = f.dict_of(a=f.tensor())
WHOLE = f.checkpoint(GOOD)


def weights(**settings):
    return f.checkpoint(f.dict_of(a=f.tensor(**settings)))


def of(**settings):
    return weights(of=f.storage(**settings))


BAD = {
    "E1 truncated": (WHOLE[:-30], ["no end record", "incomplete download"]),
    "E1 no directory": (WHOLE[:150], ["no end record"]),
    "E1 no entries": (f.archive([]).replace(b"PK\6\6", b"PK\3\4PK\6\6"), ["found"]),
    "E1 two archives": (WHOLE + WHOLE, ["found a ZIP64 end record in another place"]),
    "E1 two archives without ZIP64": (2 * f.checkpoint(GOOD, zip64=False),
                                      ["directory: found", "expected it to end at"]),
    "E1 comment": (WHOLE[:-2] + b"\3\0abc", ["no end record"]),
    "E2 no pickle": (f.archive([("a/data/0", f.ZEROS)]), ["expected a data.pkl"]),
    "E2 two pickles": (f.archive([("a/data.pkl", f.program(GOOD))] * 2), ["a/data.pkl", "twice"]),
    "E2 two folders": (f.archive([("a/data.pkl", f.program(GOOD)), ("b/data.pkl", b"")]),
                       ["b/data.pkl", "outside the folder"]),
    "E2 no folder": (f.archive([("data.pkl", f.program(GOOD))]), ["data.pkl"]),
    "E3 program": (f.checkpoint(GOOD, more=[("a/x.py", b"")]), ["a/x.py"]),
    "E3 upwards": (f.checkpoint(GOOD, more=[("a/data/../x", b"")]), ["a/data/../x"]),
    "E3 absolute": (f.checkpoint(GOOD, more=[("/etc/passwd", b"")]), ["/etc/passwd"]),
    "E3 NUL": (f.checkpoint(GOOD, more=[(b"a/data/1\0.py", b"")]), ["NUL"]),
    "E3 escape": (f.checkpoint(GOOD, more=[("a/\x1b[31m", b"")]), ["\\x1B[31m"]),
    "E5 encrypted": (f.checkpoint(GOOD, flags=1), ["a/data.pkl", "flags 0x0001"]),
    "E5 patched": (f.checkpoint(GOOD, flags=0x20), ["flags 0x0020"]),
    "E5 strong encryption": (f.checkpoint(GOOD, flags=0x40), ["flags 0x0040"]),
    "E6 compressed": (f.checkpoint(GOOD, method=8), ["a/data.pkl", "compressed"]),
    "E8 pickle": (f.checkpoint(GOOD, crcs={"a/data.pkl": 1}), ["a/data.pkl", "CRC"]),
    "E8 storage": (f.checkpoint(GOOD, crcs={"a/data/0": 1}), ["found CRC", "damaged"]),
    "E8 storage of a view": (f.checkpoint(f.dict_of(a=f.tensor((4, 3), (1, 4))),
                                          crcs={"a/data/0": 1}), ["found CRC"]),
    "E9 size": (f.checkpoint(GOOD, lie={"a/data/0": 1 << 63}), ["a/data/0"]),
    "E9 size of another": (f.checkpoint(GOOD, lie={"a/data/0": 44}), ["another size"]),
    "E9 more entries": (f.checkpoint(GOOD, count=3), ["expected 3 entries"]),
    "E9 fewer entries": (f.checkpoint(GOOD, count=1), ["behind the last entry"]),
    "E9 millions": (f.checkpoint(GOOD, count=1 << 40), ["entries, expected 1..100000"]),
    "E11 TorchScript": (f.checkpoint(GOOD, more=[("a/code/x.py", b"")]), ["TorchScript"]),
    "E11 constants": (f.checkpoint(GOOD, more=[("a/constants.pkl", b"")]), ["TorchScript"]),
    "E12 magic": (f.legacy(GOOD, magic=f.integer(5)), ["magic number", "integer 5"]),
    "E12 magic by a call": (f.legacy(GOOD, magic=f.called("os", "system", f.text("ls"))),
                            ["magic number", "os.system"]),
    "E12 version": (f.legacy(GOOD, version=b"K\5"), ["protocol version", "1001"]),
    "E12 big-endian": (f.legacy(GOOD, system=f.dict_of(little_endian=b"\x89")),
                       ["system info", "little_endian"]),
    "E12 keys": (f.legacy(GOOD, keys=("0", "1")), ["storage keys", '"1"']),
    "E12 elements": (f.legacy(GOOD, elements=13), ['storage "0"', "13"]),
    "E12 short": (f.legacy(GOOD, data=f.ZEROS[:-1]), ['storage "0"', "incomplete download"]),
    "E12 long": (f.legacy(GOOD, data=f.ZEROS + b"x"), ["1 bytes behind the last storage"]),
    "E12 no key": (f.legacy(GOOD, data=b"", keys=()), ["8 bytes behind"]),
    "E14 plain pickle": (pickle.dumps({"a": [1.0, 2.0]}), ["magic number", "not one of torch"]),
    "E15 opcode": (f.checkpoint(b"\x82\1"), ["byte 2: opcode 0x82"]),
    "E16 underflow": (f.checkpoint(b"0"), ["byte 2: opcode 0x30"]),
    "E18 no STOP": (f.archive([("a/data.pkl", GOOD)]), ["expected STOP"]),
    "E18 behind STOP": (f.archive([("a/data.pkl", f.program(GOOD) + b"N.")]), ["STOP"]),
    "E22 items of a list": (f.checkpoint(b"](NNu"), ["expected a dict"]),
    "E23 arguments": (f.checkpoint(f.dict_of(a=f.called("torch._utils", "_rebuild_tensor_v2"))),
                      ['tensor "a"', "0 arguments"]),
    "E23 kinds": (f.checkpoint(f.dict_of(a=f.called("torch._utils", "_rebuild_tensor_v2", b"N",
                                                    b"N", b"N", b"N"))), ['tensor "a"', "None"]),
    "E23 arguments of the past": (f.legacy(f.dict_of(a=f.called(
        "torch._utils", "_rebuild_tensor", f.storage(), f.integer(0), b")"))),
        ['tensor "a"', "3 arguments"]),
    "E23 sizes": (f.checkpoint(f.dict_of(a=f.called(
        "torch._utils", "_rebuild_tensor_v2", f.storage(), f.integer(0), b"N", b")"))),
        ['tensor "a": size: found None, expected integers']),
    "E23 negative size": (weights(size=(3, -4)), ['tensor "a": size: found the integer -4']),
    "E23 negative stride": (weights(stride=(-4, 1)), ['tensor "a": stride: found the integer -4']),
    "E23 negative offset": (weights(offset=-1), ['tensor "a"', "from element -1"]),
    "E23 behind the end": (weights(offset=1), ['tensor "a"', "outside, expected it within its 12 elements"]),
    "E23 stride": (weights(stride=(5, 1)), ['tensor "a"', "outside, expected it within its 12 elements"]),
    "E23 overflow": (weights(size=(1 << 62, 4)), ['tensor "a"', "overflows"]),
    "E23 overflow of a stride": (weights(size=(3, 2), stride=(1 << 62, 1 << 62)),
                                 ['tensor "a"', "expected it within its"]),
    "E23 expanded": (weights(size=(1 << 40, 1), stride=(0, 1)), ['tensor "a"', "expanded"]),
    "E23 rank": (weights(size=(1,) * 9, stride=(1,) * 9), ['tensor "a"', "at most 8"]),
    "E23 ranks": (weights(size=(3, 4), stride=(4,)), ['tensor "a"', "2 sizes and 1 strides"]),
    "E25 no storage": (of(key="1"), ['tensor "a"', 'no storage "1"']),
    "E25 elements": (of(elements=13), ['storage "0"', "48 bytes", "13 elements of F32"]),
    "E25 type": (of(kind="torch\nDoubleStorage"), ['storage "0"', "F64"]),
    "E25 two types": (f.checkpoint(f.dict_of(a=f.tensor(), b=f.tensor(
        of=f.storage(kind="torch\nIntStorage")))), ['tensor "b"', "F32 and I32"]),
    "E25 unknown type": (of(kind="torch\nQInt8Storage"), ['tensor "a"', "QInt8Storage"]),
    "E25 complex": (of(kind="torch\nComplexFloatStorage"), ["ComplexFloatStorage"]),
    "E25 elements below 0": (of(elements=-1), ["expected (\"storage\""]),
    "E25 not an id": (weights(of=b"NQ"), ["None", "expected (\"storage\""]),
    "E25 storage by a call": (weights(of=f.called("os", "system", f.text("ls"))), ["os.system"]),
    "E27 sparse": (f.checkpoint(f.dict_of(a=f.called("torch._utils", "_rebuild_sparse_tensor"))),
                   ['tensor "a"', "_rebuild_sparse_tensor", "dense"]),
    "E27 quantised": (f.checkpoint(f.dict_of(a=f.called("torch._utils", "_rebuild_qtensor"))),
                      ['tensor "a"', "_rebuild_qtensor"]),
    "E27 subclass": (f.checkpoint(f.dict_of(a=f.called("torch._tensor",
                                                       "_rebuild_from_type_v2"))),
                     ['tensor "a"', "_rebuild_from_type_v2"]),
    "E28 nothing": (f.checkpoint(f.dict_of(epoch=b"K\1")), ["a dict of 1", "state_dict"]),
    "E28 nested twice": (f.checkpoint(f.dict_of(state_dict=f.dict_of(state_dict=GOOD))),
                         ['whose "state_dict" is a dict of 1']),
    "E28 list": (f.checkpoint(b"](" + GOOD + b"e"), ["a list of 1"]),
    "E28 module": (f.checkpoint(f.called("torch.nn.modules.linear", "Linear") + b"}b"),
                   ["an object of torch.nn.modules.linear.Linear"]),
    "name twice": (f.checkpoint(b"}(" + 2 * (f.text("a") + f.tensor()) + b"u"), ["found twice"]),
    "name with NUL": (f.checkpoint(b"}" + f.text("a\0b") + f.tensor() + b"s"), ["UTF-8"]),
    "name is a number": (f.checkpoint(b"}K\1" + f.tensor() + b"s"), ["integer 1"]),
    "byte order": (f.checkpoint(GOOD, more=[("a/byteorder", b"big")]), ["byteorder", '"big"']),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused(tmp_path, name):
    data, words = BAD[name]
    path = tmp_path / "bad.ckpt"
    path.write_bytes(data)
    found, = driver("tensors", path)
    assert set(found) == {"error"}, found
    assert found["error"].startswith(str(path) + ": ")
    assert all(word in found["error"] for word in words), found["error"]


@pytest.mark.parametrize("data", [
    f.checkpoint(GOOD, more=[("a/version", b"3\n")]),
    f.checkpoint(GOOD, more=[("a/version", b"3\n")], zip64=False),
    f.legacy(f.dict_of(a=f.tensor(of=f.storage(more=b"N"))))])
def test_files_by_hand_are_good(tmp_path, data):
    """So that the bad ones are bad for their own reason only."""
    (tmp_path / "a.pt").write_bytes(data)
    assert driver("tensors", tmp_path / "a.pt")[0]["a"][:2] == ["F32", [3, 4]]
    loaded = torch.load(tmp_path / "a.pt")["a"]
    assert loaded.shape == (3, 4) and loaded.dtype == torch.float32


def test_every_truncation_is_refused(tmp_path):
    for make in f.checkpoint, f.legacy:
        whole = make(GOOD)
        paths = [tmp_path / f"{size}.pt" for size in range(len(whole))]
        for size, path in enumerate(paths):
            path.write_bytes(whole[:size])
        assert all(set(found) == {"error"} for found in driver("tensors", *paths))


def test_changed_bytes_never_change_the_tensor(tmp_path):
    """A byte changed anywhere: refused, or read as if it were not there (names apart)."""
    rng = random.Random(3)
    data = bytes(range(48))
    whole = f.checkpoint(GOOD, data=data)
    (tmp_path / "good.pt").write_bytes(whole)
    good = driver("tensors", tmp_path / "good.pt")[0]["a"]
    paths = []
    for at in range(len(whole)):
        changed = bytearray(whole)
        changed[at] ^= 1 << rng.randrange(8)
        paths.append(tmp_path / f"{at}.pt")
        paths[-1].write_bytes(changed)
    found = driver("tensors", *paths)
    refused = sum(set(each) == {"error"} for each in found)
    assert all(each.get("a", good) == good for each in found)
    assert refused > 0.9 * len(paths) - 60


# Programs that would run code in Python. Beside a state dict they stay inert and are
# named; alone they are no state dict.

CANARY = "touch {canary}"


def inner_pickle(command):
    return pickle.dumps(pickle.dumps(command))


EXPLOITS = {
    "GLOBAL and REDUCE": lambda c: f.called("os", "system", f.text(c)),
    "posix": lambda c: f.called("posix", "system", f.text(c)),
    "eval": lambda c: f.called("builtins", "eval", f.text(f"__import__('os').system('{c}')")),
    "exec": lambda c: f.called("__builtin__", "exec", f.text(f"import os; os.system('{c}')")),
    "import": lambda c: f.called("importlib", "import_module", f.text("os")),
    "timeit": lambda c: f.called("timeit", "timeit", f.text(f"import os; os.system('{c}')")),
    "f2py": lambda c: f.called("numpy.f2py.crackfortran", "getlincoef", f.text(c), b"}"),
    "runpy": lambda c: f.called("runpy", "_run_code", f.text(c), b"}"),
    "subprocess": lambda c: b"csubprocess\nPopen\n" + f.tuple_of(f.text("sh"), f.text(c)) + b"\x81",
    "STACK_GLOBAL": lambda c: (f.text("os") + f.text("system") + b"\x93" +
                               f.tuple_of(f.text(c)) + b"R"),
    "dotted name": lambda c: (f.text("torch") + f.text("serialization.os.system") + b"\x93" +
                              f.tuple_of(f.text(c)) + b"R"),
    "memo": lambda c: (f.text("system") + b"q\1" + f.text("os") + b"q\2" + b"00h\2h\1\x93" +
                       f.tuple_of(f.text(c)) + b"R"),
    "BUILD": lambda c: (b"ctypes\nSimpleNamespace\n)R}" + f.text("x") +
                        f.called("os", "system", f.text(c)) + b"sb"),
    "a pickle inside": lambda c: f.called("_pickle", "loads", b"C" + bytes([len(f.program(
        f.called("os", "system", f.text(c))))]) + f.program(f.called("os", "system", f.text(c)))),
    "called result": lambda c: (f.called("builtins", "getattr", b"cos\nsystem\n",
                                         f.text("__call__")) + f.tuple_of(f.text(c)) + b"R"),
    "as a tensor": lambda c: f.dict_of(b=f.called("os", "system", f.text(c))),
    "as a key": lambda c: b"}" + f.called("os", "system", f.text(c)) + b"Ns",
    "as a storage": lambda c: f.dict_of(b=f.tuple_of(f.called("os", "system", f.text(c)))),
}
REFUSED = {
    "INST": lambda c: b"(" + f.text(c) + b"ios\nsystem\n",
    "OBJ": lambda c: b"(cos\nsystem\n" + f.text(c) + b"o",
    "NEWOBJ_EX": lambda c: b"cos\nsystem\n" + f.tuple_of(f.text(c)) + b"}\x92",
    "EXT1": lambda c: b"\x82\1" + f.tuple_of(f.text(c)) + b"R",
}


def run_exploit(tmp_path, value, make=f.checkpoint):
    path = tmp_path / "x.ckpt"
    path.write_bytes(make(value))
    found, = driver("tensors", path)
    return path, found


@pytest.mark.parametrize("make", [f.checkpoint, f.legacy])
@pytest.mark.parametrize("name", [*EXPLOITS, *REFUSED])
def test_exploits_are_inert(tmp_path, name, make):
    canary = tmp_path / "canary"
    value = (EXPLOITS | REFUSED)[name](CANARY.format(canary=canary))
    _, alone = run_exploit(tmp_path, value, make)
    assert set(alone) == {"error"}
    path, beside = run_exploit(tmp_path, f.dict_of(state_dict=GOOD, extra=value), make)
    if name in REFUSED:
        assert "opcode 0x" in beside["error"]
    else:
        assert set(beside) == {"a"}
        assert driver("globals", path)[0] != ""
    assert not canary.exists()


def test_the_first_exploit_is_one(tmp_path):
    """The canary works: Python's own pickle falls for it."""
    canary = tmp_path / "canary"
    pickle.loads(f.program(EXPLOITS["GLOBAL and REDUCE"](CANARY.format(canary=canary))))
    assert canary.exists()


def test_only_reads_happen(tmp_path):
    """strace sees no program started, no file written, no socket."""
    import shutil
    import subprocess
    from test_io_references import DRIVER
    if not shutil.which("strace"):
        pytest.skip("no strace")
    value = f.dict_of(state_dict=GOOD, extra=EXPLOITS["GLOBAL and REDUCE"]("true"))
    path, log = tmp_path / "x.ckpt", tmp_path / "log"
    path.write_bytes(f.checkpoint(value))
    subprocess.run(["strace", "-f", "-o", log, DRIVER, "tensors", path], check=True,
                   stdout=subprocess.DEVNULL)
    calls = log.read_text().split(str(path), 1)[1]
    names = {line.split(None, 1)[1].split("(")[0] for line in calls.splitlines()[1:]}
    assert "pread64" in names
    assert not names & {"execve", "fork", "vfork", "clone", "clone3", "socket", "connect",
                        "unlink", "rename", "mmap2"} and "O_WRONLY" not in calls
