"""`diffens optimize` as a command: what it writes, that it repeats itself, what it refuses.
That the numbers are right is tests/parity/test_optimize.py's."""

import csv
import json
import shutil

import numpy
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

EPOCHS = 12


def pixels(path):
    return numpy.asarray(Image.open(path)).astype(int)


def texts(path):
    return json.loads(Image.open(path).text["diffens"])


def losses(path):
    with open(path, newline="") as table:
        return list(csv.DictReader(table))


@pytest.fixture(scope="module")
def parents(tmp_path_factory):
    """An image tensor of 2 cases and 2 models, at the VQGAN's own size."""
    path = tmp_path_factory.mktemp("parents") / "parents.npy"
    coarse = numpy.random.default_rng(5).integers(0, 256, (2, 2, 8, 8, 3), numpy.uint8)
    numpy.save(path, coarse.repeat(8, axis=2).repeat(8, axis=3))
    return path


@pytest.fixture
def optimize(diffens, critical, parents, tmp_path):
    def run(out, *arguments, ensemble=critical, epochs=EPOCHS, status=0):
        return diffens("optimize", "--ensemble", ensemble, "--images", parents, "--threads",
                       1, "--crops", "1x1,3x0.5", "--epochs", epochs, "--save-every", 5,
                       "--out", tmp_path / out, *arguments, status=status)
    return run


def test_what_is_written(optimize, record, tmp_path):
    result = optimize("run")
    run = tmp_path / "run"
    pictures = [str(run / "optimize" / name)
                for name in ("000.png", "000_best.png", "001.png", "001_best.png")]
    assert result.stdout.splitlines() == pictures
    names = ["", "_best", "_epoch0", "_epoch5", "_epoch10"]
    files = {f"{case}{name}.png" for case in ("000", "001") for name in names}
    files |= {f"{case}_losses.csv" for case in ("000", "001")}
    assert {path.name for path in (run / "optimize").iterdir()} == files
    shapes = {pixels(path).shape for path in (run / "optimize").glob("*.png")}
    assert shapes == {(64, 64, 3)}

    whole = record(run)
    assert whole["state"] == "complete"
    assert {network["role"] for network in whole["ensemble"]["networks"]} == {
        "vqgan", "clip", "perceptual"}
    assert all(file["sha256"] for network in whole["ensemble"]["networks"]
               for file in network["files"])
    assert len(whole["ensemble"]["networks"][2]["files"]) == 2
    assert set(whole["files"]) == {
        str(path.relative_to(run)) for path in run.rglob("*.*") if not path.name.startswith("run.")}
    preview = texts(run / "optimize" / "000_epoch5.png")
    assert preview["kind"] == "optimize" and preview["result"] == "preview"
    assert preview["epoch"] == 5 and preview["layer"] == "prequant"
    assert [p["weight"] for p in preview["parents"]] == [0.5, 0.5]
    assert preview["optimize"] == {
        "seed": "noise", "seed_sha256": None, "random_seed": 42, "epochs": EPOCHS,
        "lr": 0.35, "lr_decay": 0.9, "lr_decay_every": 100, "clip_weight": 1,
        "perceptual_weight": 0.1, "crops": "1x1,3x0.5", "crop_pairing": "aligned",
        "clip_distance": "spherical", "perceptual": "lpips", "augment": [],
        "tv_weight": 0, "average": 0}
    assert texts(run / "optimize" / "001.png")["optimize"]["random_seed"] == 43
    columns = pixels(run / "figure.png").shape[1] // pixels(run / "optimize/000.png").shape[1]
    assert columns >= 2 + 3 + 1


def test_losses_and_verdict(optimize, record, tmp_path):
    result = optimize("run")
    rows = losses(tmp_path / "run/optimize/000_losses.csv")
    assert list(rows[0]) == ["epoch", "rate", "total", "clip_model0", "perceptual_model0",
                             "clip_model1", "perceptual_model1"]
    assert [int(row["epoch"]) for row in rows] == list(range(EPOCHS))
    for row in rows:
        parts = [float(row[f"clip_{m}"]) + 0.1 * float(row[f"perceptual_{m}"])
                 for m in ("model0", "model1")]
        assert float(row["total"]) == pytest.approx(sum(parts) / 2, rel=1e-5)
    totals = [float(row["total"]) for row in rows]
    assert sum(totals[-3:]) < 0.9 * sum(totals[:3])

    first = record(tmp_path / "run")["optimize"][0]
    assert first["case"] == "000" and first["epochs"] == EPOCHS and first["skipped"] == 0
    totals = {"average": first["baselines"]["average"]["total"],
              "blend": first["baselines"]["blend"]["total"]}
    totals |= {name: each["total"]
               for name, each in first["baselines"]["reconstructions"].items()}
    assert set(totals) == {"average", "blend", "model0", "model1"}
    best = first["best_baseline_of"] or first["best_baseline"]
    assert totals[best] == min(totals.values())
    verdict = [line for line in result.stderr.splitlines() if "best baseline" in line]
    assert len(verdict) == 2
    side = "below" if first["final"]["total"] < totals[best] else "above"
    assert f"% {side} the best baseline" in verdict[0]
    final, average = ([l["clip"][m] + 0.1 * l["perceptual"][m] for m in range(2)]
                      for l in (first["final"], first["baselines"]["average"]))
    for m in range(2):
        change = 100 * (final[m] / average[m] - 1)
        assert (f"model{m} {abs(change):.1f} % {'below' if change < 0 else 'above'}"
                in verdict[0])
    assert verdict[0].endswith(" the average")


def test_the_best_picture_is_no_worse_than_the_last(optimize, record, tmp_path):
    """Although no epoch has seen what the last step made."""
    optimize("short", epochs=1)
    optimize("long")
    for run in ("short", "long"):
        for n, outcome in enumerate(record(tmp_path / run)["optimize"]):
            last, best = (pixels(tmp_path / run / f"optimize/00{n}{which}.png")
                          for which in ("", "_best"))
            assert outcome["best"]["total"] <= outcome["final"]["total"]
            assert (outcome["best"] == outcome["final"]) == (last == best).all()
            assert run == "long" or (last == best).all()


def test_options_of_vqgan_clip_users(optimize, record, tmp_path):
    optimize("run", "--preset", "crowson", "--augment", "all", "--tv-weight", 0.5,
             "--average", 0.9, epochs=3)
    made = texts(tmp_path / "run/optimize/000.png")["optimize"]
    assert (made["lr"], made["lr_decay"], made["crop_pairing"]) == (0.05, 1, "all")
    assert made["crops"] == "1x1,3x0.5", "the command line wins"
    assert made["augment"] == ["flip", "affine", "perspective", "jitter", "noise"]
    assert made["tv_weight"] == 0.5 and made["average"] == 0.9
    options = record(tmp_path / "run")["options"]
    assert options["preset"] == "crowson" and options["lr"] == 0.05
    for row in losses(tmp_path / "run/optimize/001_losses.csv"):
        parts = [float(row[f"clip_{m}"]) + 0.1 * float(row[f"perceptual_{m}"])
                 for m in ("model0", "model1")]
        whole = sum(parts) / 2 + 0.5 * float(row["variation"])
        assert float(row["total"]) == pytest.approx(whole, rel=1e-5)


def test_cases_in_a_batch(optimize, record, tmp_path):
    """Each ends as it does alone, up to rounding: a step of a picture's values at most."""
    alone, batch = tmp_path / "alone", tmp_path / "batch"
    optimize("alone", epochs=6)
    result = optimize("batch", "--batch", 2, epochs=6)
    assert [path.removeprefix(str(batch)) for path in result.stdout.splitlines()] == [
        f"/optimize/{name}.png" for name in ("000", "000_best", "001", "001_best")]
    names = sorted(path.name for path in (alone / "optimize").iterdir())
    assert names == sorted(path.name for path in (batch / "optimize").iterdir())
    for name in names:
        first, second = alone / "optimize" / name, batch / "optimize" / name
        if name.endswith(".csv"):
            for a, b in zip(losses(first), losses(second), strict=True):
                assert float(a["total"]) == pytest.approx(float(b["total"]), rel=1e-3)
        else:
            assert abs(pixels(first) - pixels(second)).mean() < 1
    assert [o["case"] for o in record(batch)["optimize"]] == ["000", "001"]


def test_same_command_same_bytes(optimize, tmp_path):
    for name in "12":
        optimize(name, "--seed", "gaussian", "--layer", "postquant", "--augment", "all")
    first = sorted(path.relative_to(tmp_path / "1") for path in (tmp_path / "1").rglob("*.*")
                   if not path.name.startswith("run."))
    assert len(first) == 2 * 6 + 4 + 3
    for name in first:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_seeds_weights_and_images(optimize, tmp_path):
    starts = {}
    Image.fromarray(numpy.full((40, 50, 3), 200, numpy.uint8)).save(tmp_path / "grey.png")
    for name, *more in (["noise"], ["input"], [str(tmp_path / "grey.png")],
                        ["input", "--weights", "3e-1,9e-1", "--normalize"]):
        out = f"run{len(starts)}"
        optimize(out, "--seed", name, *more, epochs=1)
        starts[out] = pixels(tmp_path / out / "optimize/000_epoch0.png")
    assert len({start.tobytes() for start in starts.values()}) == 4
    image = texts(tmp_path / "run2/optimize/000.png")["optimize"]
    assert image["seed"] == "grey.png" and len(image["seed_sha256"]) == 64
    weighted = texts(tmp_path / "run3/optimize/000.png")
    assert [p["weight"] for p in weighted["parents"]] == pytest.approx([0.25, 0.75])


def test_from_the_example(diffens, critical, record, tmp_path):
    result = diffens("optimize", "--ensemble", critical, "--seed", "noise", "--epochs", 2,
                     "--save-every", 0, "--steps", 2, "--size", "64x64", "--threads", 1,
                     "--out", tmp_path / "run")
    assert "a cat" in result.stderr
    assert len(result.stdout.splitlines()) == 2
    assert sorted(p.name for p in (tmp_path / "run/optimize").iterdir()) == [
        "000.png", "000_best.png", "000_losses.csv"]
    parents = texts(tmp_path / "run/optimize/000.png")["parents"]
    assert [(p["model"], p["prompt"]) for p in parents] == [("a", "a cat"), ("b", "a cat")]


def test_defaults_of_the_ensemble(optimize, critical, record, tmp_path):
    folder = tmp_path / "ensemble"
    shutil.copytree(critical.parent, folder)
    fields = json.loads(critical.read_text())

    def tuned(**settings):
        (folder / "ensemble.json").write_text(json.dumps(
            {**fields, "generate": {"steps": 7}, "optimize": settings}))
        return folder / "ensemble.json"
    optimize("run", "--lr-decay", 0.5, epochs=1, ensemble=tuned(
        lr=0.05, lr_decay=0.7, perceptual_weight=1, crops="9x0.9", layer="preconv"))
    made = texts(tmp_path / "run/optimize/000.png")["optimize"]
    assert made["lr"] == 0.05 and made["perceptual_weight"] == 1
    assert texts(tmp_path / "run/optimize/000.png")["layer"] == "preconv"
    assert made["lr_decay"] == 0.5 and made["crops"] == "1x1,3x0.5"
    options = record(tmp_path / "run")["options"]
    assert options["lr"] == 0.05 and options["steps"] == 7
    by_start = tuned(lr=0.05, from_input={"lr": 0.01})
    for seed, rate in (("noise", 0.05), ("input", 0.01)):
        optimize(seed, "--seed", seed, epochs=1, ensemble=by_start)
        assert texts(tmp_path / seed / "optimize/000.png")["optimize"]["lr"] == rate
    for settings, word in (({"lr": 1000}, "optimize.lr"), ({"steps": 3}, "steps"),
                           ({"lr_decay_every": 1.5}, "lr_decay_every"),
                           ({"crops": 3}, "crops"), ({"layer": "all"}, "layer")):
        result = optimize("bad", ensemble=tuned(**settings), status=3)
        assert word in result.stderr and "ensemble.json" in result.stderr


def test_weights_of_the_ensemble(diffens, critical, tmp_path):
    folder = tmp_path / "ensemble"
    shutil.copytree(critical.parent, folder)
    fields = json.loads(critical.read_text())
    fields["diffusers"][1]["weight"] = 3
    (folder / "ensemble.json").write_text(json.dumps(fields))
    for out, shares, *more in (("of the ensemble", [0.25, 0.75]),
                               ("of the paper", [0.5, 0.5], "--preset", "paper"),
                               ("given", [0.4, 0.6], "--weights", "0.4,0.6"),
                               ("turned", [0.75, 0.25], "--models", "b,a")):
        diffens("optimize", "--ensemble", folder, "--epochs", 1, "--save-every", 0, "--steps",
                1, "--size", "64x64", "--crops", "1x1", "--threads", 1, *more,
                "--out", tmp_path / out)
        parents = texts(tmp_path / out / "optimize/000.png")["parents"]
        assert [p["weight"] for p in parents] == shares


def test_refusals(optimize, tiny, critical, tmp_path):
    for arguments, status, words in (
            (["--seed", "nowhere.png"], 3, ["nowhere.png"]),
            (["--seed", "nosie"], 3, ["nosie", "noise, gaussian, input"]),
            (["--clip-weight", 0, "--perceptual-weight", 0], 2, ["--clip-weight"]),
            (["--weights", "0.2,0.3,0.5"], 2, ["--weights", "3", "2"]),
            (["--vq-size", "60x64"], 2, ["--vq-size"]),
            (["--pair", "model0,model7"], 2, ["model7"])):
        result = optimize("bad", *arguments, status=status)
        assert all(word in result.stderr for word in words), result.stderr
        assert not (tmp_path / "bad").exists()
    result = optimize("bad", ensemble=tiny[0], status=3)
    assert "clip" in result.stderr and "ensemble.json" in result.stderr
    assert not (tmp_path / "bad").exists()


def test_heads_are_optional(optimize, critical, tmp_path):
    folder = tmp_path / "ensemble"
    shutil.copytree(critical.parent, folder)
    (folder / "lpips/lpips.safetensors").unlink()
    optimize("run", epochs=1, ensemble=folder)
    assert texts(tmp_path / "run/optimize/000.png")["optimize"]["perceptual"] == "l2"
    result = optimize("bad", "--perceptual", "lpips", ensemble=folder, status=2)
    assert "heads" in result.stderr


def test_losses_that_break(optimize, critical, record, tmp_path):
    folder = tmp_path / "ensemble"
    shutil.copytree(critical.parent, folder)
    weights = load_file(folder / "clip/model.safetensors")
    weights["visual_projection.weight"].fill_(float("nan"))
    save_file(weights, folder / "clip/model.safetensors")
    result = optimize("run", ensemble=folder, status=6)
    run = tmp_path / "run"
    assert "not finite" in result.stderr
    assert result.stdout.splitlines() == [str(run / f"optimize/{case}_best.png")
                                          for case in ("000", "001")]
    states = {cell["file"]: cell["state"] for cell in record(run)["cells"]}
    assert states["optimize/000.png"] == "nonfinite"
    assert states["optimize/000_best.png"] == states["optimize/000_epoch0.png"] == "done"
    assert not (run / "optimize/000.png").exists()
    assert record(run)["state"] == "failed"
    assert losses(run / "optimize/000_losses.csv")[0]["total"] == "nan"
