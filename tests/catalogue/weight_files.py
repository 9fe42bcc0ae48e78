"""Weight files: safetensors, PyTorch's archives and pickles, indices of shards. By
themselves, through `models check`; what a network makes of them is in model_folders.py."""

import struct

import torch_files as f
from rows import contents, inputs, text

CHECK = "models check @/w"
GOOD = f.dict_of(a=f.tensor())
NAME = r'(\"a\"|a|tensor \"a\")'


def safetensors(header, data=b"", length=None):
    head = header if isinstance(header, bytes) else text(header)
    return struct.pack("<Q", len(head) if length is None else length) + head + data


def one(dtype="F32", shape=(2,), offsets=(0, 8), data=bytes(8), **more):
    return safetensors({"a": {"dtype": dtype, "shape": shape, "data_offsets": offsets, **more}},
                       data)


def two(first, second, size=16):
    entry = {"dtype": "F32", "shape": [2]}
    return safetensors({"a": {**entry, "data_offsets": first},
                        "b": {**entry, "data_offsets": second}}, bytes(size))


def weights(name, pattern, *given):
    return contents("weights: " + name, CHECK, r"/w: .*(" + pattern + ")", *given)


def pickle(code):
    """A checkpoint whose pickle is this program, protocol and STOP left to it."""
    return f.archive([("a/data.pkl", b"\x80\x02" + code), ("a/data/0", f.ZEROS)])


def checkpoint(**settings):
    return f.checkpoint(GOOD, **settings)


def tensor(**settings):
    return f.checkpoint(f.dict_of(a=f.tensor(**settings)))


def sparse(head, size):
    """A file of that size that takes no room."""
    def make(folder):
        with open(folder / "w", "wb") as file:
            file.write(head)
            file.truncate(size)
    return make


# The same call reached in every way that a pickle has.
HOSTILE = {
    "GLOBAL": f.called("os", "system", f.text("touch ran")),
    "STACK_GLOBAL": b"\x8c\x02os\x8c\x06system\x93" + f.tuple_of(f.text("touch ran")) + b"R",
    "dotted": f.called("builtins", "__import__.__call__", f.text("os")),
    "memo": b"cos\nsystem\nq\x000h\x00" + f.tuple_of(f.text("touch ran")) + b"R",
    "NEWOBJ": b"csubprocess\nPopen\n" + f.tuple_of(f.text("touch ran")) + b"\x81",
    "BUILD": f.called("torch._utils", "_rebuild_parameter") + b"}" + f.text("__setstate__")
    + b"cos\nsystem\nsb",
    "nested": f.called("pickle", "loads", f.text("cos\nsystem\n(S'touch ran'\ntR.")),
    "eval": f.called("builtins", "eval", f.text("open('ran','w')")),
    "runpy": f.called("runpy", "_run_code", f.text("open('ran','w')"), b"}"),
    "timeit": f.called("timeit", "timeit", f.text("open('ran','w')")),
    "f2py": f.called("numpy.f2py.crackfortran", "getlincoef", f.text("open('ran','w')"), b"}"),
}


def index(folder, weight_map, **shards):
    (folder / "w.index.json").write_bytes(text({"weight_map": weight_map}))
    for name, data in shards.items():
        (folder / f"{name}.safetensors").write_bytes(data)


def indexed(weight_map, **shards):
    return lambda folder: index(folder, weight_map, **shards)


INDEX = CHECK + ".index.json"

def lowered(limit, pattern, given):
    """What would be right is over a limit that was lowered by one."""
    return contents("weights: limit " + limit, CHECK + " --limit " + limit,
                    r"/w: .*(" + pattern + ")", given)


ROWS = [
    lowered("safetensors-header=60", "header length: found 61, expected at most 60", one()),
    lowered("tensors=1", "found more than 1 tensors", two([0, 8], [8, 16])),
    lowered("tensor=7", r'tensor "a": found 8 bytes, expected at most 7', one()),
    lowered("tensor=47", r'tensor "a": found 48 bytes, expected at most 47', checkpoint()),
    lowered("tensor-name=2", r'tensor "abc": found a name of 3 bytes', safetensors(
        {"abc": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}}, bytes(4))),
    lowered("metadata=1", "found more than 1 texts",
            safetensors({"__metadata__": {"a": "1", "b": "2"}})),
    lowered("pickle=20", r"data\.pkl.*found \d+ bytes, expected at most 20", checkpoint()),
    lowered("pickle-values=1000", "found values of more than 1000 bytes", checkpoint()),
    lowered("pickle-opcodes=5", "found more than 5 opcodes", checkpoint()),
    lowered("pickle-stack=2", "found more than 2 values on the stack", checkpoint()),
    lowered("pickle-memo=1", "found memo 1, expected less than 1", pickle(b"}q\1.")),
    lowered("zip-entries=1", r"found 2 entries, expected 1\.\.1", checkpoint()),
    lowered("zip-directory=50", r"directory: found \d+ bytes, expected at most 50", checkpoint()),
    lowered("pickle=9", "found the end of the pickle", f.legacy(GOOD)),
    weights("too short for safetensors", r"found \d bytes|found an empty file|8", b"", b"\x10",
            b"\x10" * 7),
    weights("header length", r"header length: found \d+, expected",
            *(struct.pack("<Q", n) + b"{}" for n in (0, 1, 3, 2**63, 2**64 - 1, 100000001))),
    inputs("weights: a huge header", CHECK, r"/w: header length: found 100000001, expected at most "
           r"16777216", sparse(struct.pack("<Q", 100000001) + b"{", 1 << 30)),
    weights("header is no object", r"header|line 1, column", safetensors(b"[]"),
            safetensors(b"5 "), safetensors(b'"a"')),
    weights("header has a byte-order mark", r"header|line 1|0xEF", safetensors(b"\xef\xbb\xbf{}")),
    weights("header is not UTF-8", r"line 1, column", safetensors(b'{"\xff": 1}'),
            safetensors(b'{"\xc0\x80": 1}')),
    weights("header breaks off", r"line 1, column \d+: found end", safetensors(b'{"a": {'),
            safetensors(b'{"a": {"dtype": "F32"')),
    weights("header goes on", r"line 1, column \d+", safetensors(b"{} {}"), safetensors(b"{}x")),
    weights("header is too deep", r'found the field "a", expected dtype, shape and data_offsets only', safetensors(b'{"a":' * 100)),
    weights("metadata", r"__metadata__.*\"?k\"?: found", *(
        safetensors({"__metadata__": {"k": v}}) for v in (1, {}, [], None))),
    weights("metadata is no object", r"__metadata__.*found", safetensors({"__metadata__": []})),
    weights("a name twice", r"\"a\".*twice", safetensors(
        b'{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},'
        b'"a":{"dtype":"F32","shape":[],"data_offsets":[4,8]}}', bytes(8))),
    weights("a long name", r"1024", safetensors(
        {"n" * 1025: {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}}, bytes(4))),
    weights("a name with colours", r"\\x1B\[31m", safetensors(
        {"\x1b[31m": {"dtype": "F4", "shape": [], "data_offsets": [0, 4]}}, bytes(4))),
    weights("type", NAME + r".*dtype: found .*, expected", *map(one, (
        "F4", "F8_E8M0", "F8_E4M3", "C64", "f32", "", "F32\n"))),
    weights("type of another kind", NAME + ".*dtype", one(dtype=5), one(dtype=None)),
    weights("shape", NAME + r".*shape.*found", *(one(shape=s) for s in (
        [-1], [2.0], ["2"], [2**63], [1] * 9, 2, None, {}))),
    weights("shape overflows", NAME + r".*(overflow|found)", *(one(shape=s) for s in (
        [2**32, 2**32], [2**62, 2], [2**61], [2**31, 2**31, 2**31]))),
    weights("offsets", NAME + r".*data_offsets.*found", *(one(offsets=o) for o in (
        [8, 0], [-8, 0], [0.0, 8], [8], [0, 8, 8], [], None, [0, 2**64], "0-8"))),
    weights("offsets beyond the file", NAME + r".*found", one(offsets=[0, 2**64 - 1]),
            one(offsets=[2**63, 2**63 + 8])),
    weights("a hole", r"a.*found", one(offsets=[4, 12], data=bytes(12)), two([0, 8], [12, 20], 20)),
    weights("overlap", r"\"?[ab]\"?.*found", two([0, 8], [4, 12], 12), two([0, 8], [0, 8], 8)),
    weights("bytes short", r"3 bytes short|short: incomplete download", one(data=bytes(5))),
    weights("bytes too many", r"found.*(9|1 byte)", one(data=bytes(9))),
    weights("another size than the shape's", NAME + r".*(12.*8|8.*12)", one(shape=[3])),
    weights("a key missing", NAME + r".*(dtype|shape|data_offsets)",
            safetensors({"a": {"shape": [], "data_offsets": [0, 4]}}, bytes(4)),
            safetensors({"a": {"dtype": "F32", "data_offsets": [0, 4]}}, bytes(4)),
            safetensors({"a": {"dtype": "F32", "shape": []}}, bytes(4)), safetensors({"a": {}})),
    weights("a key too many", r"color", one(color="red")),
    weights("a tensor that is none", NAME + r".*found", safetensors({"a": 5}),
            safetensors({"a": []}), safetensors({"a": None})),

    weights("Git LFS pointer", r"Git[ -]LFS", b"version https://git-lfs.github.com/spec/v1\n"
            b"oid sha256:0\nsize 12345\n"),
    weights("web page", r'found a web page, expected .*; it begins with "', b"<html><body>404",
            b"<!DOCTYPE html><html></html>", b"\n\n<!DOCTYPE html>", b"<?xml version='1.0'?>"),
    weights("JSON error", r"found a JSON text, expected", b'{"error": "Repository not found"}',
            b'\n {"error": "Not Found"}'),
    weights("a server's answer", r'found a text, expected .*; it begins with "Entry not', b"Entry not found"),
    weights("other formats", r"found (a GGUF file|an HDF5 file|a gzip archive|a NumPy array|a 7z archive), "
            r"expected a safetensors or PyTorch weights file", *(magic + bytes(40) for magic in (
                b"GGUF\3\0\0\0", b"\x89HDF\r\n\x1a\n", b"\x1f\x8b\x08\0", b"\x93NUMPY\1\0",
                b"7z\xbc\xaf\x27\x1c"))),

    weights("zip breaks off", r"no end record|incomplete", checkpoint()[:-30], checkpoint()[:150],
            checkpoint()[:40]),
    weights("zip of nothing", r"found 0 entries, expected", f.archive([]), f.archive([], zip64=False)),
    weights("two archives", r"found", 2 * checkpoint(), 2 * checkpoint(zip64=False)),
    weights("zip with a comment", r"no end record|comment", checkpoint()[:-2] + b"\3\0abc"),
    weights("no data.pkl", r"data\.pkl", f.archive([("a/data/0", f.ZEROS)])),
    weights("two data.pkl", r"data\.pkl.*(twice|outside)",
            f.archive([("a/data.pkl", f.program(GOOD))] * 2),
            f.archive([("a/data.pkl", f.program(GOOD)), ("b/data.pkl", b"")])),
    weights("data.pkl in no folder", r"data\.pkl", f.archive([("data.pkl", f.program(GOOD))])),
    weights("entry outside", r"a/data/\.\./x|\.\./x|/etc/passwd|C:", *(
        checkpoint(more=[(name, b"")]) for name in ("../x", "a/data/../x", "/etc/passwd", "C:/x"))),
    weights("code in the archive", r"x\.py|x\.so", checkpoint(more=[("a/x.py", b"")]),
            checkpoint(more=[("a/x.so", b"")])),
    weights("NUL in an entry's name", r"NUL", checkpoint(more=[(b"a/data/1\0.py", b"")])),
    weights("TorchScript", r"TorchScript", checkpoint(more=[("a/constants.pkl", b"")]),
            checkpoint(more=[("a/code/x.py", b"")])),
    weights("flags", r"a/data\.pkl.*flags 0x00[0-9]+", *(checkpoint(flags=bit)
                                                        for bit in (1, 0x20, 0x40))),
    weights("compressed", r"a/data\.pkl.*compressed", checkpoint(method=8), checkpoint(method=93)),
    weights("checksum", r'(entry "a/data\.pkl"|tensor "a": 48 bytes at \d+): found .*CRC.*, expected',
            checkpoint(crcs={"a/data.pkl": 1}), checkpoint(crcs={"a/data/0": 1})),
    weights("sizes that lie", r"a/data/0", *(checkpoint(lie={"a/data/0": n})
                                            for n in (2**63, 2**64 - 1, 44, 0))),
    weights("entries that lie", r"entries|directory|entry", *(checkpoint(count=n)
                                                       for n in (1, 3, 1 << 40, 0))),

    weights("opcode", r"byte \d+: opcode 0x[0-9A-F]+", *map(pickle, (
        b"\xff.", b"\x82\x01.", b"\x83\x01\x00.", b"(ios\nsystem\n.", b"(cos\nsystem\no.",
        b"cos\nsystem\n)}\x92.", b"\x97.", b"g-1\n.", b"I1\n."))),
    weights("stack", r"byte \d+: opcode 0x[0-9A-F]+.*(stack|MARK|mark|found)", *map(pickle, (
        b"R.", b"0.", b"]e.", b"t.", b"u.", b"2."))),
    weights("memo", r"byte \d+: .*memo", *map(pickle, (b"h\x05.", b"j\0\0\0\x80."))),
    weights("no STOP", r"STOP", pickle(b"}"), pickle(b""), pickle(b"}q\0")),
    weights("behind STOP", r"STOP", pickle(b"}.x"), pickle(GOOD + b".N.")),
    weights("arguments that break off", r"byte \d+", pickle(b"X\xff\xff\xff\x7fa."),
            pickle(b"\x8a\xff1."), pickle(b"cos\nsys")),
    weights("nesting", r"nest|64|stack", pickle(b"(" * 100000 + b"."), pickle(b"]" * 200000 + b".")),
    weights("calls of lists", r"found", pickle(b"])R."), pickle(b"}(K\1K\2u0]K\1K\2s.")),
    weights("hostile calls", r"found", *map(f.checkpoint, HOSTILE.values())),
    weights("negative numbers", NAME + r".*found (the integer -1, expected integers|a view from "
            "element -1)", tensor(size=(-1, 4)), tensor(stride=(-1, 1)), tensor(offset=-1)),
    weights("beyond its storage", NAME + r".*(storage|overflows)", tensor(size=(3, 5), stride=(5, 1)),
            tensor(offset=1), tensor(size=(2**40, 2**40)), tensor(stride=(2**62, 1))),
    weights("sizes and strides", NAME + r".*found", tensor(size=(3,), stride=(4, 1)),
            tensor(size=(1,) * 9, stride=(1,) * 9)),
    weights("arguments of a tensor", r'tensor "a".*found (0 arguments|None)', *(
        f.checkpoint(f.dict_of(a=f.called("torch._utils", "_rebuild_tensor_v2", *arguments)))
        for arguments in ((), (b"N",) * 4))),
    weights("views that overflow", NAME + r".*(overflows|storage)", *(
        tensor(size=size, stride=(2**63 - 1,) * 2, offset=offset) for size, offset in (
            ((4, 1), 0), ((3, 2), 0), ((3, 1), 2**63 - 1)))),
    weights("a view larger than its storage", NAME + r".*400 bytes expanded|1600 bytes expanded",
            tensor(size=(100, 4), stride=(0, 1))),
    weights("sizes that are none", NAME + r".*expected (integers|a storage and)", *(
        f.checkpoint(f.dict_of(a=f.called("torch._utils", "_rebuild_tensor_v2", *values)))
        for values in ((f.storage(), f.integer(0), b"N", b")"), (f.storage(), f.integer(0), b")",
                       f.tuple_of(b"N")), (f.storage(), b"N", b")", b")"), (b"N",) * 4))),
    weights("too many arguments", NAME + ".*found 8 arguments, expected 4", tensor(more=b"NN")),
    weights("an old tensor behind its storage", NAME + ".*storage",
            tensor(function="_rebuild_tensor", offset=1)),
    weights("a type that is none", NAME + ".*found the type .*expected one of",
            tensor(function="_rebuild_tensor_v3", more=b"ctorch\nqint8\n"),
            tensor(function="_rebuild_tensor_v3", more=b"N"),
            tensor(of=f.storage(kind="torch.storage\nUntypedStorage", elements=48))),
    weights("two types in a storage", r'tensor "b".*found (F32|I32) and (F32|I32) in one storage',
            f.checkpoint(f.dict_of(a=f.tensor(), b=f.tensor(of=f.storage(
                kind="torch\nIntStorage"))))),
    weights("a storage that is none", NAME + r'.*found the storage .*expected \("storage", type',
            *(tensor(of=of) for of in (
                f.tuple_of(f.text("storage")) + b"Q", b"NQ",
                f.tuple_of(f.text("x"), b"N", f.text("0"), b"N", f.integer(12)) + b"Q",
                f.tuple_of(b"N", b"N", f.text("0"), b"N", f.integer(12)) + b"Q",
                f.tuple_of(f.text("storage"), b"N", b"N", b"N", f.integer(12)) + b"Q",
                f.tuple_of(f.text("storage"), b"N", f.text("0"), b"N", b"N") + b"Q",
                f.storage(elements=-1), f.storage(more=b"NN")))),
    weights("a view of a storage", NAME + ".*found a view of a storage",
            tensor(of=f.storage(more=b"K\1"))),
    weights("a name that is none", r"found a tensor under .*expected a name of 1..1024 bytes", *(
        f.checkpoint(b"}(" + name + f.tensor() + b"u") for name in (
            f.text(""), b"K\5", b"X\1\0\0\0\xff", f.text("a\0b"), f.text("n" * 1025)))),
    weights("a parameter of nothing", NAME + ".*expected a dense tensor",
            *(f.checkpoint(f.dict_of(a=f.called(*call))) for call in (
                ("torch._utils", "_rebuild_parameter"), ("torch._utils",
                 "_rebuild_parameter_with_state"), ("torch._tensor", "_rebuild_from_type_v2")))),
    weights("a storage twice", r'a/data/0|storage "?0"?',
            checkpoint(more=[("a/data/0", f.ZEROS)])),
    weights("an entry with a long name", "found 5007 bytes of name, expected at most 1024",
            checkpoint(more=[("a/data/" + "1" * 5000, b"")])),
    weights("ZIP64 fields", r"a/data/0.*found", *(checkpoint(extras={"a/data/0": extra})
                                                  for extra in (
        b"", b"\1\0\4\0aaaa", b"\7\0\2\0xx", b"\7\0\xff\xff", b"\1\0\x10\0" + bytes(8)))),
    weights("storage missing", r'storage.*"?7"?', tensor(of=f.storage("7"))),
    weights("storage of another size", r'48|40', f.checkpoint(GOOD, data=bytes(40)),
            tensor(of=f.storage(elements=13))),
    weights("storage of another type", NAME + r".*|storage", tensor(of=f.storage(
        kind="torch\nQInt8Storage")), tensor(of=f.storage(kind="os\nsystem"))),
    weights("other tensors", NAME + r".*found", *(
        f.checkpoint(f.dict_of(a=f.called("torch._utils", kind, b"N", b"}"))) for kind in (
            "_rebuild_sparse_tensor", "_rebuild_qtensor", "_rebuild_meta_tensor_no_storage",
            "_rebuild_wrapper_subclass"))),
    weights("no tensors", r"found", f.checkpoint(b"]"), f.checkpoint(b"}"), f.checkpoint(b"K\5"),
            f.checkpoint(b"](" + GOOD + b"e")),
    weights("before 1.6: magic", r"magic", f.legacy(GOOD, magic=f.integer(5)), f.legacy(
        GOOD, magic=f.called("os", "system", f.text("touch ran"))), b"\x80\x02}."),
    weights("before 1.6: another magic", r"magic", f.legacy(GOOD, magic=b"\x8a\x0a" + b"1" * 10),
            f.legacy(GOOD, magic=b"\x8a\x0b" + b"1" * 11)),
    weights("before 1.6: version", r"protocol version.*1001", f.legacy(GOOD, version=b"K\5"),
            f.legacy(GOOD, version=f.text("1001"))),
    weights("before 1.6: system", r"little_endian", f.legacy(
        GOOD, system=f.dict_of(little_endian=b"\x89")), f.legacy(GOOD, system=b"]"),
        f.legacy(GOOD, system=f.dict_of(little_endian=b"K\1"))),
    weights("before 1.6: keys", r"storage keys: found .*expected (a list|a storage that)",
            f.legacy(GOOD, keys=b"}"), f.legacy(GOOD, keys=b"](K\0e"), f.legacy(GOOD, keys="7")),
    weights("before 1.6: storages", r'storage|behind', f.legacy(GOOD, keys=("0", "1")),
            f.legacy(GOOD, elements=13), f.legacy(GOOD, data=f.ZEROS[:-1]),
            f.legacy(GOOD, data=f.ZEROS + b"x"), f.legacy(GOOD, elements=-1)),

    inputs("shards missing", INDEX, r"x\.safetensors: found no such file",
           indexed({"a": "x.safetensors"})),
    inputs("shards elsewhere", INDEX, r"index\.json: .*found .*, expected",
           *(indexed({"a": name}) for name in ("../w", "/etc/passwd", "a/../../b", "", "a\0b"))),
    inputs("a tensor that its shard lacks", INDEX, r'\"?b\"?.*x\.safetensors|x\.safetensors.*"b"',
           indexed({"a": "x.safetensors", "b": "x.safetensors"}, x=one())),
    inputs("a tensor of another shard", INDEX, r"\"?a\"?",
           indexed({"a": "x.safetensors", "b": "y.safetensors"}, x=one(), y=two([0, 8], [8, 16]))),
    inputs("shards: limit shards=1", INDEX + " --limit shards=1", "found more than 1 shards",
           indexed({"a": "x.safetensors", "b": "y.safetensors"})),
    inputs("shards: limit shard-index=9", INDEX + " --limit shard-index=9",
           "found more than 9 bytes", indexed({"a": "x.safetensors"})),
    inputs("too many shards", INDEX, r"256", indexed({f"t{i}": f"{i}.bin" for i in range(300)})),
    contents("index", INDEX, r"/w\.index\.json: .*found", b"{}", b"[]", b'{"weight_map": []}',
             b'{"weight_map": {"a": 5}}', b'{"weight_map": {}}', b"", b'{"weight_map": {"a"',
             file="w.index.json"),
]
