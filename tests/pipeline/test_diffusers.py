"""Whole pictures against diffusers: same files, seed, prompt and steps."""

import json

import numpy
import pytest
from diffusers import DPMSolverMultistepScheduler, PNDMScheduler
from PIL import Image

from ensembles import reference_picture, save_diffuser

# Largest difference of a pixel, in steps of 1/255.
TOLERANCE = 2

PROMPT = "a Cat on a hill, at sunset (très joli)"


def karras(scheduler):
    return DPMSolverMultistepScheduler.from_config(scheduler.config, use_karras_sigmas=True)


def compare(path, theirs, observe, case):
    """A written picture with the reference's before rounding, which is half a step."""
    ours = numpy.asarray(Image.open(path))
    assert ours.std() > 5, "a flat picture shows nothing"
    difference = numpy.abs(ours - theirs).max()
    observe("pipeline", case, "largest pixel difference / 255", difference, TOLERANCE)
    assert difference <= TOLERANCE


@pytest.mark.parametrize("scheduler, reference", [("pndm", PNDMScheduler.from_config),
                                                  ("dpm++2m-karras", None)])
@pytest.mark.parametrize("size", [(128, 128), (64, 192)])
def test_pictures_equal_diffusers(diffens, tiny, tmp_path, observe, scheduler, reference,
                                  size):
    ensemble, _ = tiny
    diffens("generate", "--ensemble", ensemble, "--prompt", PROMPT, "--negative", "fog",
            "--models", "a,b", "--steps", 8, "--random-seed", 7, "--size",
            "%dx%d" % size, "--scheduler", scheduler, "--out", tmp_path / "run")
    for model in "ab":
        theirs = reference_picture(
            ensemble.parent / model, PROMPT, 7, 8, size, negative="fog",
            scheduler=(lambda s: reference(s.config)) if reference else karras)
        compare(tmp_path / f"run/images/000_{model}.png", theirs, observe,
                f"{scheduler}, {model}, {size[0]}x{size[1]}")


@pytest.mark.full
def test_pictures_equal_diffusers_at_full_size(diffens, tmp_path, observe):
    save_diffuser(tmp_path / "sd15", "sd1 at full size")
    (tmp_path / "ensemble.json").write_text(json.dumps({
        "name": "full", "vqgan": {"path": "none", "size": [256, 256]},
        "diffusers": [{"name": "sd15", "path": "sd15", "prompt": "{}"}]}))
    diffens("generate", "--ensemble", tmp_path / "ensemble.json", "--prompt", PROMPT,
            "--steps", 3, "--random-seed", 7, "--out", tmp_path / "run")
    theirs = reference_picture(tmp_path / "sd15", PROMPT, 7, 3, (512, 512))
    compare(tmp_path / "run/images/000_sd15.png", theirs, observe, "SD 1.5, 512x512")
