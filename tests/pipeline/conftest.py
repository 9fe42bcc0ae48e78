"""What the tests of whole commands share: the program, and ensembles made once."""

import json
import pathlib
import re
import subprocess
import tempfile
import time
import types

import pytest

from ensembles import save_critics, save_ensemble


def largest_size(pid):
    """The largest size that a process has had in memory so far, in bytes. getrusage() would
    count what the test's own process had before it started the program."""
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])
    except (FileNotFoundError, ProcessLookupError, TypeError):
        return 0


def run_program(command):
    """Runs it to its end; `peak` is the largest size it had in memory, in bytes."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        peak = 0
        while process.poll() is None:
            peak = max(peak, largest_size(process.pid))
            time.sleep(0.01)
        out.seek(0), err.seek(0)
        return types.SimpleNamespace(status=process.returncode, stdout=out.read(),
                                     stderr=err.read(), peak=peak)


@pytest.fixture(scope="session")
def diffens(build):
    """diffens("blend", ...) runs the program; a status other than `status` is a failure
    that shows what the program said."""
    def run(*arguments, status=0):
        result = run_program([build / "diffens", *map(str, arguments)])
        assert result.status == status, result.stderr
        return result
    return run


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Two diffusers, of SD 1.x and SD 2.x shape, and a VQGAN: the path of ensemble.json and
    the reference VQGAN."""
    return save_ensemble(tmp_path_factory.mktemp("tiny"), kinds=("sd1", "sd2", "sd1"))


@pytest.fixture(scope="session")
def critical(tmp_path_factory):
    """Two diffusers and all that `optimize` needs: the path of ensemble.json."""
    folder = tmp_path_factory.mktemp("critical")
    return save_ensemble(folder, kinds=("sd1", "sd2"), **save_critics(folder))[0]


@pytest.fixture
def record():
    """The record of a run directory."""
    return lambda run: json.loads((pathlib.Path(run) / "run.json").read_text())
