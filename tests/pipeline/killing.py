"""Runs that are killed and gone on with, and whether they end as one that was not: what
tests/pipeline/test_resume.py and scripts/stress-kill share."""

import collections
import json
import pathlib
import random
import shutil
import signal
import time

import numpy

TIMES = {"seconds"}           # of a cell
CALLS = {"arguments"}         # of the record: --resume is among them
OUTPUT = {"resume", "force", "out", "time-limit", "quiet", "progress"}


def scrubbed(record):
    """The record without what depends on the clock and on how often it was started."""
    record = {key: value for key, value in record.items() if key not in CALLS}
    record["options"] = {k: v for k, v in record["options"].items() if k not in OUTPUT}
    record["cells"] = [{k: v for k, v in cell.items() if k not in TIMES}
                       for cell in record["cells"]]
    return record


def contents(run):
    """Every file of a run directory by name: its bytes, or the scrubbed record. Not how the
    files look to the file system (run.hashes)."""
    run = pathlib.Path(run)
    found = {str(path.relative_to(run)): path.read_bytes()
             for path in run.rglob("*") if path.is_file() and path.name != "run.hashes"}
    found["run.json"] = scrubbed(json.loads(found["run.json"]))
    return found


def differences(run, reference):
    """Names of the files that differ, are missing or are too many."""
    left, right = contents(run), contents(reference)
    return sorted(name for name in left.keys() | right.keys()
                  if left.get(name) != right.get(name))


def save_parents(path, cases=2, models=2, size=64):
    """An image tensor of random blocks."""
    blocks = numpy.random.default_rng(5).integers(
        0, 256, (cases, models, size // 8, size // 8, 3), numpy.uint8)
    numpy.save(path, blocks.repeat(8, axis=2).repeat(8, axis=3))
    return path


def commands(ensemble, parents, steps=4, epochs=40):
    """The three commands, as argument lists without --out."""
    common = ["--ensemble", ensemble, "--threads", 1]
    drawing = ["--prompts", parents.with_suffix(".txt"), "--steps", steps, "--size", "64x64",
               "--batch", 2]
    parents.with_suffix(".txt").write_text("a cat\na dog\na house\n")
    return {
        "generate": ["generate", *common, *drawing],
        "blend": ["blend", *common, *drawing, "--gamma", "0:1:3", "--layer", "all"],
        "optimize": ["optimize", *common, "--images", parents, "--epochs", epochs, "--crops",
                     "1x1,3x0.5", "--save-every", 10, "--checkpoint-every", 0.05]}


def run_killed(server, arguments, out, kills, longest, seed, stages):
    """Starts with --resume and kills after a random time, `kills` times at most, then lets
    it end. Returns how many kills came before the end; `stages` counts what they hit."""
    chance = random.Random(seed)
    command = [*arguments, "--out", out, "--resume", "--progress", "json"]
    done = 0
    while True:
        seconds = chance.uniform(0, 0.7) * longest if done < kills else 600
        result = server.run(*command, seconds=seconds)
        if result.returncode == 0:
            return done
        if result.returncode != -signal.SIGKILL or done == kills:
            raise AssertionError(f"seed {seed}, after {done} kills: {result.stderr}")
        said = [json.loads(line) for line in result.stderr.splitlines() if line[-1] == "}"]
        stages[([line["stage"] for line in said if "stage" in line] or ["start"])[-1]] += 1
        done += 1


def measure(server, arguments, out):
    """An undisturbed run, and its seconds."""
    before = time.monotonic()
    result = server.run(*arguments, "--out", out, "-q", seconds=600)
    assert result.returncode == 0, result.stderr
    return time.monotonic() - before


def stress(server, ensemble, folder, kills, seed=0, say=lambda line: None):
    """At least `kills` kills spread over the three commands; raises where a run ends with
    other bytes, or leaves something behind. Returns how many hit each stage."""
    work = commands(ensemble, save_parents(folder / "parents.npy"), steps=1, epochs=20)
    seconds = {name: measure(server, arguments, folder / name)
               for name, arguments in work.items()}
    stages, number = collections.Counter(), 0
    while stages.total() < kills:
        name = list(work)[number % len(work)]
        out = folder / f"{name}-{number}"
        share = min(10, kills - stages.total())
        made = run_killed(server, work[name], out, share, seconds[name], seed + number, stages)
        wrong = differences(out, folder / name)
        if wrong:
            raise AssertionError(f"{out}, seed {seed + number}: differs in {wrong}")
        shutil.rmtree(out)
        number += 1
        say(f"{stages.total()} kills, {number} runs: {name} is the same after {made}")
    return stages
