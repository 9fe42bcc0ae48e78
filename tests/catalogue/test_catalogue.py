"""The catalogue of bad input, through the program: what each gets is one line that says
file, field, found and expected, the right exit status, and nothing is made or changed."""

import os
import re

import pytest

import command_lines
import model_folders
import places
import prompt_files
import rows
import weight_files
from serving import Server

ROWS = [row for area in (command_lines, prompt_files, weight_files, model_folders, places)
        for row in area.ROWS]
# What is wrong and what would be right; or the operating system's words.
SAYS = re.compile(r"found .*, expected |: [A-Z][a-z ]+$|was .*, now |: given twice, as ")
TRIES = [(row, i) for row in ROWS for i in range(len(row.tries))]
DRAW = ["generate", "--ensemble", rows.DEMO, "--models", "plain", "--prompts", "p.txt", "--steps",
        "1", "--size", "64x64", "-q"]


@pytest.fixture(scope="module")
def server(build, tmp_path_factory):
    """Runs the program; makes the finished runs that rows copy."""
    folder = tmp_path_factory.mktemp("templates")
    (folder / "p.txt").write_text("a cat\na dog\n")
    os.environ["DIFFENS_MODELS"] = str(rows.ROOT / "models")
    with Server(build) as made:
        for name, shard in {"run": [], "s0": ["--shard", "0/2"], "s1": ["--shard", "1/2"]}.items():
            result = made.run(*DRAW, *shard, "--out", name, cwd=folder)
            assert result.returncode == 0, result.stderr
            rows.templates[name] = folder / name
        yield made
    del os.environ["DIFFENS_MODELS"]


def tree(folder):
    """Every name below it; of files their bytes."""
    return {str(path.relative_to(folder)):
            path.stat().st_size > 1 << 20 or path.read_bytes() if path.is_file() else ""
            for path in folder.rglob("*")}


def prepare(folder, files):
    if callable(files):
        files(folder)
        return
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def test_size():
    assert len(ROWS) >= 150 and len(TRIES) >= 300
    assert len({row.name for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row, number", TRIES, ids=[f"{row.name} {i}" for row, i in TRIES])
def test_refusal(server, tmp_path, row, number):
    command, files, environment = row.tries[number]
    prepare(tmp_path, files)
    before = tree(tmp_path)
    words = command.split() if isinstance(command, str) else command
    words = [word.replace("@", str(tmp_path)) for word in words]
    result = server.run(*words, cwd=tmp_path, **environment)
    lines = result.stderr.splitlines()
    errors = [i for i, line in enumerate(lines) if line.startswith("diffens: error: ")]
    assert result.returncode == row.status, lines
    assert len(errors) == 1 and len(lines) - errors[0] <= 2, lines
    message = lines[errors[0]].removeprefix("diffens: error: ")
    assert re.search(row.pattern, message), message
    assert row.status not in (2, 3) or SAYS.search(message), message
    if row.status == 3 and "--limit" in words:
        name = words[words.index("--limit") + 1].split("=")[0]
        assert lines[errors[0] + 1].strip().startswith(f"--limit {name}=... raises"), lines
    assert all(line.isprintable() for line in lines), lines
    assert row.begun or tree(tmp_path) == before
