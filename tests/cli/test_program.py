"""The program from outside: exit status, what goes to which stream."""

import fcntl
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


DEMO = ROOT / "models/demo/ensemble.json"
NOBODY = ["--models", "nobody", "--ensemble", DEMO]  # ends once the log is open


def test_a_log_in_a_pipe_needs_a_reader(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    alone = diffens("generate", "--prompt", "x", *NOBODY, "--log", tmp_path / "pipe")
    assert alone.returncode == 4
    assert "pipe: found a pipe that nobody reads, expected a reader" in alone.stderr
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    read = diffens("generate", "--prompt", "x", *NOBODY, "--log", tmp_path / "pipe")
    assert read.returncode == 2 and b"diffens: error: " in os.read(reader, 4096)
    os.close(reader)
    terminal = diffens("generate", "--prompt", "x", *NOBODY, "--log", "/dev/null")
    assert terminal.returncode == 2


def test_a_log_whose_reader_leaves(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    command = [BUILD / "diffens", "generate", "--prompts", "-", "--log", tmp_path / "pipe"]
    run = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE,
                           env=os.environ | {"DIFFENS_ENSEMBLE": str(DEMO)})
    try:
        os.set_blocking(reader, True)
        while not (note := os.read(reader, 4096)):
            time.sleep(0.05)
        assert b"ensemble" in note
        os.close(reader)
        _, shown = run.communicate(b"", timeout=60)
    finally:
        run.kill()
    assert run.returncode in (3, 4) and b"diffens: error: " in shown


@pytest.mark.parametrize("option", ["prompts", "config", "ensemble", "seed", "images"])
@pytest.mark.parametrize("there", [True, False])
def test_a_log_is_not_what_is_read(tmp_path, option, there):
    file = tmp_path / "read"
    if there and option == "config":
        file.write_text('{"steps": 3}')
    elif there:
        file.write_text("x\n")
    elif option == "config":
        return  # read before
    before = file.read_text() if there else None
    command = "optimize" if option == "seed" else "blend" if option == "images" else "generate"
    more = [] if option == "ensemble" else ["--ensemble", DEMO]
    result = diffens(command, f"--{option}", file, *more, "--log", file, cwd=tmp_path)
    assert result.returncode == 2, result.stderr
    assert f"--log: found the file that --{option} reads, expected another" in result.stderr
    assert (file.read_text() if file.exists() else None) == before


def test_a_log_is_not_standard_input(tmp_path):
    (tmp_path / "p.txt").write_text("a dog\n")
    with open(tmp_path / "p.txt") as prompts:
        result = subprocess.run([BUILD / "diffens", "generate", "--prompts", "-", "--log",
                                 tmp_path / "p.txt"], stdin=prompts, stderr=subprocess.PIPE)
    assert result.returncode == 2 and b"--log: found the file that --prompts" in result.stderr
    assert (tmp_path / "p.txt").read_text() == "a dog\n"


def test_a_log_is_no_file_of_a_run(tmp_path):
    (tmp_path / "run/images").mkdir(parents=True)
    (tmp_path / "run/run.json").write_text("{}")
    (tmp_path / "link").symlink_to("run/run.json")
    command = ["generate", "--prompt", "x", *NOBODY, "--out", tmp_path / "run", "--log"]
    for name in "run/run.json", "run/images/000_plain.png", "link":
        there = (tmp_path / name).exists()
        result = diffens(*command, tmp_path / name)
        assert result.returncode == 2
        assert "--log: found a file in the directory of --out, expected" in result.stderr
        assert "a name that ends in .log may be there" in result.stderr
        assert (tmp_path / name).exists() == there
    merge = diffens("merge", tmp_path / "run", "--out", tmp_path / "other", "--log",
                    tmp_path / "run/run.json")
    assert merge.returncode == 2 and "in the directory of a run" in merge.stderr
    assert (tmp_path / "run/run.json").read_text() == "{}"
    diffens(*command, tmp_path / "run/this.log")
    assert "nobody" in (tmp_path / "run/this.log").read_text()


def test_standard_output_that_does_not_wait():
    whole = diffens("optimize", "--help").stdout
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 4096)
    run = subprocess.Popen([BUILD / "diffens", "optimize", "--help"], stdout=theirs)
    os.close(theirs)
    time.sleep(0.5)
    with open(ours) as pipe:
        read = pipe.read()
    assert run.wait(timeout=60) == 0
    assert len(whole) > 4096 and read == whole


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
