"""scripts/check-gpu where there is no GPU, and its own arithmetic on the CPU."""

import json
import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def check_gpu(build, *arguments):
    return subprocess.run([ROOT / "scripts/check-gpu", *arguments], text=True,
                          capture_output=True, env={**os.environ,
                                                    "DIFFENS_BUILD": str(build)})


def test_without_an_accelerator(build):
    doctor = subprocess.run([build / "diffens", "doctor", "--json"], text=True,
                            capture_output=True)
    if json.loads(doctor.stdout)["accelerators"] > 0:
        pytest.skip("there is an accelerator")
    result = check_gpu(build)
    assert result.returncode == 7 and "no accelerator" in result.stderr
    assert not result.stdout


@pytest.mark.full
def test_itself_on_the_cpu(build):
    result = check_gpu(build, "--device", "cpu")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "pictures in fp32 against the CPU, mean (largest) | 0.000/255 (0)" in result.stdout
