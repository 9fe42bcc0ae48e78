"""Whole pictures against diffusers: same files, seed, prompt and steps."""

import numpy
import pytest
from diffusers import DPMSolverMultistepScheduler, PNDMScheduler
from PIL import Image

from ensembles import reference_picture

# Largest difference of a pixel, in steps of 1/255.
TOLERANCE = 2

PROMPT = "a Cat on a hill, at sunset (très joli)"


def karras(scheduler):
    return DPMSolverMultistepScheduler.from_config(scheduler.config, use_karras_sigmas=True)


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
        ours = numpy.asarray(Image.open(tmp_path / f"run/images/000_{model}.png"))
        theirs = reference_picture(
            ensemble.parent / model, PROMPT, 7, 8, size, negative="fog",
            scheduler=(lambda s: reference(s.config)) if reference else karras)
        assert ours.std() > 5, "a flat picture shows nothing"
        difference = numpy.abs(ours - theirs).max()
        observe("pipeline", f"{scheduler}, {model}, {size[0]}x{size[1]}",
                "largest pixel difference / 255", difference, TOLERANCE)
        assert difference <= TOLERANCE
