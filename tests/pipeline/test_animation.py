"""--animate: what ffmpeg is sent and what becomes of it. A stub stands in for ffmpeg, so that
the tests need none; where there is one, its files are looked at as well."""

import json
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy
import pytest
from PIL import Image

from killing import save_parents

# Keeps its arguments and the frames beside the stub, and writes a file of a known text.
STUB = """#!{python}
import json, os, pathlib, sys, time
here = pathlib.Path(__file__).parent
mode = (here / "mode").read_text()
if mode == "slow":
    (here / "started").touch()
    time.sleep(60)
frames = b"" if mode == "deaf" else sys.stdin.buffer.read()
with open(here / "calls", "a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
(here / "frames").write_bytes(frames)
pathlib.Path(sys.argv[-1].removeprefix("file:")).write_text("an animation")
if mode == "broken":
    print("Unknown encoder 'lib\\x1bwebp'\\nConversion failed!", file=sys.stderr)
sys.exit(mode == "broken")
"""


@pytest.fixture
def stub(tmp_path, monkeypatch):
    """The folder of a stub that is the only program of $PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "ffmpeg").write_text(STUB.format(python=sys.executable))
    (folder / "ffmpeg").chmod(0o755)
    (folder / "mode").write_text("")
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture
def sweep(critical, tmp_path):
    """blend of three mixtures at two layers, with parents that exist."""
    return ["blend", "--ensemble", critical, "--images", save_parents(tmp_path / "p.npy", 1),
            "--gamma", "0:1:3", "--layer", "prequant,postquant", "--threads", 1, "--out",
            tmp_path / "run"]


def pixels(path):
    return numpy.asarray(Image.open(path).convert("RGB"))


def frames_of(stub, like):
    """The frames that the last call was sent."""
    sent = numpy.frombuffer((stub / "frames").read_bytes(), numpy.uint8)
    return sent.reshape(-1, *like.shape)


def calls_of(stub):
    return [json.loads(line) for line in (stub / "calls").read_text().splitlines()]


def nothing_temporary(run):
    return not [path for path in pathlib.Path(run).rglob(".*.tmp.*")]


def test_sweep(diffens, stub, sweep, record, tmp_path):
    result = diffens(*sweep, "--animate", "gif", "--fps", "4")
    run = tmp_path / "run"
    made = [run / "blend/000_prequant.gif", run / "blend/000_postquant.gif"]
    assert result.stdout.split()[-2:] == [str(path) for path in made]
    mixtures = [pixels(run / f"blend/000_postquant_g{g}.png") for g in ("0", "0.5", "1")]
    expected = [0, 0, 0, 1, 2, 2, 2, 1]   # there and back; the ends stay half a second more
    numpy.testing.assert_array_equal(frames_of(stub, mixtures[0]),
                                     [mixtures[i] for i in expected])
    for path, call in zip(made, calls_of(stub)):
        assert path.read_text() == "an animation"
        height, width, _ = mixtures[0].shape
        assert call[call.index("-video_size") + 1] == f"{width}x{height}"
        assert call[call.index("-framerate") + 1] == "4" and "-nostdin" in call
        assert call[-3:-1] == ["-f", "gif"]
    about = record(run)
    names = [str(path.relative_to(run)) for path in made]
    assert set(names) <= set(about["files"]) and set(names) <= about["sums"].keys()
    page = (run / "report.html").read_text()
    assert all(f'href="{name}">animation</a>' in page for name in names)
    assert "complete: nothing to do" in diffens(*sweep, "--animate", "gif", "--resume").stderr
    assert len(calls_of(stub)) == 2


def test_optimization(diffens, stub, critical, tmp_path):
    run = tmp_path / "run"
    diffens("optimize", "--ensemble", critical, "--images", save_parents(tmp_path / "p.npy", 1),
            "--epochs", 4, "--save-every", 2, "--crops", "1x1", "--threads", 1, "--animate",
            "mp4", "--out", run)
    shown = [pixels(run / f"optimize/000{name}.png") for name in ("_epoch0", "_epoch2", "")]
    numpy.testing.assert_array_equal(frames_of(stub, shown[0]),
                                     [shown[i] for i in (0, 1, 2, 2, 2)])
    assert (run / "optimize/000.mp4").is_file()


def test_no_ffmpeg(diffens, stub, sweep, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    for more in ([], ["--dry-run"]):
        result = diffens(*sweep, "--animate", "gif", *more, status=3)
        assert "--animate: found no ffmpeg in $PATH, expected one" in result.stderr
        assert result.stdout == "" and not (tmp_path / "run").exists()
    diffens(*sweep)
    monkeypatch.setenv("PATH", str(stub))
    again = diffens(*sweep, "--resume", "--animate", "webp")
    assert (tmp_path / "run/blend/000_prequant.webp").is_file()
    assert len(again.stdout.split()) == 8   # as the whole run prints


@pytest.mark.parametrize("mode, words", [
    ("broken", "ffmpeg ended with status 1: Unknown encoder 'lib\\x1Bwebp'"),
    ("deaf", "ffmpeg did not read all frames")])
def test_failing_ffmpeg(diffens, stub, sweep, record, tmp_path, mode, words):
    run = tmp_path / "run"
    (stub / "mode").write_text(mode)
    if mode == "deaf":   # more than a pipe holds
        sweep[sweep.index("0:1:3")] = "0:1:9"
    result = diffens(*sweep, "--animate", "gif", status=4)
    assert f"{run}/blend/000_prequant.gif: {words}" in result.stderr
    assert "--resume tries the animation again" in result.stderr
    assert (run / "report.html").is_file() and (run / "figure.png").is_file()
    assert nothing_temporary(run) and not list(run.rglob("*.gif"))
    assert record(run)["state"] == "failed"
    (stub / "mode").write_text("")
    diffens(*sweep, "--animate", "gif", "--resume")
    assert len(list(run.rglob("*.gif"))) == 2 and record(run)["state"] == "complete"


def test_interrupted(build, stub, sweep, tmp_path):
    (stub / "mode").write_text("slow")
    sweep[sweep.index("0:1:3")] = "0:1:9"   # so that a frame waits while the stub sleeps
    process = subprocess.Popen(
        [build / "diffens", *map(str, sweep), "--animate", "gif"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)) # & leaves it ignored
    while not (stub / "started").exists():
        time.sleep(0.01)
        assert process.poll() is None
    for _ in range(50):                     # two that come together count as one
        if process.poll() is None:
            process.send_signal(signal.SIGINT)  # the second one quits at once
            time.sleep(0.2)
    assert process.poll() == -signal.SIGINT
    process.stderr.close()
    assert nothing_temporary(tmp_path / "run")


@pytest.mark.parametrize("options, words", [
    (["--gamma", "0.3"], "found one mixture a case, expected several"),
    (["--gamma", "0,1", "--animate", "avi"], "expected one of none, gif, webp, mp4")])
def test_nothing_to_animate(diffens, stub, critical, tmp_path, options, words):
    parents = save_parents(tmp_path / "p.npy", 1)
    options += [] if "--animate" in options else ["--animate", "gif"]
    result = diffens("blend", "--ensemble", critical, "--images", parents, *options,
                     "--out", tmp_path / "run", status=2)
    assert words in result.stderr and not (tmp_path / "run").exists()


@pytest.fixture
def parts(diffens, critical, tmp_path):
    """Makes the two shards of a blend."""
    def make(gammas):
        images = save_parents(tmp_path / "p.npy", 2)
        for i in range(2):
            diffens("blend", "--ensemble", critical, "--images", images, "--gamma", gammas,
                    "--threads", 1, "--shard", f"{i}/2", "--out", tmp_path / f"part{i}")
        return tmp_path / "part0", tmp_path / "part1"
    return make


def test_merged(diffens, stub, parts, record, tmp_path):
    diffens("merge", *parts("0,1"), "--animate", "gif", "--out", tmp_path / "run")
    assert {"blend/000_postquant.gif", "blend/001_postquant.gif"} <= record(
        tmp_path / "run")["sums"].keys()


def test_nothing_to_animate_in_what_is_merged(diffens, stub, parts, tmp_path):
    result = diffens("merge", *parts("0.3"), "--animate", "gif", "--out", tmp_path / "run",
                     status=2)
    assert "found one mixture a case, expected several" in result.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("suffix", ["gif", "webp", "mp4"])
def test_real_ffmpeg(diffens, sweep, tmp_path, suffix):
    if not shutil.which("ffmpeg"):
        pytest.skip("ffmpeg is not installed: only its stub was tried")
    sweep[2] = "demo"   # whose pictures are no noise, which no encoder keeps
    diffens(*sweep, "--animate", suffix)
    run = tmp_path / "run"
    path = run / f"blend/000_postquant.{suffix}"
    if suffix == "mp4":
        subprocess.run(["ffmpeg", "-loglevel", "error", "-i", path, tmp_path / "f%03d.png"],
                       check=True)
        frames = [pixels(file) for file in sorted(tmp_path.glob("f*.png"))]
    else:
        animation = Image.open(path)
        assert animation.info.get("loop") == 0
        frames = []
        for i in range(animation.n_frames):
            animation.seek(i)
            frames.append(numpy.asarray(animation.convert("RGB")))
    first, last = (pixels(run / f"blend/000_postquant_g{g}.png").astype(float) for g in (0, 1))
    assert numpy.abs(frames[0] - first).mean() < 12
    assert min(numpy.abs(frame - last).mean() for frame in frames) < 12
    assert numpy.abs(first - last).mean() > 20
