"""Prompts: JSON and text files."""

import os

from rows import DEMO, commands, contents, inputs, text

DRAW = f"generate --ensemble {DEMO} --out @/out --prompts "
JSON = DRAW + "@/p.json"
LINES = DRAW + "@/p.txt"


def prompts(name, pattern, *given):
    return contents("prompts: " + name, JSON, r"/p\.json: .*(" + pattern + ")", *given,
                    file="p.json")


def lines(name, pattern, *given):
    return contents("prompts, a line each: " + name, LINES, r"/p\.txt: .*(" + pattern + ")",
                    *given, file="p.txt")


def with_names(*names):
    return text({"prompts": ["a"] * len(names), "names": names})


def lowered(limit, pattern, *given):
    """What would be right is over a limit that was lowered."""
    return contents("prompts: limit " + limit, JSON + " --raw-prompts --limit " + limit,
                    r"/p\.json: .*(" + pattern + ")", *given, file="p.json")


ROWS = [
    lowered("prompts=8", "found more than 8 bytes, expected at most that", b'["a", "b"]'),
    lowered("json-values=2", "found more than 2 values, expected at most that", b'["a","b"]'),
    lowered("cases=1", "found an array of 2, expected an array of 1", b'["a","b"]'),
    lowered("prompt=3", r"\$\[1\]: found 4 bytes, expected at most 3", b'["abc","abcd"]'),
    commands("templates: limit prompt=20", r"case 0: found \d\d bytes, expected at most 20",
             DRAW.replace(" --prompts ", "") + " --prompt a-prompt-of-20-bytes --limit prompt=20",
             status=3),
    commands("prompts missing", r"/p\.json: found no such file", JSON, status=3),
    commands("prompts of another kind", r"found a (directory|device), expected a regular file",
             DRAW + "@", DRAW + "/dev/zero", DRAW + "/dev/null", status=3),
    inputs("prompts in a FIFO", JSON, r"/p\.json: found a FIFO, expected a regular file",
           lambda folder: os.mkfifo(folder / "p.json")),
    inputs("prompts behind links in a circle", JSON, r"/p\.json: open: Too many levels",
           lambda folder: (folder / "p.json").symlink_to("p.json")),
    inputs("prompts, a line each, by another name", DRAW + "@/p.csv", r"/p\.csv: line 1, column 1: found 'a'",
           {"p.csv": b"a cat\na boat\n"}),
    prompts("nothing", r"line \d+.*found end of file, expected", b"", b" \n\t", b"\xef\xbb\xbf"),
    prompts("no value", r"line 1, column \d+: found", b"[a]", b"'a'", b"[\"a\" \"b\"]", b"tru"),
    prompts("breaks off", r"line 2, column 1: found end of file", b'["a",\n', b'{"prompts":\n'),
    prompts("a comma too many", r"line 1, column 6", b'["a",]'),
    prompts("something behind", r"line 1, column 5", b'"a" x', b'"a" "b"'),
    prompts("another kind", r"\$: found (number 5|null|true), expected", b"5", b"null", b"true"),
    prompts("a prompt of another kind", r"\$\[1\]: found (number 5|null|an object), expected",
            b'["a", 5]', b'["a", null]', b'["a", {}]'),
    prompts("a column of another kind", r"\$\[0\]\[1\]: found number 5, expected",
            b'[["a", 5, "c"]]'),
    prompts("negative of another kind", r"\$\.negative: found number 5",
            b'{"prompts": ["a"], "negative": 5}'),
    prompts("unknown field", r'\$\.sead: found an unknown field, expected "seeds"',
            b'{"prompts": ["a"], "sead": [1]}'),
    prompts("unknown field of another kind", r"\$\.zzzzzz: found an unknown field, expected one of prompts, ",
            b'{"prompts": ["a"], "zzzzzz": [1]}'),
    prompts("no prompts", r"\$: found no field \"prompts\", expected",
            b'{"negative": "x"}', b"{}"),
    prompts("a key twice", r"\$\.prompts: found this key twice, expected it once", b'{"prompts": "a", "prompts": "b"}'),
    prompts("too deep", r"64", b"[" * 65 + b"]" * 65, b"[" * 100000, b'{"a":' * 100000),
    prompts("an empty list", r"\$(\.prompts)?: found an array of 0, expected", b"[]", b'{"prompts": []}'),
    prompts("rows of other lengths", r"\$\[1\]: found an array of \d, expected",
            b'[["a","b","c"],["a"]]', b'[["a","b","c"],["a","b","c","d"]]'),
    prompts("rows of no model", r"\$\[0\]: found 2 prompts, expected 3, a column per model", b'[["a","b"]]'),
    prompts("a seed of another kind", r"\$\.seeds\[0\]: found (number|a string|string)",
            *(b'{"prompts": ["a"], "seeds": [' + seed + b"]}"
              for seed in (b"1.5", b"1e400", b"9" * 64, b"-1", b"18446744073709551616", b'"1"'))),
    prompts("seeds too many", r"\$\.seeds: found an array of 2, expected an array of 1",
            b'{"prompts": ["a"], "seeds": [1, 2]}'),
    prompts("names too few", r"\$\.names: found an array of 1, expected an array of 2",
            b'{"prompts": ["a", "b"], "names": ["x"]}'),
    prompts("a name twice", r'\$\.names: found "x" at \[0\] and at \[1\], expected different',
            with_names("x", "x")),
    prompts("unsafe name", r"\$\.names\[0\]: found .*, expected",
            *map(with_names, ("a/b", "..", ".", "/etc", "", "-x", "a\nb", "n" * 256, "a\\b"))),
    prompts("NUL", r"line 1, column", b'["a\\u0000b"]', b'["a\0b"]'),
    prompts("half a surrogate", r"line 1, column", b'["\\ud800"]', b'["\\udc00\\ud800"]'),
    prompts("not UTF-8", r"line 1, column", b'["\xff"]', b'["\xc0\x80"]', b'["\xed\xa0\x80"]'),
    prompts("too long", r"found 65537 bytes, expected at most 65536", b'"' + b"a" * 65537 + b'"'),
    lines("nothing", r"found 0 prompts, expected 1", b"", b"\n\n"),
    lines("not UTF-8", r"found byte 0xFF|line 1", b"\xff\n"),
    lines("NUL", r"line 1|NUL|0x00", b"a\0b\n"),
    lines("too long", r"65536", b"a" * 65537),
    contents("a disk that is too small", LINES + " --size 4096x4096",
             r"/out: found \d+ bytes free, expected \d+", b"a\n" * 20000, file="p.txt", status=4),
]
