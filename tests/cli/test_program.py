"""The program from outside: exit status, what goes to which stream."""

import json
import os
import pathlib
import signal
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("DIFFENS_BUILD", ROOT / "build")).resolve()


def diffens(*arguments, stdout=subprocess.PIPE, cwd=None, **environment):
    return subprocess.run([BUILD / "diffens", *arguments], stdout=stdout, cwd=cwd, text=True,
                          stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                          env={**os.environ, **environment}, timeout=300)


@pytest.mark.parametrize("arguments", [[], ["--help"], ["blend", "--help"], ["--version"]])
def test_help_goes_to_stdout(arguments):
    result = diffens(*arguments)
    assert result.returncode == 0 and result.stdout and not result.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["blend", "--help"], ["--version"]])
def test_full_stdout_is_an_error(arguments):
    with open("/dev/full", "w") as full:
        result = diffens(*arguments, stdout=full)
    assert result.returncode == 4
    assert "standard output" in result.stderr and "No space left" in result.stderr


@pytest.mark.parametrize("arguments, status, message", [
    (["blend", "--promt", "x"], 2, "did you mean --prompt?"),
    (["generate", "--prompts", "/nonexistent.json"], 3, "/nonexistent.json"),
    (["generate", "--prompt", "x", "--ensemble", "nothing"], 3, "nothing"),
    (["generate", "--prompt", "x", "--models", "nobody"], 2, "nobody"),
    (["blend", "--prompt", "x", "--weights", "1"], 2, "--weights: found 1 numbers"),
    (["blend", "--prompt", "x", "--models", "a,b,c"], 2, "--models: found 3, expected 2"),
    (["generate", "--prompt", "x", "--out", "/nonexistent/run"], 4, "/nonexistent/run"),
    (["generate", "--prompt", "x", "--log", "/nonexistent/log"], 4, "/nonexistent/log"),
])
def test_refusals(arguments, status, message, tmp_path):
    folders = "".join(f'{{"name": "{m}", "path": "."}},' for m in "abc")[:-1]
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo/ensemble.json").write_text(
        f'{{"name": "demo", "diffusers": [{folders}], "vqgan": {{"path": "."}}}}')
    result = diffens(*arguments, DIFFENS_MODELS=str(tmp_path), DIFFENS_ENSEMBLE="demo")
    assert result.returncode == status, result.stderr
    assert message in result.stderr
    errors = [l for l in result.stderr.splitlines() if l.startswith("diffens: error: ")]
    assert len(errors) == 1 and not result.stdout


def test_the_log_has_what_ended_the_run(tmp_path):
    log = tmp_path / "log"
    result = diffens("generate", "--prompt", "x", "--models", "nobody", "--log", log)
    assert result.returncode == 2
    assert log.read_text().count("diffens: error: ") == 1 and "nobody" in log.read_text()


def catches(pid, number):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    mask = next(l.split()[1] for l in status.splitlines() if l.startswith("SigCgt:"))
    return int(mask, 16) >> (number - 1) & 1


def test_waiting_for_prompts_ends_on_request():
    waiting = subprocess.Popen([BUILD / "diffens", "generate", "--prompts", "-", "--dry-run"],
                               stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not catches(waiting.pid, signal.SIGTERM):
        time.sleep(0.05)
    waiting.send_signal(signal.SIGTERM)
    try:
        assert waiting.wait(timeout=300) == 75
    finally:
        waiting.kill()
    assert "SIGTERM" in waiting.stderr.read()
    waiting.stdin.close()


def test_both_ends_of_a_long_path_are_shown(tmp_path):
    folder = tmp_path / "/".join(["deep" * 10] * 8)
    result = diffens("generate", "--prompts", folder / "prompts.json", "--dry-run")
    assert result.returncode == 3
    assert str(tmp_path)[:40] in result.stderr and "..." in result.stderr
    assert "deep/prompts.json: found no such file" in result.stderr


@pytest.mark.parametrize("option, takes", [
    ("--prompts", "a .txt file with a prompt a line"), ("--config", '{"steps": 30}'),
    ("--seed", "noise, gaussian, input or"), ("--ensemble", "the path of an ensemble.json"),
    ("--images", "a run directory, an .npy file")])
def test_what_a_missing_file_was_to_be(tmp_path, option, takes):
    result = diffens("optimize", option, tmp_path / "nope.json", "--dry-run", cwd=tmp_path,
                     DIFFENS_ENSEMBLE=str(ROOT / "models/demo/ensemble.json"))
    error, hint = result.stderr.splitlines()[-2:]
    assert result.returncode == 3
    assert f"{tmp_path}/nope.json: found no" in error and "(No such file or directory)" in error
    assert hint.startswith(f"  {option} takes ") and takes in hint


def test_print_config(tmp_path):
    environment = dict(DIFFENS_MODELS=str(ROOT / "models"), DIFFENS_ENSEMBLE="demo",
                       DIFFENS_THREADS="2")
    first = diffens("optimize", "--print-config", "--lr", "0.5", "--log",
                    str(tmp_path / "log"), cwd=tmp_path, **environment)
    assert first.returncode == 0 and "$DIFFENS_ENSEMBLE" in first.stderr
    options = json.loads(first.stdout)
    assert options["lr"] == 0.5 and options["threads"] == 2
    assert options["ensemble"] == "demo" and options["log"] == str(tmp_path / "log")
    assert not list(tmp_path.iterdir())
    (tmp_path / "c.json").write_text(first.stdout)
    again = diffens("optimize", "--config", str(tmp_path / "c.json"), "--print-config",
                    cwd=tmp_path, **environment)
    assert again.stdout == first.stdout
