"""`diffens inspect`: what it says, that its commands make the same bytes again, that it
does not trust what it reads."""

import json
import os
import pathlib
import subprocess

import pytest
from PIL import Image, PngImagePlugin

PROMPTS = {"prompts": [["a red boat", "a red 'boat' $HOME"], ["a \"green\" tree", "--tree"]],
           "names": ["boat", "tree"], "seeds": [7, 18446744073709551615],
           "negative": ["", "blue\nsky"]}


SMALL = ["--ensemble", "demo", "--steps", 2, "--threads", 1]
DRAWN = [*SMALL, "--size", "64x64", "--prompts", "p.json", "--models", "poster,plain"]
MOVED = ["--epochs", 4, "--save-every", 2, "--crops", "1x1,2x0.5", "--lr", 0.2]
RUNS = {
    "generate": ["generate", *DRAWN, "--noise", "independent", "--scheduler", "ddim"],
    "blend": ["blend", *DRAWN, "--layer", "prequant,postquant", "--gamma", "0,0.3"],
    "weights": ["blend", *SMALL, "--size", "64x64", "--prompt", "a boat", "--negative",
                "fog", "--weights", "0.1,0.7,0.4", "--normalize", "--requantize"],
    "optimize": ["optimize", *DRAWN, *MOVED],
    "images": ["optimize", "--ensemble", "demo", "--threads", 1, "--images", "generate",
               *MOVED, "--random-seed", 5],
}


@pytest.fixture(scope="module")
def runs(diffens, tmp_path_factory):
    """runs("blend/images") is that path; a run is made when it is first asked for."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "p.json").write_text(json.dumps(PROMPTS))
    needs = {"images": "generate"}

    def find(path):
        name = path.split("/")[0]
        if name in RUNS and not (folder / name).exists():
            find(needs.get(name, "p.json"))
            files = {"p.json", "generate"}
            diffens(*[folder / word if word in files and at > 0 else word
                      for at, word in enumerate(RUNS[name])], "--out", folder / name)
        return folder / path
    return find


@pytest.fixture
def again(build, diffens, runs, tmp_path):
    """again(path) is the run directory that the command of `path` makes, run by a shell in
    an empty folder where `inputs` are."""
    def run(path, *inputs):
        command = diffens("inspect", "--command", path).stdout
        for name in inputs:
            (tmp_path / name).symlink_to(runs(name))
        subprocess.run(["sh", "-euc", command], cwd=tmp_path, check=True, text=True,
                       env={**os.environ, "PATH": f"{build}:{os.environ['PATH']}"})
        made, = (tmp_path / "diffens-runs").iterdir()
        return made
    return run


@pytest.mark.parametrize("picture", [
    "generate/images/tree_plain.png",
    "blend/images/tree_plain.png",
    "blend/blend/tree_prequant_g0.3.png",
    "optimize/optimize/tree.png",
    "optimize/optimize/boat_best.png",
    "optimize/optimize/boat_epoch2.png",
])
def test_one_picture_again(again, runs, picture):
    path = runs(picture)
    made = again(path)
    copy = made / path.relative_to(runs(picture.split("/")[0]))
    assert copy.read_bytes() == path.read_bytes()
    assert not list(made.glob("*/tree*" if "boat" in picture else "*/boat*"))


def test_weights_again(again, runs):
    path, = runs("weights/blend").iterdir()
    copy, = (again(path) / "blend").iterdir()
    assert copy.read_bytes() == path.read_bytes()


def test_a_model_from_elsewhere_again(diffens, runs, tmp_path):
    """Its name alone would be that of the ensemble's own."""
    outside = tmp_path / "elsewhere/plain"
    outside.parent.mkdir()
    outside.symlink_to(pathlib.Path(__file__).resolve().parents[2] / "models/demo/poster")
    diffens("generate", *SMALL, "--size", "64x64", "--prompt", "a boat", "--models",
            f"poster,{outside}", "--out", tmp_path / "run")
    for path in ("run", "run/images/000_plain.png"):
        command = diffens("inspect", "--command", tmp_path / path).stdout
        assert "./plain" in command and "elsewhere" not in command
    assert "./" not in diffens("inspect", "--command",
                               tmp_path / "run/images/000_poster.png").stdout


def test_the_environment_does_not_matter(build, runs):
    told = [subprocess.run([build / "diffens", "inspect", runs("generate")], text=True,
                           capture_output=True, check=True, env=os.environ | more).stdout
            for more in ({}, {"DIFFENS_THREADS": "abc", "DIFFENS_DEVICE": "cpu"})]
    assert told[0] == told[1]


@pytest.mark.parametrize("prompts", ["a cat\n\nit's\t100% a \\n dog\n", json.dumps(PROMPTS)],
                         ids=["lines", "JSON"])
def test_prompts_of_a_stream_again(build, again, tmp_path_factory, prompts):
    run = tmp_path_factory.mktemp("stream") / "run"
    subprocess.run([build / "diffens", "generate", *map(str, SMALL), "--size", "64x64", "--models",
                    "poster,plain", "--prompts", "-", "--out", run], input=prompts, text=True,
                   check=True, capture_output=True)
    made = again(run)
    assert (made / "images.npy").read_bytes() == (run / "images.npy").read_bytes()
    first, second = (json.loads((r / "run.json").read_text()) for r in (run, made))
    assert first["prompts"] == second["prompts"] and first["standard_input"] == prompts


def test_given_pictures_again(again, diffens, runs):
    path = runs("images/optimize/tree.png")
    assert (again(path, "generate") / "optimize/tree.png").read_bytes() == path.read_bytes()
    refused = diffens("inspect", "--command", runs("images/images/tree_plain.png"), status=3)
    assert "--images" in refused.stderr


@pytest.mark.parametrize("run, inputs", [("weights", []), ("blend", ["p.json"])])
def test_run_again(again, runs, run, inputs):
    made = again(runs(run), *inputs)
    files = [path.relative_to(made) for path in made.rglob("*.*")
             if not path.name.startswith("run.")]
    assert len(files) > 3
    for name in files:
        assert (made / name).read_bytes() == (runs(run) / name).read_bytes(), name


def test_text_and_json(diffens, runs):
    text = diffens("inspect", runs("blend")).stdout
    for part in ("2 cases", "seed 18446744073709551615", "poster",
                 "options that differ", "steps", "libtorch",
                 "model.safetensors", "diffens blend"):
        assert part in text
    path = runs("blend/images/boat_plain.png")
    text = diffens("inspect", path).stdout
    assert "a red 'boat' $HOME" in text and "ddim" not in text
    stored = json.loads(Image.open(path).text["diffens"])
    assert json.loads(diffens("inspect", "--json", path).stdout) == stored
    whole = json.loads(runs("blend/run.json").read_text())
    assert json.loads(diffens("inspect", "--json", runs("blend")).stdout) == whole


def png(path, text):
    info = PngImagePlugin.PngInfo()
    info.add_itxt("diffens", text)
    Image.new("RGB", (2, 2)).save(path, pnginfo=info)
    return path


def test_nothing_reaches_the_terminal(diffens, runs, tmp_path):
    record = json.loads(Image.open(runs("generate/images/boat_plain.png")).text["diffens"])
    evil = "\x1b[31m\u009b0m\u202e'$(touch x)`touch x`\n"
    record |= {"prompt": evil, "model": evil, "case": evil, "ensemble": evil,
               "device": evil, evil: evil}
    path = png(tmp_path / "evil.png", json.dumps(record, ensure_ascii=False))
    for option in ([], ["--json"], ["--command"]):
        out = diffens("inspect", path, *option).stdout
        assert not set("\x1b\u009b\u202e") & set(out), option
    words = subprocess.run(["bash", "-c", "diffens() { printf '%s\\0' \"$@\"; }; " + out],
                           capture_output=True, text=True, cwd=tmp_path).stdout
    assert evil in words.split("\0") and not (tmp_path / "x").exists()


@pytest.mark.parametrize("change, message", [
    ({"kind": "cake"}, '$.kind: found "cake"'),
    ({"kind": "figure"}, "found a figure"),
    ({"kind": 3}, "$.kind"),
    ({"seed": -1}, "$.seed"),
    ({"seed": 1.5}, "$.seed"),
    ({"case": None}, "$.case"),
    ({"steps": {}}, "$.steps"),
    ({"kind": "blend"}, "parents"),
    ({"kind": "blend", "parents": [3]}, "$.parents[0]"),
    ({"kind": "optimize", "parents": [{"weight": 7}]}, "weight"),
])
def test_wrong_records(diffens, runs, tmp_path, change, message):
    record = json.loads(Image.open(runs("blend/images/boat_plain.png")).text["diffens"])
    path = png(tmp_path / "wrong.png", json.dumps(record | change))
    error = diffens("inspect", "--command", path, status=3).stderr
    assert str(path) in error and message in error
    diffens("inspect", path)


@pytest.mark.parametrize("option", [[], ["--json"], ["--command"]])
def test_records_of_a_newer_program(diffens, runs, tmp_path, option):
    record = json.loads(runs("blend/run.json").read_text())
    file = tmp_path / "run.json"
    for path in (tmp_path, file):
        file.write_text(json.dumps(record | {"format": 99}))
        error = diffens("inspect", path, *option, status=3).stderr
        assert f"{file}: $.format: found 99, expected at most 1: made by a newer" in error
        file.write_text(json.dumps({k: v for k, v in record.items() if k != "format"}))
        diffens("inspect", path, *option)


def test_other_files(diffens, runs, tmp_path):
    Image.new("RGB", (2, 2)).save(tmp_path / "bare.png")
    (tmp_path / "run.json").write_text('{"program": "diffens"}')
    (tmp_path / "text.png").write_text("no picture")
    for name in ("bare.png", "text.png", "none.png", "run.json", ""):
        assert str(tmp_path / name) in diffens("inspect", tmp_path / name, status=3).stderr
    whole = json.loads(runs("weights/run.json").read_text())
    for arguments in ([], ["diffens", "blend", "--evil"], ["diffens", "inspect", "x"],
                      ["diffens", "blend", "--steps"], ["diffens", "blend", 3], 3):
        (tmp_path / "run.json").write_text(json.dumps(whole | {"arguments": arguments}))
        for option in ([], ["--command"]):
            diffens("inspect", tmp_path, *option, status=3)
    assert "expected one PATH" in diffens("inspect", "a", "b", status=2).stderr
    assert "expected diffens inspect PATH" in diffens("inspect", status=2).stderr
