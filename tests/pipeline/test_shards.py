"""Runs in parts: each shard makes the files that the whole run makes of its cases."""

import json
import os
import shutil
import subprocess

import numpy
import pytest

from killing import commands, contents, differences, save_parents
from serving import Server

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


@pytest.fixture(scope="module")
def parts(work, build, tmp_path_factory):
    """{command: the directories of its three shards}"""
    folder = tmp_path_factory.mktemp("parts")
    made = {}
    for name, (arguments, _) in work.items():
        made[name] = [folder / f"{name}-{i}" for i in range(3)]
        for i, part in enumerate(made[name]):
            subprocess.run([build / "diffens", *arguments, "--shard", f"{i}/3", "--out", part,
                            "-q"], check=True, stdout=subprocess.DEVNULL)
    return made


@pytest.mark.parametrize("name", ["generate", "blend", "optimize"])
def test_parts_make_the_same_files(work, parts, record, name):
    together, whole = {}, work[name][1]
    for i, part in enumerate(parts[name]):
        files = of_cases(part)
        assert files and not together.keys() & files.keys()
        together |= files
        numpy.testing.assert_array_equal(
            numpy.load(part / "images.npy"), numpy.load(whole / "images.npy")[i::3])
        assert record(part)["shard"] == {"index": i, "count": 3, "cases": 3}
    assert together == of_cases(whole)


@pytest.mark.parametrize("name", ["generate", "blend", "optimize"])
def test_joined_parts_are_the_whole_run(work, parts, diffens, tmp_path, name):
    arguments, whole = work[name]
    run = tmp_path / "run"
    first = diffens("merge", *reversed(parts[name]), "--out", run)
    assert differences(run, whole) == []
    again = diffens("merge", *parts[name], "--out", run)
    assert "nothing to do" in again.stderr and again.stdout == first.stdout
    assert "nothing to do" in diffens(*arguments, "--out", run, "--resume").stderr


def test_a_single_shard(work, diffens, tmp_path):
    arguments, whole = work["generate"]
    diffens(*arguments, "--shard", "0/1", "--out", tmp_path / "part", "-q")
    diffens("merge", tmp_path / "part", "--out", tmp_path / "run")
    assert differences(tmp_path / "run", whole) == []


def test_a_joining_that_was_cut_off(work, parts, diffens, tmp_path):
    run = tmp_path / "run"
    broken = tmp_path / "broken"
    shutil.copytree(parts["optimize"][2], broken)
    (broken / "optimize/002.png").write_bytes(b"forged")
    result = diffens("merge", *parts["optimize"][:2], broken, "--out", run, status=3)
    assert "broken/optimize/002.png: sha256: found " in result.stderr
    assert (run / "optimize/001.png").exists() and not (run / "figure.png").exists()
    diffens("merge", *parts["optimize"], "--out", run)
    assert differences(run, work["optimize"][1]) == []


def test_a_picture_that_is_a_symbolic_link(work, parts, diffens, tmp_path):
    part, run = tmp_path / "part", tmp_path / "run"
    shutil.copytree(parts["blend"][1], part)
    pictures = sorted(part.glob("*/*.png"))
    (part / "elsewhere").mkdir()
    for number, picture in enumerate(pictures):
        picture.rename(part / f"elsewhere/{number}.png")
        picture.symlink_to(f"../elsewhere/{number}.png")
    diffens("merge", parts["blend"][0], part, parts["blend"][2], "--out", run)
    assert not [file for file in run.rglob("*") if file.is_symlink()]
    assert differences(run, work["blend"][1]) == []


def alter(part, change):
    """The part with its run.json changed."""
    record = json.loads((part / "run.json").read_text())
    change(record)
    (part / "run.json").write_text(json.dumps(record))


@pytest.mark.parametrize("change, message", [
    (lambda r: r.update(state="stopped"), 'state: found "stopped", expected "complete"'),
    (lambda r: r["options"].update(steps=5), "$.options.steps: found number 5, expected"),
    (lambda r: r["shard"].update(index=0), "found shard 0/3, expected each once"),
    (lambda r: r["shard"].update(count=2), "shard.count: found 2, expected 3 as in"),
    (lambda r: r["shard"].update(cases=4), "shard.cases: found 4, expected 3 as in"),
    (lambda r: r.pop("shard"), "shard: found none"),
    (lambda r: r["cells"].pop(), "cells: found 1, expected 2 a case"),
    (lambda r: r["ensemble"]["networks"][0]["files"][0].update(sha256="0" * 64),
     "ensemble.networks[0].files[0].sha256: found 000")])
def test_parts_that_do_not_fit(parts, diffens, tmp_path, change, message):
    part = tmp_path / "part"
    shutil.copytree(parts["generate"][1], part)
    alter(part, change)
    result = diffens("merge", parts["generate"][0], part, parts["generate"][2], "--out",
                     tmp_path / "run", status=3)
    assert message in result.stderr and "part" in result.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("key, other", [("device", "cuda:7"), ("dtype", "bfloat16"),
                                        ("libtorch", "0.1")])
def test_parts_of_other_machines(parts, diffens, record, tmp_path, key, other):
    copies = [tmp_path / f"part-{i}" for i in range(3)]
    for part, copy in zip(parts["generate"], copies):
        shutil.copytree(part, copy)
    own = record(copies[0])[key]
    alter(copies[1], lambda r: r.update({key: other}))
    result = diffens("merge", *copies, "--out", tmp_path / "run")
    assert (f"{copies[1]}: bits may differ from those of {copies[0]}: {key}: found {other}, "
            f"expected {own}") in result.stderr
    assert result.stderr.count("bits may differ") == 1
    for copy in copies:
        alter(copy, lambda r: r["options"].update(deterministic=True))
    result = diffens("merge", *copies, "--out", tmp_path / "exact", status=3)
    assert f"--deterministic: {key}: found {other}, expected {own}" in result.stderr
    assert not (tmp_path / "exact").exists()


def test_an_option_with_a_value_like_an_option(work, diffens, record, tmp_path):
    arguments = [*work["generate"][0], "--negative=--out"]
    diffens(*arguments, "--shard", "0/1", "--out", tmp_path / "part", "-q")
    diffens("merge", tmp_path / "part", "--out", tmp_path / "run")
    words = record(tmp_path / "run")["arguments"]
    assert words[words.index("--negative") + 1] == "--out"
    assert words.count("--out") == 1 and "--shard" not in words


def test_missing_parts(parts, diffens, tmp_path):
    result = diffens("merge", *parts["blend"][1:], "--out", tmp_path / "run", status=3)
    assert "found 2 of 3 shards, expected all of them: 0/3 is missing" in result.stderr


def test_tasks_of_a_job_array(work, build, diffens, record, tmp_path):
    arguments, whole = work["generate"]
    subprocess.run([build / "diffens", *arguments, "--shard", "auto", "--out",
                    tmp_path / "run", "-q"], check=True, stdout=subprocess.DEVNULL,
                   env=os.environ | ARRAY | {"SLURM_ARRAY_TASK_ID": "8"})
    assert record(tmp_path / "run")["options"]["shard"] == "2/3"
    assert "--shard 2/3" in diffens("inspect", "--command", tmp_path / "run").stdout
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


@pytest.mark.parametrize("count", [2, 7])
def test_other_numbers_of_parts(build, critical, tmp_path, count):
    (tmp_path / "p.txt").write_text("".join(f"a cat {i}\n" for i in range(7)))
    arguments = ["generate", "--ensemble", critical, "--threads", 1, "--models", "a", "--prompts",
                 tmp_path / "p.txt", "--steps", 1, "--size", "64x64"]
    shards = [tmp_path / f"shard{i}" for i in range(count)]
    with Server(build) as server:
        runs = [server.run(*arguments, "--out", tmp_path / "whole")]
        runs += [server.run(*arguments, "--shard", f"{i}/{count}", "--out", shard)
                 for i, shard in enumerate(shards)]
        runs.append(server.run("merge", *shards, "--out", tmp_path / "run"))
    assert [run.returncode for run in runs] == [0] * (count + 2), runs
    assert differences(tmp_path / "run", tmp_path / "whole") == []


def test_hints_name_what_merge_has(parts, diffens, tmp_path):
    """It has no --resume."""
    run = tmp_path / "run"
    diffens("merge", *parts["generate"], "--out", run)
    other = diffens("merge", *parts["blend"], "--out", run, status=3).stderr
    (run / "images/000_a.png").unlink()
    (run / "images/000_a.png").write_bytes(b"forged")
    forged = diffens("merge", *parts["generate"], "--out", run, status=3).stderr
    assert "found another run there" in other and "sha256: found" in forged
    for said in other, forged:
        assert "--force" in said and "--resume" not in said


def test_joined_parts_as_json(parts, diffens, tmp_path):
    run = tmp_path / "run"
    paths = diffens("merge", *parts["blend"], "--out", run).stdout.splitlines()
    told = json.loads(diffens("merge", *parts["blend"], "--out", run, "--json").stdout)
    assert told["state"] == "complete" and told["directory"] == str(run)
    assert {f"{run}/{picture['file']}" for picture in told["pictures"]} > set(paths)
