"""Pictures, output directories, runs to go on with, locks, and shards to join."""

import io
import json
import os
import shutil
import socket
import struct
import zlib

import numpy
from PIL import Image

from rows import DEMO, Row, commands, contents, inputs, templates, text

IMAGES = f"blend --ensemble {DEMO} --out @/out --images @/in"
TENSOR = f"blend --ensemble {DEMO} --out @/out --images @/in.npy"
DRAW = f"generate --ensemble {DEMO} --models plain --prompts @/p.txt --steps 1 --size 64x64 "
MIX = f"optimize --ensemble {DEMO} --epochs 1 --out @/out "
RESUME = DRAW + "--out @/out --resume"
MERGE = "merge @/s0 @/s1 --out @/out"


def chunk(kind, data, crc=None):
    body = kind + data
    return (struct.pack(">I", len(data)) + body
            + struct.pack(">I", zlib.crc32(body) if crc is None else crc))


def png(width=8, height=8, depth=8, color=2, data=None, header=b"\0\0\0", more=b"", crc=None):
    rows = (b"\0" + bytes(3 * width)) * height if data is None and width * height < 1e6 else data
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBB", width, height, depth, color)
                                         + header) + more
            + chunk(b"IDAT", zlib.compress(rows or b""), crc) + chunk(b"IEND", b""))


def jpeg(width=8, height=8, parts=3):
    return (b"\xff\xd8\xff\xc0" + struct.pack(">HBHHB", 8 + 3 * parts, 8, height, width, parts)
            + b"\1\x11\0" * parts + b"\xff\xd9")


def saved(mode="RGB", sides=None, **options):
    """A JPEG of noise; `sides` are what its header says."""
    stream = io.BytesIO()
    noise = numpy.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=numpy.uint8)
    Image.fromarray(noise).convert(mode).save(stream, "JPEG", **options)
    data = bytearray(stream.getvalue())
    frame = data.find(b"\xff\xc2" if options.get("progressive") else b"\xff\xc0")
    if sides:
        data[frame + 5:frame + 9] = struct.pack(">HH", *reversed(sides))
    return bytes(data)


def pictures(name, pattern, *given, begun=False):
    return inputs("picture: " + name, IMAGES, r"/in/a/\w+\.png: .*(" + pattern + ")", *(
        {f"in/a/{model}.png": data for model in ("plain", "poster", "watercolour")}
        for data in given), begun=begun)


def npy(header, data=bytes(24), version=b"\1\0"):
    head = header.encode().ljust(118) + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H", len(head)) + head + data


def dictionary(shape=(1, 2, 2, 2, 3), descr="|u1", order=False, more=""):
    return f"{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}{more}}}"


def tensor(name, pattern, *given):
    return contents("image tensor: " + name, TENSOR, r"/in\.npy: .*(" + pattern + ")", *given,
                    file="in.npy")


def run(change=None, name="out", template="run", prompts=b"a cat\na dog\n"):
    """The finished run, after `change` of its folder."""
    def make(folder):
        shutil.copytree(templates[template], folder / name)
        (folder / "p.txt").write_bytes(prompts)
        if change:
            change(folder / name)
    return make


def record(edit):
    """Changes its run.json, or puts bytes in its place."""
    def change(out):
        path = out / "run.json"
        if callable(edit):
            document = json.loads(path.read_text())
            edit(document)
            path.write_bytes(text(document))
        else:
            path.write_bytes(edit)
    return change


def resumes(name, pattern, *changes, command=RESUME, status=3):
    return inputs("resume: " + name, command, pattern, *map(run, changes), status=status)


def set_path(*path, to):
    def edit(document):
        for key in path[:-1]:
            document = document[key]
        document[path[-1]] = to
    return record(edit)


def held_by(pid, host=None, **more):
    lock = {"program": "diffens", "host": host or socket.gethostname(), "pid": pid, "boot": "",
            "started": "", "job": "", "restarts": 0} | more
    return lambda out: (out / "run.lock").write_bytes(text(lock))


def linked(folder):
    """A finished run that made a config too, links to it and to its tensor."""
    run(record(lambda document: document["files"].append("c.json")))(folder)
    (folder / "out/c.json").write_bytes(b"{}")
    (folder / "link").symlink_to("out")
    (folder / "tensor").symlink_to("out/images.npy")


def shards(second=None, first=None):
    def make(folder):
        for i, change in enumerate((first, second)):
            shutil.copytree(templates[f"s{i}"], folder / f"s{i}")
            if change:
                change(folder / f"s{i}")
    return make


def merges(name, pattern, *changes):
    return inputs("merge: " + name, MERGE, pattern, *map(shards, changes))


def altered(name):
    def change(out):
        with open(out / name, "r+b") as file:
            file.seek(-20, os.SEEK_END)
            file.write(bytes(20))
    return change


ROWS = [
    contents("image tensor: limit", TENSOR + " --limit image-side=39", r"/in\.npy: shape: found "
             r"\(1, 1, 32, 40, 3\), expected .* 1\.\.39$",
             npy(dictionary((1, 1, 32, 40, 3)), bytes(32 * 40 * 3)), file="in.npy"),
    contents("picture: limit", IMAGES + " --limit image-pixels=63", r"/in/a/plain\.png: size: found "
             r"8 x 8, expected sides of 1\.\.16384 and at most 63 pixels", png(),
             file="in/a/plain.png"),
    pictures("empty", r"an empty file", b""),
    pictures("another format", r"found (a GIF|a WebP|an SVG|a PSD|a HEIC|a TIFF|a BMP|a JPEG 2000|a JPEG XL)"
             r".*expected PNG or JPEG", b"\0\0\0\x0cjP  \r\n\x87\n", b"\0\0\0\x0cJXL \r\n\x87\n", b"GIF89a" + bytes(20), b"RIFF\0\0\0\0WEBP", b"<svg/>", b"8BPS",
             b"\0\0\0\x18ftypheic", b"BM" + bytes(20), b"II*\0" + bytes(20)),
    pictures("no format", r"found .*, expected PNG or JPEG", b"x", bytes(100), b"P6 1 1 255 abc"),
    pictures("PNG breaks off", r"incomplete|end of file", b"\x89PNG\r\n\x1a\n", png()[:20],
             png()[:-12], png()[:-30]),
    pictures("PNG: sides", r"found", png(0, 8), png(8, 0), png(20000, 1), png(1, 16385),
             png(10000, 10000), png(2**31 - 1, 2**31 - 1)),
    pictures("PNG: kinds", r"PNG: found (depth \d of colour type \d|another compression, filter or "
             "interlacing|no palette|a chunk that pixels depend on)", png(depth=3), png(color=5),
             png(depth=0), png(color=3), png(header=b"\1\0\0"), png(header=b"\0\1\0"),
             png(header=b"\0\0\2"), png(more=chunk(b"ABCD", b""))),
    pictures("PNG: checksum", r"found a chunk of another CRC", png(crc=1)),
    pictures("PNG: data", r"found data of \d rows, expected all of 8 x 8 pixels", png(data=b""),
             png(data=b"\0" * 10), png(data=bytes(199))),
    pictures("PNG: other data", r"PNG: (row 0: found filter 9|found more data|found damaged data)",
             png(data=b"\x09" + bytes(199)), png(data=bytes(201)),
             png(more=chunk(b"IDAT", b"no zlib stream"))),
    pictures("PNG: a palette that is none", r"found a damaged picture \(.*\), expected a whole PNG",
             png(color=3, data=bytes(72), more=chunk(b"PLTE", b"ab")), begun=True),
    pictures("PNG: chunks", r"found", png(more=struct.pack(">I", 2**31) + b"tEXt")),
    pictures("JPEG breaks off", r"found|incomplete|end", b"\xff\xd8\xff", jpeg()[:8], jpeg()),
    pictures("JPEG of nothing", r"found a damaged picture \(.*\), expected a whole JPEG", jpeg(0, 8)),
    pictures("JPEG: sides", r"size: found (20000 x 1|16384 x 16384), expected sides of 1\.\.16384 and at most",
             saved(sides=(20000, 1)), saved(sides=(16384, 16384))),
    pictures("JPEG: CMYK", r"found CMYK, expected grey or RGB", saved("CMYK")),
    pictures("JPEG: data", r"JPEG: found (no marker of its end|\d+ bytes, expected at least 131072)", saved()[:-2],
             saved()[:-200], saved(sides=(8192, 8192)), saved(sides=(8192, 8192), progressive=True)),
    inputs("picture: 300 MiB", IMAGES, r"plain\.png: found .* bytes, expected at most", lambda d: [
        (d / "in/a").mkdir(parents=True), *(os.truncate(os.open(d / f"in/a/{m}.png", os.O_CREAT |
         os.O_WRONLY), 300 << 20) for m in ("plain", "poster", "watercolour"))] and None),
    inputs("pictures missing", IMAGES, r"/in: .*No such file", {}),
    inputs("pictures: none", IMAGES, r"/in: found 0 cases", {"in/readme.txt": b"x"},
           lambda folder: (folder / "in").mkdir()),
    inputs("pictures: not by every model", IMAGES, r"/in/b.*found no picture poster\.png",
           {"in/a/plain.png": png(), "in/a/poster.png": png(), "in/b/plain.png": png()}),
    inputs("pictures: by one more model", IMAGES, r'/in/b: found a picture "poster"',
           {"in/a/plain.png": png(), "in/b/plain.png": png(), "in/b/poster.png": png()}),
    inputs("pictures: two of a name", IMAGES, r"/in/a: found poster\.jpg and poster\.png, expected one",
           {"in/a/plain.png": png(), "in/a/poster.png": png(), "in/a/poster.jpg": saved()}),
    inputs("pictures of other sizes", IMAGES + " --pair plain,poster",
           r"found 8 x 16 pixels|found 16 x 8 pixels",
           {"in/a/plain.png": png(), "in/a/poster.png": png(16, 8)}),
    inputs("pictures of other models", IMAGES + " --pair plain,nobody", r'"nobody", expected',
           {"in/a/plain.png": png(), "in/a/poster.png": png()}, status=2),
    inputs("picture: a directory", IMAGES, r"plain\.png: found a directory", lambda folder: [
        (folder / f"in/a/{m}.png").mkdir(parents=True) for m in ("plain", "poster")] and None),
    inputs("start: missing", f"optimize --ensemble {DEMO} --out @/out --prompt x --seed @/s.png",
           r"/s\.png: found no such file", {}),
    contents("start: no picture", f"optimize --ensemble {DEMO} --out @/out --prompt x --seed "
             "@/s.png", r"/s\.png: found .*expected PNG or JPEG", b"GIF89a", file="s.png"),

    tensor("no signature", r"found|end of file", b"", b"\x93NUMP", b"x" * 200),
    tensor("version", r"version: found", npy(dictionary(), version=b"\3\0")),
    tensor("type", r"descr: found .*, expected", npy(dictionary(descr="<f4")),
           npy(dictionary(descr="|O")), npy(dictionary(descr="|i1"))),
    tensor("order", r"fortran_order: found", npy(dictionary(order=True))),
    tensor("shape", r"shape: found", *(npy(dictionary(shape=s)) for s in (
        "(1, 2, 2, 2)", "(1, 2, 2, 2, 4)", "(0, 2, 2, 2, 3)", "(1, 2, 20000, 2, 3)"))),
    tensor("too many models to blend", r"found 1 cases and 129 models, expected at most 100000 and 128",
           npy(dictionary(shape=(1, 129, 2, 2, 3)), data=bytes(129 * 12))),
    contents("image tensor: too many models to optimise", f"optimize --ensemble {DEMO} --out @/out "
             "--images @/in.npy", r"^optimize: found 33 models, expected 1\.\.32$",
             npy(dictionary(shape=(1, 33, 2, 2, 3)), data=bytes(33 * 12)), file="in.npy", status=2),
    tensor("header", r"header( length)?: found", npy(dictionary(shape="(-1, 2, 2, 2, 3)")),
           npy(dictionary(shape="(99999999999999999999, 2, 2, 2, 3)")), npy("{'descr': '|u1'}"), npy("[1]"), npy(dictionary(more=", 'x': 1")),
           npy(dictionary())[:20]),
    tensor("short and long", r"found .*bytes|short|expected", npy(dictionary(), data=bytes(23)),
           npy(dictionary(), data=bytes(25)), npy(dictionary(shape="(1000000, 2, 2, 2, 3)"))),

    commands("output's parent missing", r"/no/out: .*No such file", DRAW.replace("@/p.txt", "@/p.txt")
             + "--out @/no/out", files={"p.txt": b"x"}, status=4),
    commands("output is a file", r"/p\.txt: .*Not a directory", DRAW + "--out @/p.txt",
             DRAW + "--out @/p.txt --force", DRAW + "--out @/p.txt --resume", files={"p.txt": b"x"},
             status=4),
    commands("output within a file", r"/p\.txt/out: .*Not a directory", DRAW + "--out @/p.txt/out",
             files={"p.txt": b"x"}, status=4),
    commands("output's name too long", r"File name too long", DRAW + "--out @/" + "n" * 300,
             DRAW + "--out @/" + "n/" * 3000, files={"p.txt": b"x"}, status=4),
    commands("output in /proc", r"/proc/.*out: ", DRAW + "--out /proc/out", files={"p.txt": b"x"},
             status=4),
    commands("output where nobody may make anything", r"/sys/out: cannot make the folder: (Operation not "
             "permitted|Permission denied|Read-only file system)", DRAW + "--out /sys/out",
             files={"p.txt": b"x"}, status=4),
    inputs("output behind a link to nothing", DRAW + "--out @/out", r"/out: .*File exists|/out: .*No such",
           lambda d: (d / "p.txt").write_bytes(b"x") and (d / "out").symlink_to("nowhere"), status=4),
    inputs("output holds a run", DRAW + "--out @/out", r"/out: found another run, expected", run()),
    inputs("output holds somebody's files", DRAW + "--out @/out", r"/out/(figure\.png|report\.html|images\.npy|"
           r"images/000_plain\.png): found a file that is no run's, expected none", *(
               {"p.txt": b"x", "out/" + name: b"mine"} for name in (
                   "figure.png", "report.html", "images.npy", "images/000_plain.png"))),
    inputs("output holds a broken record", DRAW + "--out @/out --force", r"/out/run\.json: (line 1|\$).*: found",
           *(run(record(data)) for data in (b"{", b"[]", b'{"format": 99}'))),
    Row("output holds what is read", 2, r"^--out: found the directory (that --images reads|whose run "
        r"made what --(images|prompts|config|seed) reads), expected another$",
        [(MIX + f"{more} {how}", linked, {}) for how in ("", "--force", "--resume") for more in (
            "--images @/out", "--images @/link", "--images @/out/", "--images @/out/images.npy",
            "--images @/out/images", "--images @/tensor",
            "--prompt x --seed @/out/images/000_plain.png", "--prompt x --seed @/link/figure.png",
            "--prompts @/out/report.html", "--prompt x --config @/out/c.json")]),
    commands("log cannot be written", r"/no/l: .*No such file", DRAW + "--out @/out --log @/no/l",
             files={"p.txt": b"x"}, status=4),
    commands("log is a directory", r": .*Is a directory", DRAW + "--out @/out --log @",
             files={"p.txt": b"x"}, status=4),

    resumes("other options", r"/out: found another run there: \$\.options\.steps was number 1, now "
            "number 2", None, command=RESUME.replace("--steps 1", "--steps 2")),
    resumes("other seed", r"\$\.options\.random-seed was number 42, now number 7", None,
            command=RESUME + " --random-seed 7"),
    inputs("resume: other prompts", RESUME, r"/out: found another run there: \$\.c(ase|ell)s",
           run(prompts=b"a cat\na bird\n"), run(prompts=b"a cat\n"), run(prompts=b"a dog\na cat\n")),
    resumes("other models", r"\$\.(options\.)?models", None,
            command=RESUME.replace("plain", "poster")),
    resumes("other command", r"\$\.command was string \"generate\", now string \"blend\"|command", None,
            command=RESUME.replace("generate", "blend") + " --weights 1"),
    resumes("picture altered", r"/images/000_plain\.png: sha256: found \w{64}, expected \w{64}",
            altered("images/000_plain.png"), lambda out: (out / "images/000_plain.png").write_bytes(b"")),
    resumes("figure altered", r"/figure\.png: sha256: found", altered("figure.png")),
    resumes("picture is a directory", r"/images/000_plain\.png: found a directory", lambda out: [
        (out / "images/000_plain.png").unlink(), (out / "images/000_plain.png").mkdir()]),
    resumes("record: syntax", r"/run\.json: line \d+, column \d+", record(b""), record(b"{"),
            record(b'{"program": "diffens"'), record(b"\0" * 100)),
    resumes("record: another kind", r"/run\.json: .*found", record(b"[]"), record(b"{}"),
            record(b'{"program": "other"}')),
    resumes("record: cells", r"/run\.json: .*cells.*found",
            set_path("cells", to={}), set_path("cells", 0, to=5)),
    resumes("record: a cell's file", r"/run\.json: .*cells\[0\]\.file.*found", *(
        set_path("cells", 0, "file", to=v) for v in ("../../etc/passwd", "/etc/passwd", 5, ""))),
    resumes("record: a cell's hash", r"/run\.json: .*cells\[0\]\.sha256.*found", *(
        set_path("cells", 0, "sha256", to=v) for v in ("x", "0" * 63, 5))),
    resumes("record: fewer cells", r"/out: found another run there: \$\.cells was an array of 0",
            set_path("cells", to=[])),
    resumes("record: states", r"/run\.json: \$\.(cells\[0\]\.)?state: found number 1, expected",
            set_path("cells", 0, "state", to=1), set_path("state", to=1)),
    resumes("record: format", r"/run\.json: \$\.format: found .*, expected", set_path("format", to=99),
            set_path("format", to=0), set_path("format", to="x")),
    resumes("record: seeds", r"another run there: .*seed|/run\.json: .*seed", set_path(
        "cells", 0, "seed", to=7), set_path("cells", 0, "seed", to="x")),
    resumes("record is a link in a circle", r"/run\.json: .*Too many levels|run\.json", lambda out: [
        (out / "run.json").unlink(), (out / "run.json").symlink_to("run.json")]),
    resumes("record is a directory", r"/run\.json: found a directory", lambda out: [
        (out / "run.json").unlink(), (out / "run.json").mkdir()]),
    resumes("journal is a directory", r"/run\.journal: found a directory", lambda out: [
        set_path("state", to="running")(out), (out / "run.journal").mkdir()]),

    resumes("lock held here", rf"/run\.lock: held by process 1 on host", held_by(1), status=8),
    resumes("lock held elsewhere", r"/run\.lock: held by process 77 on host elsewhere",
            held_by(77, "elsewhere"), status=8),
    resumes("lock with colours", r"held by process 77 on host \\x1B\[31m", held_by(77, "\x1b[31m"),
            status=8),
    resumes("lock unreadable", r"/run\.lock: .*expected no other live run", *(
        lambda out, data=data: (out / "run.lock").write_bytes(data)
        for data in (b"", b"{", b"[]", b"{}", b'{"pid": "x"}', b"x" * 5000)), status=8),
    resumes("lock is a directory", r"/run\.lock: ", lambda out: (out / "run.lock").mkdir(), status=8),

    merges("unfinished", r'/s1: state: found "(stopped|running)", expected "complete"',
           set_path("state", to="stopped"), set_path("state", to="running")),
    merges("other options", r"/s1: found another run than in .*/s0: \$\.options\.steps",
           set_path("options", "steps", to=5)),
    merges("the same shard twice", r"/s1: found shard 0/2, expected each once",
           set_path("shard", "index", to=0)),
    merges("another count", r"/s1: shard\.count: found 1, expected 2|/s1.*shard.*found", set_path("shard", "count", to=1)),
    merges("other cases", r"/s1: shard\.cases: found 9, expected 2", set_path("shard", "cases", to=9)),
    merges("no shard", r"/s1/run\.json: .*shard: found none, expected", record(lambda r: r.pop("shard"))),
    merges("place beyond the count", r"/s1.*shard.*found", set_path("shard", "index", to=2),
           set_path("shard", "index", to=-1), set_path("shard", to=5)),
    merges("cells missing", r"/s1: cells: found", record(lambda r: r["cells"].pop())),
    merges("other weights", r"/s1: ensemble\.networks\[0\]\.files\[0\]\.sha256: found 0{64}",
           set_path("ensemble", "networks", 0, "files", 0, "sha256", to="0" * 64)),
    merges("no record", r"/s1: found no run\.json", lambda out: (out / "run.json").unlink()),
    merges("record: syntax", r"/s1/run\.json: line", record(b"{"), record(b"")),
    merges("tensor of another shape", r"/s1/images\.npy: shape: found", lambda out: numpy.save(
        out / "images.npy", numpy.zeros((1, 1, 8, 8, 3), numpy.uint8))),
    merges("tensor gone", r"/s1/images\.npy: found no such file", lambda out: (
        out / "images.npy").unlink()),
    inputs("merge: one missing", "merge @/s1 --out @/out", r"found 1 of 2 shards.*0/2 is missing",
           shards()),
    inputs("merge: not a directory", "merge @/s0 @/f --out @/out", r"/f.*(Not a directory|no run\.json)",
           lambda folder: shards()(folder) or (folder / "f").write_bytes(b"x") and None),
    *(inputs(f"merge: into {out} {how}", f"merge @/s0 @/s1 --out @/{out} {how}",
             r"^--out: found a directory that is to be merged, expected another$",
             lambda folder: shards()(folder) or (folder / "link").symlink_to("s1"), status=2)
      for how in ("", "--force") for out in ("s1", "link")),
    inputs("merge: nothing to animate", MERGE + " --animate gif", r"^--animate: found a run of generate, "
           r"expected one of blend or optimize$", shards(), status=2),
    Row("inspect: no record", 3, r"/f: .*found", [("inspect @/f", {"f": data}, {}) for data in (
        b"", b"x", png())]),
    Row("inspect: a broken record", 3, r"/run\.json: ", [("inspect @/out", run(record(data)), {})
                                                        for data in (b"{", b"[]", b"{}")]),
]
