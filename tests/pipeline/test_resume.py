"""Runs that are stopped, killed, locked out or out of disk, and gone on with."""

import hashlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import time

import pytest
import safetensors.numpy

from killing import commands, contents, differences, save_parents, stress
from serving import Server


@pytest.fixture(scope="module")
def work(build, critical, tmp_path_factory):
    """{command: (arguments, an undisturbed run of it)}"""
    folder = tmp_path_factory.mktemp("undisturbed")
    made = {}
    for name, arguments in commands(critical, save_parents(folder / "p.npy")).items():
        arguments = [str(word) for word in arguments]
        subprocess.run([build / "diffens", *arguments, "--out", folder / name, "-q"],
                       check=True, stdout=subprocess.DEVNULL)
        made[name] = arguments, folder / name
    return made


@pytest.fixture
def start(build):
    """Starts the program; what it says comes through a pipe."""
    running = []

    def heed():
        for number in (signal.SIGINT, signal.SIGHUP): # nohup and & leave them ignored
            signal.signal(number, signal.SIG_DFL)

    def run(*arguments, **options):
        process = subprocess.Popen([build / "diffens", *map(str, arguments)], text=True,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, preexec_fn=heed, **options)
        running.append(process)
        return process
    yield run
    for process in running:
        process.kill()
        process.wait()


def signal_at(process, pattern, number):
    """Sends a signal when the program says so; returns all that it said."""
    said = ""
    for line in process.stderr:
        said += line
        if re.search(pattern, line):
            process.send_signal(number)
            break
    said += process.stderr.read()
    process.wait()
    return said


@pytest.mark.parametrize("name, phase, number", [
    ("generate", "generate:", signal.SIGTERM), ("blend", "generate:", signal.SIGUSR1),
    ("blend", "blend:", signal.SIGHUP), ("optimize", "optimize:", signal.SIGXCPU)])
def test_signals_save_and_the_run_goes_on(work, start, diffens, tmp_path, name, phase, number):
    arguments, reference = work[name]
    process = start(*arguments, "--out", tmp_path / "run")
    said = signal_at(process, phase, number)
    assert process.returncode == 75, said
    assert f"diffens: stopped: {signal.Signals(number).name}: " in said
    assert "--resume" in said.splitlines()[-1]
    assert json.loads((tmp_path / "run/run.json").read_text())["state"] == "stopped"
    left = {p.name for p in (tmp_path / "run").iterdir()}
    assert not left & {"run.lock", "run.journal"}
    diffens(*arguments, "--out", tmp_path / "run", "--resume")
    assert differences(tmp_path / "run", reference) == []


def test_a_stop_is_heard_before_the_first_epoch(work, start, tmp_path):
    arguments, _ = work["optimize"]
    process = start(*arguments, "--out", tmp_path / "run",
                    "--progress", "json")
    said = signal_at(process, '"stage": "optimize: parents"', signal.SIGTERM)
    assert process.returncode == 75, said
    assert '"stage": "optimize"' not in said


def test_a_signal_before_the_program_has_begun(work, build, tmp_path):
    """Sent while the libraries are loaded: nobody waits for it yet, and nothing is made."""
    if not shutil.which("strace"):
        pytest.skip("needs strace")
    traced = subprocess.run(
        ["strace", "-o", tmp_path / "trace", "-e", "trace=mmap", "-e",
         "inject=mmap:signal=SIGTERM:when=5", build / "diffens", *work["generate"][0],
         "--out", tmp_path / "run"], capture_output=True, text=True)
    if "PTRACE" in traced.stderr:
        pytest.skip("strace may not trace here")
    assert traced.returncode == -signal.SIGTERM and traced.stderr == ""
    assert not (tmp_path / "run").exists()


def test_a_run_that_was_suspended_goes_on(work, start, tmp_path):
    arguments, reference = work["optimize"]
    process = start(*arguments, "--out", tmp_path / "run")
    for line in process.stderr:
        if "optimize:" in line:
            process.send_signal(signal.SIGSTOP)
            break
    time.sleep(2)
    assert process.poll() is None
    process.send_signal(signal.SIGCONT)
    said = process.stderr.read()
    assert process.wait() == 0, said
    assert differences(tmp_path / "run", reference) == []


def test_interrupt_names_the_command_and_dies_by_the_signal(work, start, tmp_path):
    arguments, reference = work["optimize"]
    process = start(*arguments, "--out", tmp_path / "a run")
    said = signal_at(process, "optimize:", signal.SIGINT)
    assert process.returncode == -signal.SIGINT, said
    command = said.splitlines()[-1].partition("go on with: ")[2]
    assert command.endswith(" --resume") and f"'{tmp_path}/a run'" in command
    subprocess.run(command, shell=True, check=True, stdout=subprocess.DEVNULL)
    assert differences(tmp_path / "a run", reference) == []


def test_a_stop_before_the_beginning_leaves_the_directory_alone(work, diffens, build,
                                                                tmp_path):
    """Neither a run that was there nor files of others become this run's."""
    arguments, _ = work["generate"]
    run = tmp_path / "run"
    process = subprocess.Popen([build / "diffens", *arguments, "--out", run, "-q"],
                               stdout=subprocess.DEVNULL)
    while not list(run.glob("images/*.png")):
        time.sleep(0.01)
    process.kill()
    process.wait()
    (run / "run.lock").unlink()
    before = contents(run)
    other = [*arguments, "--random-seed", "99", "--out", run]
    stopped = diffens(*other, "--force", "--time-limit", "0.001", status=75)
    assert contents(run) == before
    said, _, command = stopped.stderr.splitlines()[-1].partition("; go on with: ")
    assert said.endswith("the run that was there is untouched")
    command = command.replace("--time-limit 0.001", "")
    assert "--force" in command and "--resume" not in command
    assert "another run" in diffens(*other, "--resume", status=3).stderr
    subprocess.run(command, shell=True, check=True, stdout=subprocess.DEVNULL)
    diffens(*other, "--resume")

    (tmp_path / "mine/images").mkdir(parents=True)
    first = sorted(p.name for p in run.glob("images/*.png"))[0]
    (tmp_path / "mine/images" / first).write_text("mine")
    diffens(*arguments, "--out", tmp_path / "mine", "--time-limit", "0.001", status=75)
    diffens(*arguments, "--out", tmp_path / "mine", "--resume", status=3)
    assert (tmp_path / "mine/images" / first).read_text() == "mine"


def test_time_limits_until_done(work, diffens, build, tmp_path):
    arguments, reference = work["optimize"]
    limit, stops = 0.5, 0
    for _ in range(60):
        result = subprocess.run(
            [build / "diffens", *arguments, "--out", tmp_path / "run", "--resume",
             "--time-limit", str(limit)], capture_output=True, text=True)
        if result.returncode == 0:
            break
        assert result.returncode == 75, result.stderr
        assert "stopped" in result.stderr and "--time-limit" in result.stderr
        limit, stops = limit * 1.3, stops + 1
    assert result.returncode == 0 and stops > 0
    assert differences(tmp_path / "run", reference) == []


def test_twenty_kills(build, critical, tmp_path):
    with Server(build) as server:
        assert stress(server, critical, tmp_path, kills=20, seed=1).total() >= 20


def test_a_finished_run_does_nothing(work, diffens, tmp_path):
    for name, (arguments, reference) in work.items():
        run = tmp_path / name
        shutil.copytree(reference, run)
        diffens(*arguments, "--out", run, "--resume") # a copy is read once
        times = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
        first = diffens(*arguments, "--out", run, "--resume")
        assert "nothing to do" in first.stderr
        assert len(first.stdout.splitlines()) == {"generate": 6, "blend": 27, "optimize": 4}[name]
        assert {path: path.stat().st_mtime_ns
                for path in run.rglob("*") if path.is_file()} == times
        told = json.loads(diffens(*arguments, "--out", run, "--resume", "--json").stdout)
        assert {"figure.png", "report.html", "images.npy"} <= set(told["files"])


def test_a_finished_run_reads_neither_weights_nor_pictures(work, build, diffens, tmp_path):
    if not shutil.which("strace"):
        pytest.skip("needs strace")
    for name, (arguments, run) in work.items():
        # what was published within the same tick of the clock as run.hashes is read once more
        diffens(*arguments, "--out", run, "--resume")
        traced = subprocess.run(
            ["strace", "-f", "-y", "-o", tmp_path / "trace", "-e", "trace=read,pread64,mmap",
             build / "diffens", *arguments, "--out", run, "--resume"],
            capture_output=True, text=True)
        if "PTRACE" in traced.stderr:
            pytest.skip("strace may not trace here")
        assert traced.returncode == 0, traced.stderr
        for line in (tmp_path / "trace").read_text().splitlines():
            read = re.search(r"pread64\(\d+<(.*\.safetensors)>.* = (\d+)$", line)
            assert not re.search(r"(read|mmap)\(.*\.safetensors>", line) or read, line
            shape = re.search(r"pread64\(\d+<.*\.npy>.*, 4096, 0\) = 4096$", line)
            assert not re.search(r"\(\d+<.*\.(png|npy|html|csv)>", line) or shape, line
            if read:  # names and shapes, not what follows them
                with open(read[1], "rb") as file:
                    header = 8 + int.from_bytes(file.read(8), "little")
                assert int(read[2]) <= header, line


def test_the_journal_is_on_the_disk_before_what_only_it_explains(work, build, tmp_path):
    """A power cut may take every line that was not flushed, but no file that was."""
    if not shutil.which("strace"):
        pytest.skip("needs strace")
    arguments, _ = work["generate"]
    traced = subprocess.run(
        ["strace", "-f", "-y", "-s", "200", "-o", tmp_path / "trace", "-e",
         "trace=write,fsync,fdatasync,rename", build / "diffens", *arguments, "--out",
         tmp_path / "run"], capture_output=True, text=True)
    if "PTRACE" in traced.stderr:
        pytest.skip("strace may not trace here")
    assert traced.returncode == 0, traced.stderr
    lines = (tmp_path / "trace").read_text().splitlines()
    for name in ("figure.png", "report.html"):
        noted, named = (
            next(i for i, line in enumerate(lines) if re.search(call, line))
            for call in (rf"write\(\d+<.*/run\.journal>, .*file.*{name}",
                         rf"rename\(.*, \".*/run/{name}\""))
        assert any(re.search(r"sync\(\d+<.*/run\.journal>", line)
                   for line in lines[noted:named]), name


def test_missing_files_are_made_again(work, diffens, tmp_path):
    arguments, reference = work["blend"]
    run = tmp_path / "run"
    shutil.copytree(reference, run)
    for lost in ("images/001_a.png", "blend/000_prequant_g0.5.png", "figure.png"):
        (run / lost).unlink()
    result = diffens(*arguments, "--out", run, "--resume")
    assert "2 files that were finished are gone" in result.stderr
    assert "model b" not in result.stderr
    assert differences(run, reference) == []
    (run / "images.npy").unlink()
    diffens(*arguments, "--out", run, "--resume")
    assert differences(run, reference) == []
    with open(run / "images.npy", "r+b") as tensor:
        tensor.seek(-100, os.SEEK_END)
        tensor.write(bytes(100))
    result = diffens(*arguments, "--out", run, "--resume")
    assert "put back" in result.stderr
    assert differences(run, reference) == []


def test_lost_previews_begin_the_case_anew(work, start, diffens, tmp_path):
    arguments, reference = work["optimize"]
    run = tmp_path / "run"
    signal_at(start(*arguments, "--out", run), r"case 000, step (1[2-9]|[23])", signal.SIGTERM)
    assert (run / "checkpoints/000.safetensors").exists()
    (run / "optimize/000_epoch10.png").unlink()
    diffens(*arguments, "--out", run, "--resume")
    assert differences(run, reference) == []


@pytest.mark.parametrize("damage", ["latest", "both"])
def test_damaged_checkpoints(work, start, diffens, tmp_path, damage):
    arguments, reference = work["optimize"]
    run = tmp_path / "run"
    signal_at(start(*arguments, "--out", run), r"case 000, step (1[2-9]|[23])", signal.SIGTERM)
    states = sorted((run / "checkpoints").iterdir())
    assert [s.name for s in states] == ["000.safetensors", "000.safetensors.previous"]
    for state in states[:1] if damage == "latest" else states:
        bytes_ = bytearray(state.read_bytes())
        bytes_[-300] ^= 1
        state.write_bytes(bytes_)
    result = diffens(*arguments, "--out", run, "--resume",
                     status=0 if damage == "latest" else 3)
    assert "000.safetensors: sha256" in result.stderr
    if damage == "latest":
        assert differences(run, reference) == []
    else:
        assert "to begin the case anew" in result.stderr


def test_a_checkpoint_that_was_fallen_back_on_stays(work, start, diffens, tmp_path):
    """Until a newer one is there: here the next cannot be written."""
    arguments, reference = work["optimize"]
    run = tmp_path / "run"
    signal_at(start(*arguments, "--out", run), r"case 000, step (1[2-9]|[23])", signal.SIGTERM)
    latest = run / "checkpoints/000.safetensors"
    size = latest.stat().st_size
    latest.write_bytes(latest.read_bytes()[:-300] + bytes(300))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size - 1, resource.RLIM_INFINITY))
    try:
        diffens(*arguments, "--out", run, "--resume", status=4)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, [resource.RLIM_INFINITY] * 2)
    diffens(*arguments, "--out", run, "--resume")
    assert differences(run, reference) == []


def test_checkpoints_of_another_format(work, start, diffens, tmp_path):
    arguments, _ = work["optimize"]
    run = tmp_path / "run"
    signal_at(start(*arguments, "--out", run), r"case 000, step (1[2-9]|[23])", signal.SIGTERM)
    for state in (run / "checkpoints").iterdir():
        bytes_ = state.read_bytes()
        mark = re.search(rb'"diffens.optimize": ?"2"', bytes_)
        state.write_bytes(bytes_[:mark.end() - 2] + b'9"' + bytes_[mark.end():])
    result = diffens(*arguments, "--out", run, "--resume", status=3)
    assert 'format: found "9", expected "2"' in result.stderr


@pytest.mark.parametrize("counters", [[], [2**63 - 1], [41], [12, 13], ["x"]], ids=str)
def test_checkpoints_with_impossible_counters(work, start, diffens, tmp_path, counters):
    """Their checksum is right, and what is not changed is taken."""
    arguments, _ = work["optimize"]
    run = tmp_path / "run"
    signal_at(start(*arguments, "--out", run), r"case 000, step (1[2-9]|[23])", signal.SIGTERM)
    for state in (run / "checkpoints").iterdir():
        with safetensors.safe_open(state, "numpy") as file:
            texts = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        texts["counters"] = " ".join([*map(str, counters),
                                      *texts["counters"].split()[len(counters):]])
        names = ["latent", "m", "v", "kept.latent", "kept.m", "kept.v", "best", "text"]
        texts["sha256"] = hashlib.sha256(
            b"".join(tensors[name].tobytes() for name in names) + texts["counters"].encode() + b"\0"
            + texts["identity"].encode() + b"\0").hexdigest()
        safetensors.numpy.save_file(tensors, state, texts)
    result = diffens(*arguments, "--out", run, "--resume", status=3 if counters else 0)
    assert ("000.safetensors: counters: found" in result.stderr) == bool(counters)


def test_a_directory_that_goes_away(work, start, tmp_path):
    arguments, _ = work["blend"]
    process = start(*arguments, "--out", tmp_path / "run")
    for line in process.stderr:
        if "generate:" in line:
            shutil.rmtree(tmp_path / "run")
            break
    said = process.stderr.read()
    assert process.wait() == 4, said
    assert re.search(r"^diffens: error: \S*/run/\S+: .*No such file", said, re.M), said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("index", ["fresh", "copied", "damaged", "missing"])
@pytest.mark.parametrize("file", ["images/000_b.png", "figure.png"])
def test_altered_files_are_refused(work, diffens, tmp_path, file, index):
    """A byte of a file that keeps its size and its time, too."""
    arguments, reference = work["generate"]
    run = tmp_path / "run"
    shutil.copytree(reference, run)
    if index != "copied":
        diffens(*arguments, "--out", run, "--resume")
    if index == "damaged":
        (run / "run.hashes").write_bytes((run / "run.hashes").read_bytes()[:-9])
    if index == "missing":
        (run / "run.hashes").unlink()
    before = (run / file).stat()
    forged = bytearray((run / file).read_bytes())
    forged[-30] ^= 1
    (run / file).write_bytes(forged)
    os.utime(run / file, ns=(before.st_atime_ns, before.st_mtime_ns))
    result = diffens(*arguments, "--out", run, "--resume", status=3)
    assert re.search(file + r": sha256: found [0-9a-f]{64}, expected [0-9a-f]{64}", result.stderr)
    assert (run / file).read_bytes() == forged


def test_altered_parents_of_a_finished_run_are_refused(work, diffens, tmp_path):
    arguments, reference = work["optimize"]
    parents = tmp_path / "parents.npy"
    parents.write_bytes((reference.parent / "p.npy").read_bytes())
    arguments = [parents if word.endswith(".npy") else word for word in arguments]
    shutil.copytree(reference, tmp_path / "run")
    diffens(*arguments, "--out", tmp_path / "run", "--resume")
    with open(parents, "r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))
    result = diffens(*arguments, "--out", tmp_path / "run", "--resume", status=3)
    assert "found another picture than the one that the run" in result.stderr


@pytest.mark.parametrize("change, field", [
    (["--steps", "5"], "$.options.steps was number 4, now number 5"),
    (["--models", "b,a"], "$.options.models"), (["--guidance", "3"], "$.options.guidance"),
    (["--guidance-interval", "0:0.5"], '$.options.guidance-interval was string "0:1", now string "0:0.5"'),
    (["--cache-interval", "2"], "$.options.cache-interval was number 1, now number 2"),
    (["--prompt", "a tree"], "$.options.prompt was null")])
def test_another_run_is_refused(work, diffens, tmp_path, change, field):
    arguments, reference = work["generate"]
    run = tmp_path / "run"
    shutil.copytree(reference, run)
    before = contents(run)
    if change[0] == "--prompt":
        arguments = [a for a in arguments if a != "--prompts" and not a.endswith(".txt")]
    if change[0] == "--steps":
        arguments = [a for i, a in enumerate(arguments) if "--steps" not in arguments[i - 1:i + 1]]
    result = diffens(*arguments, *change, "--out", run, "--resume", status=3)
    assert field in result.stderr and "--force" in result.stderr
    assert contents(run) == before
    result = diffens(*arguments, "--out", run, "--resume", "--force", status=2)
    assert "--resume and --force" in result.stderr


def test_without_out_the_last_run_is_gone_on_with(work, build, tmp_path):
    arguments, reference = work["generate"]
    for expected in ("", "nothing to do"):
        result = subprocess.run([build / "diffens", *arguments, "--resume"], cwd=tmp_path,
                                capture_output=True, text=True, check=True)
        assert expected in result.stderr
    assert os.listdir(tmp_path / "diffens-runs") == ["generate-001"]
    assert differences(tmp_path / "diffens-runs/generate-001", reference) == []


def test_one_live_run_a_directory(work, start, diffens, tmp_path):
    arguments, reference = work["optimize"]
    run = tmp_path / "run"
    first = start(*arguments, "--out", run)
    while not (run / "run.json").exists():
        time.sleep(0.01)
    first.send_signal(signal.SIGSTOP)
    for option in ("--resume", "--force"):
        result = diffens(*arguments, "--out", run, option, status=8)
        assert f"held by process {first.pid} on host" in result.stderr
    first.kill()
    first.wait()
    result = diffens(*arguments, "--out", run, "--resume")
    assert "taking over the lock" in result.stderr
    assert differences(run, reference) == []


def test_a_disk_that_is_too_small(work, diffens, tmp_path):
    arguments, reference = work["blend"]
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk],
                      capture_output=True).returncode != 0:
        pytest.skip("may not mount a tmpfs")
    try:
        result = diffens(*arguments, "--out", disk / "run", status=4)
        assert re.search(r"disk/run: found \d+ bytes free, expected \d+", result.stderr)
        subprocess.run(["mount", "-o", "remount,size=8m", disk], check=True)
        diffens(*arguments, "--out", disk / "run", "--resume")
        assert differences(disk / "run", reference) == []
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT])
def test_a_crash_says_so_and_leaves_no_temporaries(work, start, tmp_path, number):
    arguments, _ = work["generate"]
    process = start(*arguments, "--out", tmp_path / "run")
    said = signal_at(process, "generate:", number)
    assert process.returncode == -number
    assert re.search(rf"^diffens \S+: bug: signal {number:d}, please report$", said, re.M)
    assert not list((tmp_path / "run").rglob(".*"))


def test_a_figure_stays_the_runs_own(build, work, diffens, tmp_path):
    """Killed twice: after the figure was made, and when the record had just been written
    anew, before the figure was planned again."""
    arguments, reference = work["generate"]
    run = tmp_path / "run"
    shutil.copytree(reference, run)
    record = json.loads((run / "run.json").read_text())
    record["state"] = "running"
    (run / "run.json").write_text(json.dumps(record))
    (run / "images/000_a.png").unlink()
    with Server(build) as server:
        server.run(*arguments, "--out", run, "--resume", fault="write 3 onward")
    assert "figure.png" in json.loads((run / "run.json").read_text())["files"]
    diffens(*arguments, "--out", run, "--resume")
    assert differences(run, reference) == []


def test_a_case_cut_off_while_it_was_judged(work, start, diffens, tmp_path):
    """Its table of losses is final, its outcome not known: done again, and stopped in that."""
    arguments, reference = work["optimize"]
    run = tmp_path / "run"
    shutil.copytree(reference, run)
    record = json.loads((run / "run.json").read_text())
    assert record["optimize"].pop(0)["case"] == "000"
    record["state"] = "stopped"
    (run / "run.json").write_text(json.dumps(record))
    said = signal_at(start(*arguments, "--out", run, "--resume"), r"case 000, step (1[2-9]|[23])",
                     signal.SIGTERM)
    assert "stopped: SIGTERM" in said
    diffens(*arguments, "--out", run, "--resume")
    assert differences(run, reference) == []
