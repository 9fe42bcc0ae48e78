"""Who may include whom: downwards only, and libtorch in src/torch alone."""

import pathlib
import re

SRC = pathlib.Path(__file__).resolve().parents[2] / "src"

# What each folder may include of the others; the headers of include/diffens that speak of
# tensors count as "torch".
MAY_INCLUDE = {
    "base": set(),
    "io": {"base"},
    "torch": {"base"},
    "nn": {"base", "torch"},
    "nets": {"nn", "torch"},
    "models": {"base", "io", "nets", "nn", "torch"},
    "diffusion": {"base", "io", "models", "nets", "nn", "torch"},
    "run": {"base", "io"},
    "survey": {"base", "io", "models", "diffusion", "nets", "nn", "torch"},
    "stages": {"base", "io", "models", "diffusion", "run", "nets", "nn", "torch"},
    "cli": {"base", "io", "models", "run", "stages", "survey", "torch"},
}
TENSOR_HEADERS = {"tc.h": "torch", "tc_machine.h": "torch", "weights.h": "nn",
                  "nn.h": "nn", "nets.h": "nets", "stages.h": "stages"}
INCLUDE = re.compile(r'^#include\s+["<]([^">]+)[">]', re.M)


def included(path):
    for name in INCLUDE.findall(path.read_text()):
        folder, _, file = name.partition("/")
        if folder == "diffens":
            folder = TENSOR_HEADERS.get(file, "")
        if folder in MAY_INCLUDE:
            yield folder


def test_includes_go_downwards():
    files = [p for p in SRC.rglob("*") if p.suffix in (".c", ".h", ".cpp", ".hpp")]
    assert len(files) > 50
    wrong = [f"{path.relative_to(SRC)} includes {folder}"
             for path in files if path.parent != SRC
             for folder in included(path)
             if folder not in MAY_INCLUDE[path.parent.name] | {path.parent.name}]
    assert not wrong


def test_libtorch_stays_in_its_folder():
    files = [*SRC.rglob("*.[ch]"), *(SRC.parent / "include").rglob("*.h")]
    for path in files:
        names = INCLUDE.findall(path.read_text())
        assert not [n for n in names if re.match(r"(ATen|c10|torch)/", n)], path
