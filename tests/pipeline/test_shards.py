"""Runs in parts: each shard makes the files that the whole run makes of its cases."""

import os
import subprocess

import numpy
import pytest

from killing import commands, contents, differences, save_parents

ARRAY = {f"SLURM_ARRAY_TASK_{name}": value for name, value in
         {"MIN": "4", "MAX": "8", "STEP": "2", "COUNT": "3"}.items()}


@pytest.fixture(scope="module")
def work(build, critical, tmp_path_factory):
    """{command: (arguments, the whole run of it)}"""
    folder = tmp_path_factory.mktemp("whole")
    made = {}
    for name, arguments in commands(critical, save_parents(folder / "p.npy", cases=3)).items():
        arguments = [str(word) for word in arguments]
        if name == "optimize":
            arguments[arguments.index("--epochs") + 1] = "12"
        subprocess.run([build / "diffens", *arguments, "--out", folder / name, "-q"],
                       check=True, stdout=subprocess.DEVNULL)
        made[name] = arguments, folder / name
    return made


def of_cases(run):
    """The files that belong to single cases."""
    return {name: data for name, data in contents(run).items() if "/" in name}


@pytest.mark.parametrize("name", ["generate", "blend", "optimize"])
def test_parts_make_the_same_files(work, diffens, record, tmp_path, name):
    arguments, whole = work[name]
    count, together = 3, {}
    for i in range(count):
        part = tmp_path / str(i)
        diffens(*arguments, "--shard", f"{i}/{count}", "--out", part, "-q")
        files = of_cases(part)
        assert files and not together.keys() & files.keys()
        together |= files
        numpy.testing.assert_array_equal(
            numpy.load(part / "images.npy"), numpy.load(whole / "images.npy")[i::count])
        assert record(part)["shard"] == {"index": i, "count": count, "cases": 3}
    assert together == of_cases(whole)


def test_tasks_of_a_job_array(work, build, diffens, record, tmp_path):
    arguments, whole = work["generate"]
    subprocess.run([build / "diffens", *arguments, "--shard", "auto", "--out",
                    tmp_path / "run", "-q"], check=True, stdout=subprocess.DEVNULL,
                   env=os.environ | ARRAY | {"SLURM_ARRAY_TASK_ID": "8"})
    assert record(tmp_path / "run")["options"]["shard"] == "2/3"
    done = diffens(*arguments, "--shard", "2/3", "--out", tmp_path / "run", "--resume")
    assert "nothing to do" in done.stderr
    other = diffens(*arguments, "--shard", "1/3", "--out", tmp_path / "run", "--resume",
                    status=3)
    assert '$.options.shard was string "2/3", now string "1/3"' in other.stderr


def test_more_shards_than_cases(work, diffens, tmp_path):
    arguments, _ = work["generate"]
    result = diffens(*arguments, "--shard", "0/4", "--out", tmp_path / "run", status=2)
    assert "found 0/4, expected at most 3 shards" in result.stderr
    assert not (tmp_path / "run").exists()
