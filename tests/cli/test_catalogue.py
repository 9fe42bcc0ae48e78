"""The catalogue of bad input, through the program: what each gets is one line that says
file, field, found and expected, the right exit status, and nothing in the output directory.
Weight files have theirs in tests/unit. A row: name, command, status, pattern, files to
make. In commands `@` is the row's folder, where the files are and the program runs."""

import concurrent.futures
import json
import os
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("DIFFENS_BUILD", ROOT / "build")).resolve()
DEMO = ROOT / "models/demo"
DRAW = f"generate --ensemble {DEMO} --out @/out "
PROMPTS = DRAW + "--prompts @/p.json"
IMAGES = f"blend --ensemble {DEMO} --out @/out --images @/in"

COMMAND_LINES = [
    ("unknown option", "blend --promt x", r"--promt"),
    ("option of another command", "generate --prompt x --gamma 0.3", r"--gamma"),
    ("unknown command", "blnd", r"blnd"),
    ("no value", "generate --prompt", r"--prompt: found no value"),
    ("value for a flag", "generate --resume=1 --prompt x", r"--resume: found value \"1\""),
    *[(f"steps {v!r}", ["generate", "--prompt", "x", "--steps", v],
       r"--steps: found .*expected .*1\.\.1000|--steps: found .*1 to 1000")
      for v in ("0", "-1", "1e9", "12x", "", " 5", "0x10", "+5", "1001")],
    ("width", "generate --prompt x --size 64x513", r"--size: found \"64x513\", .*multiple"),
    ("size alone", "generate --prompt x --size 64", r"--size: found \"64\""),
    ("seed beyond 64 bits", "generate --prompt x --random-seed 18446744073709551616",
     r"--random-seed: found"),
    ("negative seed", "generate --prompt x --random-seed=-1", r"--random-seed: found"),
    ("guidance nan", "generate --prompt x --guidance nan", r"--guidance: found \"nan\""),
    ("guidance inf", "generate --prompt x --guidance 1e999", r"--guidance: found"),
    ("gamma beyond one", "blend --prompt x --gamma 1.5", r"--gamma: found \"1.5\""),
    ("gamma range of none", "blend --prompt x --gamma 0:1:0", r"--gamma: found"),
    ("weights that are negative", "blend --prompt x --weights=-1,2", r"--weights: found"),
    ("weights nan", "blend --prompt x --weights nan,1", r"--weights: found"),
    ("weights too few", f"blend --ensemble {DEMO} --prompt x --weights 1", r"--weights: found"),
    ("twice", "generate --prompt x --steps 2 --steps 3", r"--steps: given twice"),
    ("resume and force", "generate --prompt x --out @/out --resume --force",
     r"--resume.*--force|--force.*--resume"),
    ("prompt and prompts", "generate --prompt x --prompts @/p", r"--prompts?.*--prompt"),
    ("unknown scheduler", "generate --prompt x --scheduler pndn", r"--scheduler: found \"pndn\""),
    ("unknown layer", "blend --prompt x --layer prequnt", r"--layer: found \"prequnt\""),
    ("seed that is a number", "optimize --seed 42", r"--seed"),
    ("crops", "optimize --crops 0x1", r"--crops: found \"0x1\""),
    ("control characters", ["generate", "--prompt", "x", "--dtype", "\x1b[31m\n"],
     r"--dtype: found \"\\x1B\[31m\\x0A\""),
    ("unknown model", f"generate --prompt x --ensemble {DEMO} --models nobody", r"\"nobody\""),
]

TEXTS = {
    "empty": (b"", r"end of file"),
    "white space": (b" \n\t", r"line 2.*end of file"),
    "byte-order mark alone": (b"\xef\xbb\xbf", r"end of file"),
    "not a value": (b"[a]", r"line 1, column 2: found"),
    "open array": (b'["a",\n', r"line 2, column 1: found end of file"),
    "trailing comma": (b'["a",]', r"line 1, column 6"),
    "trailing garbage": (b'"a" x', r"line 1, column 5"),
    "number": (b"5", r"\$|found number 5"),
    "null": (b"null", r"found null"),
    "number for a prompt": (b'["a", 5]', r"\$\[1\]: found number 5, expected"),
    "number in an object": (b'{"prompts": ["a"], "negative": 5}', r"\$\.negative: found number 5"),
    "unknown field": (b'{"prompts": ["a"], "sead": [1]}', r"\$.*sead"),
    "no prompts": (b'{"negative": "x"}', r"prompts"),
    "key twice": (b'{"prompts": "a", "prompts": "b"}', r"prompts.*twice"),
    "depth 65": (b"[" * 65 + b"]" * 65, r"64"),
    "depth 100,000": (b"[" * 100000, r"64"),
    "empty list": (b"[]", r"\$: found an array of 0|empty"),
    "rows of other lengths": (b'[["a","b","c"],["a"]]', r"\$\[1\]"),
    "seed 1.5": (b'{"prompts": ["a"], "seeds": [1.5]}', r"\$\.seeds\[0\]: found number 1\.5"),
    "seed 1e400": (b'{"prompts": ["a"], "seeds": [1e400]}', r"\$\.seeds\[0\]: found number 1e400"),
    "seed of 64 digits": (b'{"prompts": ["a"], "seeds": [' + b"9" * 64 + b"]}",
                          r"\$\.seeds\[0\]: found"),
    "negative seed": (b'{"prompts": ["a"], "seeds": [-1]}', r"\$\.seeds\[0\]: found number -1"),
    "too many seeds": (b'{"prompts": ["a"], "seeds": [1, 2]}', r"\$\.seeds: found an array of 2"),
    "name twice": (b'{"prompts": ["a","b"], "names": ["x","x"]}', r"\$\.names: found \"x\" at \[0\] and"),
    **{f"name {n}": (json.dumps({"prompts": ["a"], "names": [n]}).encode(),
                     r"\$\.names\[0\]: found")
       for n in ("a/b", "..", "/etc", "", "-x", "a\nb", "n" * 256)},
    "NUL": (b'["a\\u0000b"]', r"line 1, column"),
    "half a surrogate": (b'["\\ud800"]', r"line 1, column"),
    "not UTF-8": (b'["\xff"]', r"line 1, column"),
    "long prompt": (b'"' + b"a" * 65537 + b'"', r"65536|64 KiB"),
}

PICTURES = {
    "empty": (b"", r"an empty file"), "GIF": (b"GIF89a", r"a GIF"),
    "WebP": (b"RIFF\0\0\0\0WEBP", r"a WebP"), "SVG": (b"<svg/>", r"an SVG"),
    "PSD": (b"8BPS", r"a PSD"), "HEIC": (b"\0\0\0\x18ftypheic", r"HEIC"),
    "PNG of its magic": (b"\x89PNG\r\n\x1a\n", r"incomplete|end of file"),
    "JPEG of its magic": (b"\xff\xd8\xff", r"found"),
}

ROWS = [
    *[(f"command line: {name}", words, 2, pattern, {}) for name, words, pattern in COMMAND_LINES],
    ("prompts missing", PROMPTS, 3, r"p\.json: .*No such file", {}),
    ("prompts are a directory", DRAW + "--prompts @", 3, r"regular file|directory", {}),
    ("prompts are a device", DRAW + "--prompts /dev/zero", 3, r"/dev/zero: .*regular file", {}),
    *[(f"prompts: {name}", PROMPTS, 3, r"/p\.json: .*(" + pattern + ")", {"p.json": data})
      for name, (data, pattern) in TEXTS.items()],
    *[(f"picture: {name}", IMAGES, 3, r"plain\.png: .*(" + pattern + ")",
       {"in/a/plain.png": data, "in/a/poster.png": data, "in/a/watercolour.png": data})
      for name, (data, pattern) in PICTURES.items()],
    ("pictures missing", IMAGES, 3, r"/in: .*No such file", {}),
    ("output's parent missing", f"generate --ensemble {DEMO} --prompt x --out @/no/out", 4,
     r"/no/out", {}),
    ("output is a file", f"generate --ensemble {DEMO} --prompt x --out @/f", 4, r"/f",
     {"f": b"x"}),
    ("log cannot be written", f"generate --ensemble {DEMO} --prompt x --out @/out --log @/no/l",
     4, r"/no/l", {}),
    ("config missing", "generate --config @/c.json", 3, r"c\.json", {}),
    ("config with an unknown option", "generate --config @/c.json", 3, r"\$.*promt",
     {"c.json": b'{"promt": "x"}'}),
    ("config with a wrong value", "generate --config @/c.json", 3, r"\$\.steps",
     {"c.json": b'{"prompt": "x", "steps": 0}'}),
    ("ensemble missing", DRAW.replace(str(DEMO), "@/e") + "--prompt x", 3, r"/e", {}),
    ("ensemble without diffusers", DRAW.replace(str(DEMO), "@/e.json") + "--prompt x", 3,
     r"e\.json: .*diffusers", {"e.json": b'{"name": "e"}'}),
    ("ensemble with a typo", DRAW.replace(str(DEMO), "@/e.json") + "--prompt x", 3,
     r"e\.json: .*diffuser", {"e.json": b'{"name": "e", "diffuser": []}'}),
]


def run(folder, row):
    _, command, _, _, files = row
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    words = command.split() if isinstance(command, str) else command
    words = [word.replace("@", str(folder)) for word in words]
    return subprocess.run([BUILD / "diffens", *words], cwd=folder, timeout=120,
                          capture_output=True, stdin=subprocess.DEVNULL,
                          env={**os.environ, "DIFFENS_MODELS": str(ROOT / "models")})


@pytest.fixture(scope="module")
def started(request, tmp_path_factory):
    """Each row's folder and result to be; two at a time."""
    wanted = {item.callspec.params["row"][0] for item in request.session.items
              if item.module is request.module}
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        runs = {}
        for row in ROWS:
            if row[0] in wanted:
                folder = tmp_path_factory.mktemp("row")
                runs[row[0]] = folder, pool.submit(run, folder, row)
        yield runs


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_refusal(started, row):
    name, _, status, pattern, files = row
    folder, future = started[name]
    result = future.result()
    lines = result.stderr.decode().splitlines()
    errors = [i for i, line in enumerate(lines) if line.startswith("diffens: error: ")]
    assert result.returncode == status, lines
    assert len(errors) == 1 and len(lines) - errors[0] <= 2, lines
    assert re.search(pattern, lines[errors[0]]), lines
    assert all(line.isprintable() for line in lines), lines
    assert {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()} == set(files)
    assert not (folder / "out").exists()
