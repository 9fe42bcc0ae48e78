"""The ensemble that comes with the program: complete, in its size, and blending."""

import json
import pathlib

import numpy
import pytest
from PIL import Image

DEMO = pathlib.Path(__file__).resolve().parents[2] / "models/demo"
ENSEMBLE = DEMO / "ensemble.json"


def pixels(path):
    return numpy.asarray(Image.open(path)).astype(int)


def test_it_is_small():
    files = [p for p in DEMO.rglob("*") if p.is_file() and not p.is_symlink()]
    assert sum(p.stat().st_size for p in files) < 40e6


@pytest.fixture(scope="module")
def run(diffens, tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "run"
    diffens("blend", "--ensemble", ENSEMBLE, "--steps", 10, "--gamma", "0:1:5", "--layer",
            "all", "--out", folder)
    return folder


def test_the_example_passes_from_one_parent_to_the_other(run):
    """Each step of gamma moves the picture further from the first parent."""
    for layer in ("preconv", "prequant", "postquant"):
        sweep = [pixels(run / f"blend/000_{layer}_g{g}.png")
                 for g in ("0", "0.25", "0.5", "0.75", "1")]
        away = [numpy.abs(picture - sweep[0]).mean() for picture in sweep]
        assert away == sorted(away) and away[-1] > 5
        assert all(picture.std() > 20 for picture in sweep), "a dead region"


def test_identities_on_trained_weights(diffens, run, tmp_path):
    out = diffens("blend", "--ensemble", ENSEMBLE, "--images", run, "--layer", "all",
                  "--weights", "1,0", "--weights", "0,1", "--out", tmp_path / "out").stdout
    for line in out.split():
        layer = line.split("_")[-2]
        gamma = 0 if line.endswith("w1-0.png") else 1
        assert (pixels(line) == pixels(run / f"blend/000_{layer}_g{gamma}.png")).all()


def test_optimize_beats_where_it_started(diffens, run, tmp_path):
    diffens("optimize", "--ensemble", ENSEMBLE, "--images", run, "--epochs", 15, "--save-every",
            0, "--out", tmp_path / "out")
    rows = (tmp_path / "out/optimize/000_losses.csv").read_text().splitlines()
    total = rows[0].split(",").index("total")
    losses = [float(row.split(",")[total]) for row in rows[1:]]
    assert len(losses) == 15 and losses[-1] < 0.8 * losses[0]


def test_optimize_ends_below_its_baselines(diffens, run, tmp_path):
    """In short, what scripts/check-optimize shows: few epochs, at rates that suit them."""
    diffens("optimize", "--ensemble", ENSEMBLE, "--images", run, "--seed", "input", "--lr", 0.05,
            "--lr-decay-every", 2, "--epochs", 24, "--save-every", 0, "--out", tmp_path / "out")
    outcome = json.loads((tmp_path / "out/run.json").read_text())["optimize"][0]
    baselines = outcome["baselines"]
    others = [baselines["average"], baselines["blend"], *baselines["reconstructions"].values()]
    assert outcome["final"]["total"] < min(other["total"] for other in others)


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_half_precision_is_close(diffens, run, observe, tmp_path, dtype):
    """Norms, softmax, scheduler and guidance stay in fp32."""
    pair = ",".join(json.loads(ENSEMBLE.read_text())["pair"])
    result = diffens("generate", "--ensemble", ENSEMBLE, "--steps", 10, "--models", pair,
                     "--dtype", dtype, "--out", tmp_path / "half")
    assert "not finite" not in result.stderr
    half = numpy.load(tmp_path / "half/images.npy").astype(int)
    full = numpy.load(run / "images.npy").astype(int)
    difference = numpy.abs(half - full).mean()
    observe("demo", dtype, "mean difference to fp32, of 255", difference, 8)
    assert 0 < difference <= 8
