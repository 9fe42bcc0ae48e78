"""What the tests of whole commands share: the program, and ensembles made once."""

import json
import os
import pathlib
import subprocess
import tempfile
import types

import pytest

from ensembles import save_ensemble


def run_program(command):
    """Runs it to its end; `peak` is the largest size it had in memory, in bytes."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0), err.seek(0)
        return types.SimpleNamespace(status=process.returncode, stdout=out.read(),
                                     stderr=err.read(), peak=usage.ru_maxrss * 1024)


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


@pytest.fixture
def record():
    """The record of a run directory."""
    return lambda run: json.loads((pathlib.Path(run) / "run.json").read_text())
