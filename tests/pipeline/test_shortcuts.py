"""--guidance-interval and --cache-interval: pictures as diffusers draws them when its UNet is
run in the same way, and work that is really spared."""

import json
import subprocess

import numpy
import pytest
import torch
from diffusers import HeunDiscreteScheduler, UNet2DConditionModel
from PIL import Image

from ensembles import reference_picture
from references import last_layer

TOLERANCE = 2   # steps of 1/255
PROMPT = "a cat by the sea"


class Shortcuts:
    """What stands in for a UNet's forward(): the negative half's output is the prompt's own
    outside of the interval, which leaves no guidance, and the whole network is run once in
    `every` evaluations and where guidance begins or ends."""

    def __init__(self, total, begin, end, every):
        self.guided = [begin <= (i + 0.5) / total < end for i in range(total)]
        self.every, self.call, self.alike, self.features = every, 0, 0, None
        self.whole = [0, 0]     # evaluations of one latent and of two, of all levels
        self.outermost = [0, 0]

    def forward(self, unet, plain, x, t, text):
        i, self.call = self.call, self.call + 1
        guided = self.guided[i]
        self.alike = self.alike + 1 if i and guided == self.guided[i - 1] else 0
        if not guided:
            x, text = x[len(x) // 2:], text[len(text) // 2:]
        if self.alike % self.every == 0:
            self.whole[guided] += 1
            out, self.features = plain(x, t, text)
        else:
            self.outermost[guided] += 1
            out = last_layer(unet, x, t, text, self.features)
        return (out if guided else torch.cat([out, out]),)


def reference(folder, shortcuts, monkeypatch, **settings):
    """A picture of diffusers under these shortcuts."""
    original = UNet2DConditionModel.forward

    def plain(unet, x, t, text):
        seen = []
        hook = unet.up_blocks[-1].resnets[-1].register_forward_pre_hook(
            lambda _, inputs: seen.append(inputs[0]))
        out = original(unet, x, t, encoder_hidden_states=text, return_dict=False)[0]
        hook.remove()
        return out, seen[0][:, :-unet.conv_in.out_channels]

    def forward(unet, x, t, encoder_hidden_states=None, **_):
        return shortcuts.forward(unet, lambda *a: plain(unet, *a), x, t, encoder_hidden_states)

    monkeypatch.setattr(UNet2DConditionModel, "forward", forward)
    picture = reference_picture(folder, PROMPT, 7, settings.pop("steps"), (64, 64),
                                negative="fog", **settings)
    monkeypatch.undo()
    assert shortcuts.call == len(shortcuts.guided)
    return picture


def heun(scheduler):
    return HeunDiscreteScheduler.from_config(scheduler.config)


ROWS = [   # scheduler, steps, evaluations, interval, cache
    pytest.param("pndm", 7, 8, "0.25:0.75", 1, id="guidance in the middle"),
    pytest.param("pndm", 7, 8, "0:0.4", 1, id="guidance at first"),
    pytest.param("pndm", 7, 8, "0.5:0.5", 1, id="no guidance"),
    pytest.param("pndm", 7, 8, "0:1", 3, id="cache"),
    pytest.param("pndm", 7, 8, "0.25:0.75", 3, id="cache, guidance in the middle"),
    pytest.param("heun", 5, 9, "0.3:1", 2, id="cache, two evaluations a step"),
]


@pytest.mark.parametrize("scheduler, steps, total, interval, cache", ROWS)
def test_pictures_equal_diffusers(diffens, driver, tiny, tmp_path, observe, monkeypatch, request,
                                  scheduler, steps, total, interval, cache):
    ensemble, _ = tiny
    begin, end = map(float, interval.split(":"))
    command = ["generate", "--ensemble", ensemble, "--prompt", PROMPT, "--negative", "fog",
               "--models", "a,b", "--steps", steps, "--random-seed", 7, "--size", "64x64",
               "--scheduler", scheduler, "--guidance-interval", interval, "--cache-interval",
               cache, "--out", tmp_path / "run"]
    plan = json.loads(diffens(*command, "--dry-run", "--json").stdout)
    diffens(*command)
    worked = 0
    for model in "ab":
        shortcuts = Shortcuts(total, begin, end, cache)
        theirs = reference(ensemble.parent / model, shortcuts, monkeypatch, steps=steps,
                           scheduler=heun if scheduler == "heun" else None)
        ours = numpy.asarray(Image.open(tmp_path / f"run/images/000_{model}.png"))
        assert ours.std() > 5
        difference = numpy.abs(ours - theirs).max()
        observe("pipeline", f"{request.node.callspec.id}, {model}",
                "largest pixel difference / 255", difference, TOLERANCE)
        assert difference <= TOLERANCE
        worked += float(subprocess.run(
            [driver("work_driver"), ensemble.parent / model, scheduler, str(steps), str(begin),
             str(end), str(cache)], check=True, capture_output=True).stdout)
    # the plan counts what is done
    assert plan["unet_runs"] == 2 * (shortcuts.whole[0] + 2 * shortcuts.whole[1])
    assert plan["unet_outer_runs"] == 2 * (shortcuts.outermost[0] + 2 * shortcuts.outermost[1])
    assert plan["operations"] == pytest.approx(worked, rel=1e-9)


def test_neither_is_on_by_itself(diffens, tiny, tmp_path):
    def pictures(name, *options):
        diffens("generate", "--ensemble", tiny[0], "--prompt", "x", "--steps", 3, "--size",
                "64x64", "--out", tmp_path / name, *options)
        return [path.read_bytes() for path in sorted((tmp_path / name).glob("images/*.png"))]
    plain = pictures("plain")
    assert plain == pictures("all", "--guidance-interval", "0:1", "--cache-interval", 1)
    assert plain != pictures("less", "--guidance-interval", "0:0.9", "--cache-interval", 2)


def test_batches_change_no_picture(diffens, tiny, tmp_path):
    (tmp_path / "p.txt").write_text("a cat\na boat\na tree\n")
    for batch in (1, 2):
        diffens("generate", "--ensemble", tiny[0], "--prompts", tmp_path / "p.txt", "--steps", 5,
                "--size", "64x64", "--models", "b", "--guidance-interval", "0.2:0.7",
                "--cache-interval", 2, "--batch", batch, "--out", tmp_path / str(batch))
    ours = [numpy.load(tmp_path / name / "images.npy").astype(int) for name in "12"]
    assert numpy.abs(ours[0] - ours[1]).max() <= 1


def test_ensembles_may_have_them(diffens, tiny, tmp_path, record):
    settings = json.loads(tiny[0].read_text())
    for network in settings["diffusers"]:
        network["path"] = str(tiny[0].parent / network["path"])
    settings["vqgan"]["path"] = str(tiny[0].parent / settings["vqgan"]["path"])
    settings["generate"] = {"guidance_interval": "0.2:0.8", "cache_interval": 2}
    (tmp_path / "ensemble.json").write_text(json.dumps(settings))
    run = tmp_path / "run"
    diffens("generate", "--ensemble", tmp_path / "ensemble.json", "--models", "a", "--steps", 4,
            "--size", "64x64", "--cache-interval", 3, "--out", run)
    options = record(run)["options"]
    assert options["guidance-interval"] == "0.2:0.8" and options["cache-interval"] == 3
    picture = json.loads(diffens("inspect", "--json", run / "images/000_a.png").stdout)
    assert picture["guidance_interval"] == "0.2:0.8" and picture["cache_interval"] == 3
    again = diffens("inspect", "--command", run / "images/000_a.png").stdout
    assert "--guidance-interval 0.2:0.8 --cache-interval 3" in again
    parameters = Image.open(run / "images/000_a.png").text["parameters"]
    assert "CFG interval: 0.2-0.8, Cache interval: 3, Model:" in parameters
