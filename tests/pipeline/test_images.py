"""--images: pictures that exist as parents, in each of the three forms."""

import json
import shutil

import numpy
import pytest
from PIL import Image


@pytest.fixture(scope="module")
def run(diffens, tiny, tmp_path_factory):
    """A finished generate: 2 cases by a, b and c."""
    folder = tmp_path_factory.mktemp("generate")
    prompts = folder / "p.json"
    prompts.write_text(json.dumps({"prompts": ["a cat", "a hill"], "names": ["cat", "hill"]}))
    diffens("generate", "--ensemble", tiny[0], "--prompts", prompts, "--steps", 2, "--size",
            "64x64", "--out", folder / "run")
    return folder / "run"


def blend(diffens, tiny, images, out, *arguments, status=0):
    result = diffens("blend", "--ensemble", tiny[0], "--images", images, "--out", out,
                     *arguments, status=status)
    pictures = [numpy.asarray(Image.open(p)) for p in result.stdout.split()]
    return result, pictures


def as_folder(run, folder):
    for case in ("cat", "hill"):
        (folder / case).mkdir(parents=True)
        for model in "abc":
            shutil.copy(run / f"images/{case}_{model}.png", folder / case / f"{model}.png")
    return folder


def test_the_three_forms_give_the_same_blend(diffens, tiny, run, tmp_path):
    folder = as_folder(run, tmp_path / "pictures")
    _, of_run = blend(diffens, tiny, run, tmp_path / "1", "--gamma", "0.3")
    _, of_folder = blend(diffens, tiny, folder, tmp_path / "2", "--gamma", "0.3")
    _, of_tensor = blend(diffens, tiny, run / "images.npy", tmp_path / "3", "--gamma", "0.3",
                         "--pair", "model0,model1")
    direct, drawn = tmp_path / "4", tmp_path / "p.json"
    drawn.write_text(json.dumps(["a cat", "a hill"]))
    result = diffens("blend", "--ensemble", tiny[0], "--prompts", drawn, "--steps", 2,
                     "--size", "64x64", "--gamma", "0.3", "--out", direct)
    of_prompts = [numpy.asarray(Image.open(p)) for p in result.stdout.split()]
    assert len(of_run) == 2
    for pictures in (of_folder, of_tensor, of_prompts):
        assert all((a == b).all() for a, b in zip(of_run, pictures, strict=True))


def test_names_of_a_run_are_kept(diffens, tiny, run, tmp_path):
    result, _ = blend(diffens, tiny, run, tmp_path / "out", "--pair", "c,a")
    assert result.stdout.split()[1].endswith("blend/hill_postquant_g0.5.png")
    assert (tmp_path / "out/images/cat_c.png").is_file()
    assert numpy.load(tmp_path / "out/images.npy").shape == (2, 2, 64, 64, 3)


def test_pictures_are_resized_to_the_vqgan(diffens, tiny, tmp_path):
    """Wide ones: the short side becomes the ensemble's 64, the aspect is kept."""
    (tmp_path / "in/one").mkdir(parents=True)
    Image.new("RGB", (300, 150), (200, 30, 90)).save(tmp_path / "in/one/x.jpg")
    Image.new("RGBA", (300, 150), (200, 30, 90, 0)).save(tmp_path / "in/one/y.png")
    result, pictures = blend(diffens, tiny, tmp_path / "in", tmp_path / "out")
    assert pictures[0].shape == (64, 128, 3)
    assert "1 pictures are transparent: put on white" in result.stderr
    assert (numpy.asarray(Image.open(tmp_path / "out/images/one_y.png")) == 255).all()
    _, pictures = blend(diffens, tiny, tmp_path / "in", tmp_path / "out2", "--vq-size",
                        "32x48")
    assert pictures[0].shape == (32, 48, 3)


@pytest.mark.parametrize("spoil, status, words", [
    (lambda f: (f / "hill/b.png").unlink(), 3, ["hill", "b.png"]),
    (lambda f: shutil.copy(f / "cat/a.png", f / "hill/d.png"), 3, ["hill", '"d"']),
    (lambda f: Image.new("RGB", (8, 8)).save(f / "hill/a.png"), 3,
     ["hill/a.png", "8 x 8", "64 x 64"]),
    (lambda f: (f / "cat/b.png").write_bytes(b"RIFF....WEBPVP8 "), 3, ["b.png", "WebP"]),
    (lambda f: shutil.rmtree(f), 3, ["No such file"]),
    (lambda f: [shutil.rmtree(f / "cat"), shutil.rmtree(f / "hill")], 3, ["0 cases"]),
    (lambda f: [(f / c / "b.png").rename(f / c / "z.png") for c in ("cat", "hill")], 2,
     ["--pair"]),
])
def test_bad_folders_are_refused(diffens, tiny, run, tmp_path, spoil, status, words):
    folder = as_folder(run, tmp_path / "pictures")
    spoil(folder)
    result, _ = blend(diffens, tiny, folder, tmp_path / "out", status=status)
    errors = [line for line in result.stderr.splitlines() if "diffens: error:" in line]
    assert len(errors) == 1
    assert all(word in errors[0] for word in words), errors
    assert not (tmp_path / "out").exists()


def test_a_run_that_was_stopped_is_refused(diffens, tiny, run, tmp_path):
    """Not for a picture that is missing, but for what it is."""
    shutil.copytree(run, tmp_path / "run")
    for name in ("hill_b", "hill_c"):
        (tmp_path / f"run/images/{name}.png").unlink()
    result, _ = blend(diffens, tiny, tmp_path / "run", tmp_path / "out", status=3)
    assert "run/images/hill_b.png: found no such file" in result.stderr
    record = tmp_path / "run/run.json"
    record.write_text(record.read_text().replace('"state": "complete"', '"state": "stopped"'))
    result, _ = blend(diffens, tiny, tmp_path / "run", tmp_path / "out", status=3)
    assert "run: found 4 of 6 pictures, expected a finished run" in result.stderr
    assert f"--resume and --out {tmp_path}/run\n" in result.stderr


def test_a_run_of_a_newer_program_is_refused(diffens, tiny, run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    record = tmp_path / "run/run.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"format": 99}))
    result, _ = blend(diffens, tiny, tmp_path / "run", tmp_path / "out", status=3)
    assert "run/run.json: $.format: found 99, expected at most 1: made by a newer" in result.stderr


@pytest.mark.parametrize("array, words", [
    (numpy.zeros((1, 2, 8, 8, 3), numpy.float32), ["<f4"]),
    (numpy.zeros((2, 8, 8, 3), numpy.uint8), ["images"]),
    (numpy.asfortranarray(numpy.zeros((2, 2, 8, 8, 3), numpy.uint8)), ["fortran"]),
])
def test_bad_tensors_are_refused(diffens, tiny, tmp_path, array, words):
    numpy.save(tmp_path / "images.npy", array)
    result, _ = blend(diffens, tiny, tmp_path / "images.npy", tmp_path / "out", status=3)
    assert all(word in result.stderr for word in words), result.stderr
