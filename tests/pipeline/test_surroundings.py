"""What surrounds a run: streams that are closed or full, disks that fill up, locales, masks,
links, and what the system is asked for while a hostile file is read."""

import os
import re
import shutil
import signal
import subprocess
import time

import pytest

import torch_files as f
from killing import commands, differences, save_parents
from weight_files import HOSTILE


@pytest.fixture(scope="module")
def drawing(build, critical, tmp_path_factory):
    """The arguments of a short `generate`, and what it makes."""
    folder = tmp_path_factory.mktemp("drawing")
    work = commands(critical, save_parents(folder / "p.npy"), steps=1)["generate"]
    arguments = [build / "diffens", *map(str, work)]
    subprocess.run([*arguments, "--out", folder / "run", "-q"], check=True, capture_output=True)
    return arguments, folder / "run"


def run(drawing, out, *more, **options):
    options = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL} | options
    return subprocess.run([*drawing[0], "--out", out, *more], **options)


@pytest.mark.parametrize("closing, status", [("<&-", 0), ("2>&-", 0), (">&-", 4),
                                             ("<&- >&- 2>&-", 4)])
def test_closed_streams(drawing, tmp_path, closing, status):
    """Files must not get their numbers, or what is printed would end up in them."""
    result = subprocess.run(["sh", "-c", f'exec "$@" {closing}', "sh", *drawing[0], "--out",
                             tmp_path / "run"], capture_output=True, text=True)
    assert result.returncode == status, result.stderr
    if ">&-" in closing.split():
        assert "2>&-" in closing or "standard output: cannot write: Bad file" in result.stderr
    assert differences(tmp_path / "run", drawing[1]) == []


def test_a_full_output_stream(drawing, tmp_path):
    with open("/dev/full", "w") as full:
        result = run(drawing, tmp_path / "run", capture_output=False, stdout=full,
                     stderr=subprocess.PIPE)
    assert result.returncode == 4 and "standard output: cannot write: No space" in result.stderr
    assert differences(tmp_path / "run", drawing[1]) == []


@pytest.fixture(scope="module")
def locales(tmp_path_factory):
    """A folder for $LOCPATH: decimal commas, and a small i without a capital I."""
    folder = tmp_path_factory.mktemp("locales")
    if not os.path.isdir("/usr/share/i18n/locales"):
        pytest.skip("needs the package locales")
    for name, charset in ("de_DE", "UTF-8"), ("tr_TR", "ISO-8859-9"):
        subprocess.run(["localedef", "-i", name, "-f", charset, folder / f"{name}.{charset}"],
                       check=True)
    return folder


@pytest.mark.parametrize("locale", ["C", "POSIX", "de_DE.UTF-8", "tr_TR.ISO-8859-9", "xx"])
def test_locales(drawing, locales, tmp_path, locale):
    environment = os.environ | {"LC_ALL": locale, "LANG": locale, "LOCPATH": str(locales)}
    point = subprocess.run(["locale", "decimal_point"], env=environment, capture_output=True)
    assert point.stdout == (b",\n" if "_" in locale else b".\n")
    result = run(drawing, tmp_path / "run", env=environment)
    assert result.returncode == 0, result.stderr
    assert differences(tmp_path / "run", drawing[1]) == []


def test_an_input_beside_the_run_is_kept(diffens, critical, tmp_path):
    """Only what a run has made may not be read by one that starts over there."""
    out = tmp_path / "run"
    out.mkdir()
    parents = save_parents(out / "p.npy")
    before = (out / "p.npy").read_bytes()
    blend = ["blend", "--ensemble", critical, "--threads", 1, "--images", parents, "--out", out]
    diffens(*blend)
    diffens(*blend, "--gamma", "0.3", "--force")
    assert (out / "p.npy").read_bytes() == before
    assert sorted(path.name for path in (out / "blend").glob("000*")) == ["000_postquant_g0.3.png"]


def test_the_mask_of_new_files(drawing, tmp_path):
    run(drawing, tmp_path / "run", preexec_fn=lambda: os.umask(0o027), check=True)
    modes = {path: path.stat().st_mode & 0o777 for path in (tmp_path / "run").rglob("*")}
    assert set(modes.values()) == {0o750, 0o640}


def test_output_behind_a_link(drawing, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    run(drawing, tmp_path / "link", "--resume", check=True)
    assert differences(tmp_path / "real", drawing[1]) == []
    assert "nothing to do" in run(drawing, tmp_path / "link/", "--resume", check=True).stderr


def test_models_that_may_not_be_written(drawing, critical, tmp_path):
    models = tmp_path / "models"
    models.mkdir()
    if subprocess.run(["mount", "--bind", critical.parent, models],
                      capture_output=True).returncode != 0:
        pytest.skip("may not mount")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", models], check=True)
        moved = [str(word).replace(str(critical.parent), str(models)) for word in drawing[0]]
        run((moved, None), tmp_path / "run", check=True)
    finally:
        subprocess.run(["umount", models], check=True)
    assert differences(tmp_path / "run", drawing[1]) == []


def test_a_finished_run_where_nothing_can_be_written(drawing, tmp_path):
    """It is confirmed, on a full disk and a read-only one; one that is not ends as before."""
    disk, out = tmp_path / "disk", tmp_path / "disk/run"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk],
                      capture_output=True).returncode != 0:
        pytest.skip("may not mount a tmpfs")
    try:
        run(drawing, out, check=True)
        with open(disk / "ballast", "wb", buffering=0) as ballast:
            with pytest.raises(OSError):
                while True:
                    ballast.write(bytes(4096))
        for state in "full", "read-only":
            if state == "read-only":
                subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
            result = run(drawing, out, "--resume")
            assert result.returncode == 0 and "nothing to do" in result.stderr, result.stderr
            assert len(result.stdout.splitlines()) == len(list((out / "images").iterdir()))
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        next((out / "images").iterdir()).unlink()
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        result = run(drawing, out, "--resume")
        assert result.returncode == 4 and "Read-only file system" in result.stderr
    finally:
        subprocess.run(["umount", disk], check=True)


def test_output_that_may_not_be_written(drawing, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", disk],
                      capture_output=True).returncode != 0:
        pytest.skip("may not mount a tmpfs")
    try:
        for out, words in (disk / "new", "cannot make the folder"), (disk, "cannot write there"):
            result = run(drawing, out)
            assert result.returncode == 4 and result.stderr == (
                f"diffens: error: {out}: {words}: Read-only file system\n")
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_disk_that_fills_up(drawing, diffens, tmp_path):
    """Full when the first picture is there: what is there stays, the rest comes later."""
    disk, out = tmp_path / "disk", tmp_path / "disk/run"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk],
                      capture_output=True).returncode != 0:
        pytest.skip("may not mount a tmpfs")
    try:
        process = subprocess.Popen([*drawing[0], "--out", out], text=True,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        while not list(out.glob("images/*.png")):
            time.sleep(0.001)
        process.send_signal(signal.SIGSTOP)
        ballast = os.open(disk / "ballast", os.O_CREAT | os.O_WRONLY)
        try:
            while os.write(ballast, bytes(4096)):
                pass
        except OSError:
            os.close(ballast)
        process.send_signal(signal.SIGCONT)
        said = process.stderr.read()
        assert process.wait() == 4, said
        assert re.search(r"^diffens: error: \S*/disk/run/\S+: .*No space left on device"
                         r"(: \d+ bytes written, \d+ bytes free)?$", said, re.M), said
        whole = {path.name: path.read_bytes() for path in (drawing[1] / "images").iterdir()}
        made = {path.name: path.read_bytes() for path in (out / "images").iterdir()}
        assert made and made.items() <= whole.items()
        subprocess.run(["mount", "-o", "remount,size=4m", disk], check=True)
        (disk / "ballast").unlink()
        run(drawing, out, "--resume", check=True)
        assert differences(out, drawing[1]) == []
    finally:
        process.kill()
        process.wait()
        subprocess.run(["umount", disk], check=True)


HARMLESS = {"pread64", "fstat", "newfstatat", "mmap", "munmap", "brk", "mremap", "madvise",
            "futex", "clock_gettime", "close", "mprotect"}


@pytest.mark.parametrize("kind", ["GLOBAL", "STACK_GLOBAL", "nested", "eval"])
@pytest.mark.parametrize("layout", [f.checkpoint, f.legacy])
def test_only_reads_while_a_hostile_file_is_parsed(build, tmp_path, kind, layout):
    """From opening the file to closing it: no process, no network, no other file."""
    if not shutil.which("strace"):
        pytest.skip("needs strace")
    (tmp_path / "w.ckpt").write_bytes(layout(f.dict_of(a=HOSTILE[kind])))
    traced = subprocess.run(
        ["strace", "-f", "-o", tmp_path / "trace", build / "diffens", "models", "check",
         "w.ckpt"], cwd=tmp_path, capture_output=True, text=True)
    if "PTRACE" in traced.stderr:
        pytest.skip("strace may not trace here")
    assert traced.returncode == 3, traced.stderr
    lines = (tmp_path / "trace").read_text().splitlines()
    opened = [i for i, line in enumerate(lines) if re.search(r'openat\(.*w\.ckpt"', line)]
    assert opened
    for start in opened:
        number = lines[start].rsplit(" ", 1)[1]
        for line in lines[start + 1:]:
            call = line.split(None, 1)[1]
            name = call.split("(")[0]
            assert name in HARMLESS and (name != "mmap" or "MAP_ANONYMOUS" in call), line
            if call.startswith(f"close({number})"):
                break
        else:
            pytest.fail("the file was not closed")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["trace", "w.ckpt"]
