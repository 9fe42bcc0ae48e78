"""What a run shows while it works: on a terminal, in a pipe, for programs."""

import fcntl
import json
import os
import pathlib
import pty
import re
import struct
import subprocess
import termios

import pytest

SCHEMA = json.loads((pathlib.Path(__file__).parent / "progress.schema.json").read_text())
TYPES = {"object": dict, "string": str, "integer": int, "number": (int, float),
         "null": type(None)}


def fits(value, schema):
    """Whether a value is as the schema says; knows the words that the schema uses."""
    if "oneOf" in schema:
        return sum(fits(value, one) for one in schema["oneOf"]) == 1
    names = schema.get("type", [])
    types = [TYPES[name] for name in ([names] if isinstance(names, str) else names)]
    if types and (isinstance(value, bool) or not any(isinstance(value, t) for t in types)):
        return False
    if isinstance(value, (int, float)) and not (
            schema.get("minimum", value) <= value <= schema.get("maximum", value)):
        return False
    members = schema.get("properties", {})
    return (("const" not in schema or value == schema["const"]) and
            value in schema.get("enum", [value]) and
            all(key in value for key in schema.get("required", [])) and
            all(key in members and fits(value[key], members[key])
                for key in (value if members else [])))


@pytest.fixture
def blend(build, tiny, tmp_path):
    """A short run; its status, standard output and standard error, the latter a terminal
    of `columns` where that is given."""
    def run(*arguments, columns=None, **environment):
        command = [build / "diffens", "blend", "--ensemble", tiny[0], "--prompt", "x",
                   "--steps", "3", "--size", "64x64", "--gamma", "0:1:3", "--out",
                   tmp_path / "run", "--force", *arguments]
        main, terminal = pty.openpty()
        if columns:
            fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
            stderr=terminal if columns else subprocess.PIPE,
            env={**os.environ, "TERM": "xterm", "LC_ALL": "C.UTF-8", **environment})
        os.close(terminal)
        shown = b""
        while columns:
            try:
                shown += os.read(main, 65536)
            except OSError: # Linux' way to say that the terminal is gone
                break
        os.close(main)
        out, error = process.communicate()
        return process.returncode, out.decode(), (shown if columns else error).decode()
    return run


def test_steps_are_those_of_the_scheduler(blend):
    """PNDM takes one more than are asked for: from the start."""
    _, _, error = blend("--progress", "json")
    reports = [json.loads(line) for line in error.splitlines()]
    steps = {r["steps"] for r in reports if r["type"] == "progress" and r["stage"] == "generate"}
    assert steps == {4}


def test_bar(blend):
    status, out, shown = blend(columns=60)
    assert status == 0 and out.count("\n") == 3
    bars = [line for line in re.split(r"[\r\n]", shown) if "━" in line]
    assert any(re.match(r"generate [ab] .*step \d/\d", bar) for bar in bars)
    assert any(bar.startswith("blend 000") for bar in bars)
    assert "\033[36m" in shown
    for line in bars:
        assert len(re.sub(r"\033\[[0-9;]*[a-zA-Z]", "", line)) < 60
    # no note begins on a line that still shows a bar, and none is left at the end
    last = re.split(r"\n", shown)[-1]
    assert "━" not in last.split("\r")[-1]
    for line in shown.splitlines():
        if "diffens: " in line and "━" in line:
            assert line.rindex("\033[K") < line.index("diffens: ")


def test_plain_terminals(blend):
    status, _, shown = blend(columns=60, NO_COLOR="1", LC_ALL="C")
    assert status == 0 and "[##" in shown and "\033[3" not in shown and shown.isascii()
    for arguments, environment in ((["--progress", "plain"], {}), ([], {"TERM": "dumb"})):
        status, _, shown = blend(*arguments, columns=60, **environment)
        assert status == 0 and "\033" not in shown
        assert "\r" not in shown.replace("\r\n", "\n")
        assert "diffens: generate: model a, case 000, step" in shown
    status, _, shown = blend("--progress", "none", columns=60)
    assert status == 0 and "generate" not in shown


def test_pipes_get_lines(blend):
    status, _, shown = blend("--progress", "bar")
    assert status == 0 and "\r" not in shown and "\033" not in shown
    assert "diffens: blend: case 000" in shown


def test_objects(blend, tmp_path):
    status, _, shown = blend("--progress", "json", "--log", tmp_path / "log")
    lines = [json.loads(line) for line in shown.splitlines()]
    assert status == 0
    for line in lines:
        assert fits(line, SCHEMA), line
    reports = [line for line in lines if line["type"] == "progress"]
    assert {r["stage"] for r in reports} == {"generate", "blend"}
    assert [r["part"] for r in reports if r["stage"] == "blend"][-1] == 1
    assert any(line["type"] == "note" for line in lines)
    assert "diffens: generate: model a" in (tmp_path / "log").read_text()

    status, _, shown = blend("--progress", "json", "--models", "nobody")
    lines = [json.loads(line) for line in shown.splitlines()]
    assert all(fits(line, SCHEMA) for line in lines)
    assert status == 2 and lines[-1]["type"] == "error" and lines[-1]["status"] == 2
    assert "nobody" in lines[-1]["text"] and not fits({**lines[-1], "x": 1}, SCHEMA)
