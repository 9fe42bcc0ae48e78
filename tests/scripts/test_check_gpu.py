"""scripts/check-gpu where there is no GPU, and its own arithmetic on the CPU."""

import json
import os
import pathlib
import subprocess

import pytest

from ensembles import save_critics, save_ensemble

ROOT = pathlib.Path(__file__).resolve().parents[2]


def check_gpu(build, *arguments):
    return subprocess.run([ROOT / "scripts/check-gpu", *arguments], text=True,
                          capture_output=True, env={
                              **os.environ, "DIFFENS_BUILD": str(build),
                              "DIFFENS_MODELS": str(ROOT / "models")})


def test_without_an_accelerator(build):
    doctor = subprocess.run([build / "diffens", "doctor", "--json"], text=True,
                            capture_output=True)
    if json.loads(doctor.stdout)["accelerators"] > 0:
        pytest.skip("there is an accelerator")
    result = check_gpu(build)
    assert result.returncode == 7 and "no accelerator" in result.stderr
    assert not result.stdout


def rows(result):
    """{what: (found, limit, verdict)} of the report."""
    lines = [line.strip("|").split("|") for line in result.stdout.splitlines()
             if line.startswith("| ")]
    return {row[0].strip(): tuple(cell.strip() for cell in row[1:]) for row in lines}


def check_rows(found):
    assert {verdict for _, _, verdict in found.values()} <= {"ok", "", "---"}
    for mode in ("--deterministic", "default"):
        for layer in ("preconv", "prequant", "postquant"):
            assert f"blends, {layer}, {mode}, against the CPU, mean (largest)" in found


def test_itself_on_the_cpu(build):
    result = check_gpu(build, "--device", "cpu", "--quick")
    assert result.returncode == 0, result.stdout + result.stderr
    found = rows(result)
    check_rows(found)
    same = [what for what, row in found.items() if row[0] == "0.000/255 (0)"]
    assert len(same) == 8, result.stdout  # all that is in fp32
    assert found["optimize, losses of 2 epochs, relative"][0] == "0.0e+00"


@pytest.mark.full
def test_itself_on_the_cpu_at_length(build):
    result = check_gpu(build, "--device", "cpu")
    assert result.returncode == 0, result.stdout + result.stderr
    check_rows(rows(result))


def test_memory_on_the_test_device(driver, tmp_path):
    """Its live bytes are told, and are those of a model on its own. Another ensemble than
    the demo, the smaller the faster."""
    (tmp_path / "diffens").symlink_to(driver("diffens-on-test-device"))
    ensemble = save_ensemble(tmp_path / "tiny", kinds=("sd1", "sd2", "sd1"),
                             **save_critics(tmp_path / "tiny"))[0]
    result = check_gpu(tmp_path, "--device", "privateuseone", "--quick", "--ensembles",
                       ensemble)
    found = rows(result)
    live = [row for what, row in found.items() if what.startswith("live bytes while")]
    assert len(live) == 3 and {verdict for *_, verdict in live} == {"ok"}, result.stdout
    assert all("MB" in row[0] for row in live)
    assert found["most live bytes between two steps of a UNet"][0].endswith("MB")
