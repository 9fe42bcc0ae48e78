"""The next model's files are asked for while the present one draws."""

import os
import subprocess


def events(build, tmp_path, *arguments):
    """What happened to files, in order: ("advise" or "rename", path below the ensemble or
    the run)."""
    log = tmp_path / "events"
    result = subprocess.run(
        [build / "diffens", *map(str, arguments), "--steps", "1", "--size", "64x64", "--out",
         tmp_path / "run"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
        env=os.environ | {"LD_PRELOAD": str(build / "tests/libwatch_files.so"),
                          "WATCH_FILES": str(log)})
    assert result.returncode == 0, result.stderr
    return [tuple(line.split()[:2]) for line in log.read_text().splitlines()]


def test_the_next_models_files_are_read_ahead(build, tiny, tmp_path):
    folder = tiny[0].parent
    found = events(build, tmp_path, "blend", "--ensemble", tiny[0], "--models", "a,b,c",
                   "--weights", "0.5,0.25,0.25", "--prompt", "a cat")
    advised = [(at, path) for at, (what, path) in enumerate(found) if what == "advise"]
    published = {path: at for at, (what, path) in reversed(list(enumerate(found)))
                 if what == "rename"}
    drawn = [published[str(tmp_path / f"run/images/000_{m}.png")] for m in "abc"]

    def between(first, last):
        return {path for at, path in advised if first < at < last}
    assert between(-1, drawn[0]) & {str(folder / "b/text_encoder/model.safetensors")}
    assert between(-1, drawn[0]) <= {str(path) for path in (folder / "b").rglob("*.safetensors")}
    assert between(drawn[0], drawn[1]) & {str(folder / "c/text_encoder/model.safetensors")}
    assert str(folder / "vqgan/model.safetensors") in between(drawn[1], drawn[2])

