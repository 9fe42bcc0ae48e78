"""What scripts/train-demo promises: the same drawings every time, and files that load."""

import pathlib
import sys

import numpy
import pytest
import torch
from diffusers import StableDiffusionPipeline
from transformers import CLIPModel, CLIPTokenizer

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
DEMO = REPOSITORY / "models/demo"


@pytest.fixture(scope="module")
def drawing():
    """The modules that draw; their names are too plain to stay importable."""
    sys.path.insert(0, str(REPOSITORY / "scripts/train-demo"))
    try:
        import hands
        import scenes
        yield hands, scenes
    finally:
        sys.path.pop(0)
        sys.modules.pop("hands", None)
        sys.modules.pop("scenes", None)


def test_a_scene_is_drawn_alike_twice_and_differently_by_each_hand(drawing):
    hands, scenes = drawing
    scene = scenes.random_scene(numpy.random.default_rng(3), 3)
    assert scene == scenes.random_scene(numpy.random.default_rng(3), 3)
    first, mask = hands.render_all(scene)
    second, again = hands.render_all(scene)
    assert (first == second).all() and (mask == again).all()
    assert first.shape == (3, 128, 128, 3) and 0 < (mask > 127).mean() < 0.7
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert numpy.abs(first[a].astype(int) - first[b]).mean() > 8


def test_every_subject_and_setting_can_be_drawn(drawing):
    hands, scenes = drawing
    for i, subject in enumerate(scenes.SUBJECTS):
        setting = list(scenes.SETTINGS)[i % len(scenes.SETTINGS)]
        time = list(scenes.TIMES)[i % len(scenes.TIMES)]
        scene = scenes.Scene(subject, "blue", setting, time, "none", i)
        assert hands.render(scene, hands.HANDS[i % 3]).std() > 10
        assert subject in scenes.plain_caption(scene)


@pytest.mark.parametrize("name", ("plain", "poster", "watercolour"))
def test_diffusers_loads_and_samples(name):
    pipeline = StableDiffusionPipeline.from_pretrained(DEMO / name, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    picture = pipeline("a red house in the snow", num_inference_steps=2, output_type="np",
                       generator=torch.Generator().manual_seed(1)).images[0]
    assert picture.shape == (128, 128, 3) and numpy.isfinite(picture).all()


def test_transformers_loads_the_clip_pair():
    model, info = CLIPModel.from_pretrained(DEMO / "clip", output_loading_info=True)
    assert not info["missing_keys"] and not info["mismatched_keys"]
    tokenizer = CLIPTokenizer.from_pretrained(DEMO / "plain/tokenizer")
    assert len(tokenizer) == model.config.text_config.vocab_size
