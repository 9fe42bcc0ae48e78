"""scripts/slurm without a Slurm: sbatch, scontrol and diffens are stand-ins that write down how
they were called. scripts/check-slurm has a real one."""

import os
import pathlib
import signal
import subprocess
import time

import pytest

SLURM = pathlib.Path(__file__).resolve().parents[2] / "scripts/slurm"
TASK = {"SLURM_JOB_ID": "42", "SLURM_ARRAY_JOB_ID": "41", "SLURM_ARRAY_TASK_ID": "3"}
# Ends with $STATUS; with "wait" only after a signal, by 75, and with "load" by the signal.
DIFFENS = """
case $STATUS in
wait) trap 'echo USR1 >>signals; exit 75' USR1; trap 'echo TERM >>signals; exit 75' TERM ;;
load) ;;
*) exit "$STATUS" ;;
esac
touch ready
for i in $(seq 200); do sleep 0.05; done
"""


class Stubs:
    def __init__(self, folder):
        self.folder = folder
        (folder / "bin").mkdir()
        self.program("sbatch", 'echo "17;cluster"')
        self.program("scontrol", '[ -z "${REFUSE-}" ] || { echo "$REFUSE" >&2; exit 1; }')
        self.program("diffens", DIFFENS)

    def program(self, name, body):
        path = self.folder / "bin" / name
        path.write_text('#!/bin/bash\nname=${0##*/}\n'
                        'printf "%s\\0" "$name" "threads=${DIFFENS_THREADS-}" "$@" >>calls\n'
                        'printf "\\n\\0" >>calls\n' + body)
        path.chmod(0o755)

    def start(self, script, *arguments, **variables):
        kept = {name: value for name, value in os.environ.items()
                if not name.startswith(("SLURM", "SBATCH", "DIFFENS"))}
        return subprocess.Popen(
            [SLURM / script, *arguments], cwd=self.folder, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=kept | {"PATH": f"{self.folder}/bin:{os.environ['PATH']}"} | variables)

    def call(self, *arguments, status=0, **variables):
        """What it said on standard error."""
        process = self.start(*arguments, **variables)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == status, errors
        return errors

    def signalled(self, number, **variables):
        process = self.start("run", "8", "out", "diffens", "generate", **TASK, **variables)
        end = time.monotonic() + 20
        while not (self.folder / "ready").exists() and time.monotonic() < end:
            time.sleep(0.02)
        process.send_signal(number)
        process.communicate(timeout=30)
        return process.returncode

    def calls(self, program):
        """The arguments of each call."""
        path = self.folder / "calls"
        words = path.read_text().split("\0\n\0")[:-1] if path.exists() else []
        calls = [call.split("\0") for call in words]
        return [call[2:] for call in calls if call[0] == program]


@pytest.fixture
def stubs(tmp_path):
    return Stubs(tmp_path)


def test_task_draws_its_shard(stubs):
    """By the number that it is told, so that one task alone can be submitted again."""
    stubs.call("run", "8", "out", "diffens", "generate", "-q", STATUS="0", **TASK,
               SLURM_ARRAY_TASK_COUNT="1")
    assert stubs.calls("diffens") == [
        ["generate", "-q", "--shard", "3/8", "--resume", "--out", "out/shard-3"]]
    assert stubs.calls("scontrol") == []


def test_other_failures_are_not_requeued(stubs):
    stubs.call("run", "8", "out", "diffens", "generate", STATUS="3", status=3, **TASK)
    assert stubs.calls("scontrol") == []


@pytest.mark.parametrize("variables, expected", [
    ({}, ""), ({"SLURM_CPUS_PER_TASK": "4"}, "4"),
    ({"SLURM_CPUS_PER_TASK": "4", "DIFFENS_THREADS": "2"}, "2")])
def test_threads_are_those_of_the_task(stubs, variables, expected):
    stubs.call("run", "8", "out", "diffens", "generate", STATUS="0", **TASK, **variables)
    assert f"diffens\0threads={expected}\0" in (stubs.folder / "calls").read_text()


def test_time_limit_of_the_program_is_requeued(stubs):
    stubs.call("run", "8", "out", "diffens", "generate", STATUS="75", status=75, **TASK)
    assert stubs.calls("scontrol") == [["requeue", "41_3"]]


@pytest.mark.parametrize("number, requeued", [(signal.SIGUSR1, 1), (signal.SIGTERM, 0)])
def test_signals(stubs, number, requeued):
    """scancel sends SIGTERM: what it cancels must not come back."""
    assert stubs.signalled(number, STATUS="wait") == 75
    assert (stubs.folder / "signals").read_text() == number.name[3:] + "\n"
    assert stubs.calls("scontrol") == [["requeue", "41_3"]] * requeued


@pytest.mark.parametrize("number, requeued", [(signal.SIGUSR1, 1), (signal.SIGTERM, 0)])
def test_signals_while_it_loads(stubs, number, requeued):
    assert stubs.signalled(number, STATUS="load") == 75
    assert len(stubs.calls("scontrol")) == requeued


@pytest.mark.parametrize("number, requeued", [(signal.SIGUSR1, 1), (signal.SIGTERM, 0)])
def test_signals_before_it_starts(stubs, number, requeued):
    """From mkdir, which is run just before the program."""
    stubs.program("mkdir", '/bin/mkdir "$@"; kill -s %s $PPID' % number.name[3:])
    stubs.call("run", "8", "out", "diffens", "generate", STATUS="wait", status=75, **TASK)
    assert len(stubs.calls("scontrol")) == requeued


def test_refused_requeue_is_one_line(stubs):
    errors = stubs.call("run", "8", "out", "diffens", "generate", STATUS="75", status=75,
                        REFUSE="slurm_requeue error:\nJob may not be requeued", **TASK)
    assert errors == (
        "scripts/slurm/run: job 41_3: not requeued (slurm_requeue error: Job may not be "
        "requeued): submit it again, it goes on from what is saved\n")


def test_joining_job(stubs):
    stubs.call("run", "2", "o ut", "diffens", "merge", STATUS="75", status=75, SLURM_JOB_ID="9")
    assert stubs.calls("diffens") == [["merge", "o ut/shard-0", "o ut/shard-1", "--out",
                                       "o ut/run"]]
    assert stubs.calls("scontrol") == [["requeue", "9"]]


def test_without_an_array(stubs):
    errors = stubs.call("run", "8", "out", "diffens", "generate", status=2, SLURM_JOB_ID="9")
    assert "SLURM_ARRAY_TASK_ID: found none, expected a task of a job array" in errors
    assert "usage: sbatch --array" in errors and "unbound" not in errors


@pytest.mark.parametrize("script", ["run", "submit"])
@pytest.mark.parametrize("count", ["08", "0", "", "x", "-1", "8%", "8%0", "1 2", "8; x"])
def test_numbers_of_shards(stubs, script, count):
    errors = stubs.call(script, count, "out", "diffens", "generate", status=2, **TASK)
    assert f'SHARDS: found "{count}", expected integer' in errors
    assert stubs.calls("sbatch") == stubs.calls("diffens") == []


def test_too_few_arguments(stubs):
    for script in "run", "submit":
        assert "found 3 arguments" in stubs.call(script, "8", "out", "diffens", status=2)


@pytest.mark.parametrize("count, array", [("8", "0-7"), ("8%2", "0-7%2"), ("1", "0-0")])
def test_submitted_jobs(stubs, count, array):
    """The second behind the first, with words as they are: blanks, quotes, line ends."""
    out, program, prompt = "o ut\n'x'", "/opt/my diffens", "it's $HOME\n"
    stubs.call("submit", count, out, program, "generate", "--prompt", prompt,
               SBATCH_OPTIONS="--time=60 --partition=gpu")
    tasks, joining = stubs.calls("sbatch")
    run, shards = str(SLURM / "run"), count[0]
    at = tasks.index(run)
    assert tasks[at:] == [run, shards, out, program, "generate", "--prompt", prompt]
    assert {"--time=60", "--partition=gpu", "--requeue", f"--array={array}"} < set(tasks[:at])
    at = joining.index(run)
    assert joining[at:] == [run, shards, out, program, "merge"]
    assert {"--time=60", "--partition=gpu", "--requeue", "--dependency=afterok:17",
            "--kill-on-invalid-dep=yes"} < set(joining[:at])
