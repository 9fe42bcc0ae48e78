"""Every step of every scheduler against diffusers. The network is a fixed function of latent and
timestep, and each side goes its own way from the same noise, so that errors add up as in real
use. Leaves refusals to tests/diffusion/test_scheduler.c."""

import itertools
import json
import subprocess
import warnings

import diffusers
import numpy as np
import pytest
import torch

LIMIT = 1e-5  # of the largest absolute value of the reference's latents, at every step
ROUNDING = 2.0**-24  # of f32
SHAPE = (2, 4, 6, 8)
STEPS = (1, 2, 20, 50)
CLASSES = {
    "pndm": "PNDMScheduler",
    "ddim": "DDIMScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler-a": "EulerAncestralDiscreteScheduler",
    "heun": "HeunDiscreteScheduler",
    "lms": "LMSDiscreteScheduler",
    "dpm++2m": "DPMSolverMultistepScheduler",
    "unipc": "UniPCMultistepScheduler",
}
KARRAS = ("euler", "heun", "lms", "dpm++2m", "unipc")
NAMES = [*CLASSES, *(f"{name}-karras" for name in KARRAS)]

# scheduler_config.json as published with the models.
SD1 = {"_class_name": "PNDMScheduler", "_diffusers_version": "0.6.0", "beta_end": 0.012,
       "beta_schedule": "scaled_linear", "beta_start": 0.00085, "num_train_timesteps": 1000,
       "set_alpha_to_one": False, "skip_prk_steps": True, "steps_offset": 1, "trained_betas": None,
       "clip_sample": False}
SD2 = {"_class_name": "DDIMScheduler", "_diffusers_version": "0.8.0", "beta_end": 0.012,
       "beta_schedule": "scaled_linear", "beta_start": 0.00085, "clip_sample": False,
       "num_train_timesteps": 1000, "prediction_type": "v_prediction", "set_alpha_to_one": False,
       "skip_prk_steps": True, "steps_offset": 1, "trained_betas": None}


def model(x, timestep):
    return 0.8 * torch.sin(x) + 0.3 * torch.cos(2 * x + 0.002 * timestep)


def reference(config, name):
    """What a user of diffusers has: the pipeline's own scheduler, or another one made from it."""
    own = getattr(diffusers, config["_class_name"]).from_config(config)
    pipe = diffusers.StableDiffusionPipeline(
        vae=None, text_encoder=None, tokenizer=None, unet=None, scheduler=own, safety_checker=None,
        feature_extractor=None, requires_safety_checker=False)
    if name is None:
        return pipe.scheduler
    words = {"use_karras_sigmas": True} if name.endswith("-karras") else {}
    if name.startswith("dpm++2m"):
        words |= {"solver_order": 2, "algorithm_type": "dpmsolver++"}
    return getattr(diffusers, CLASSES[name.removesuffix("-karras")]).from_config(
        pipe.scheduler.config, **words)


def trajectory(scheduler, steps, noise):
    scheduler.set_timesteps(steps)
    stochastic = isinstance(scheduler, diffusers.EulerAncestralDiscreteScheduler)
    generators = [torch.Generator("cpu").manual_seed(100 + b) for b in range(SHAPE[0])]
    words = {"generator": generators} if stochastic else {}
    sigma = float(scheduler.init_noise_sigma)
    x, latents = noise * sigma, []
    for t in scheduler.timesteps:
        output = model(scheduler.scale_model_input(x, t), float(t))
        x = scheduler.step(output, t, x, **words).prev_sample
        latents.append(x.numpy().copy())
    return sigma, [float(t) for t in scheduler.timesteps], latents


class Runner:
    """Runs the driver once over all cases: (label, config, name, steps)."""

    def __init__(self, binary, folder):
        self.binary, self.folder = binary, folder

    def __call__(self, cases, noise):
        lines = []
        for i, (_, config, name, steps) in enumerate(cases):
            path = self.folder / f"{i}.json"
            path.write_text(json.dumps(config))
            lines.append(f"{path} {name or '-'} {steps}\n")
        (self.folder / "cases").write_text("".join(lines))
        noise.numpy().tofile(self.folder / "latents")
        subprocess.run([self.binary, self.folder / "cases", self.folder / "latents",
                        *map(str, SHAPE), self.folder / "out"], check=True)
        numbers, at, results = np.fromfile(self.folder / "out"), 0, []
        for _ in cases:
            count, sigma = int(numbers[at]), numbers[at + 1]
            rows = numbers[at + 2 : at + 2 + count * (noise.numel() + 1)].reshape(count, -1)
            results.append((sigma, rows[:, 0].tolist(), list(rows[:, 1:].reshape(-1, *SHAPE))))
            at += 2 + rows.size
        assert at == numbers.size
        return results


def compare(cases, driver, folder):
    """The largest difference of any step of any case; names the first step that is off."""
    noise = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
    worst = 0.0
    torch.set_num_threads(1)
    for case, ours in zip(cases, Runner(driver("scheduler_driver"), folder)(cases, noise)):
        label, config, name, steps = case
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sigma, timesteps, latents = trajectory(reference(config, name), steps, noise)
        what = f"{name or config['_class_name']}, {label}, {steps} steps"
        assert ours[0] == pytest.approx(sigma, rel=1e-6), what
        assert ours[1] == pytest.approx(timesteps, abs=2e-3), what
        for i, (a, b) in enumerate(zip(ours[2], latents)):
            difference = np.abs(a - b).max() / np.abs(b).max()
            # Beyond Stable Diffusion's noise (zero terminal SNR: sigma 4096), what a step leaves
            # is the rounding of sigma itself, which torch's square root has its own way of.
            assert difference <= max(LIMIT, ROUNDING * sigma), f"{what}: {difference:.2g} at evaluation {i}"
            if LIMIT > ROUNDING * sigma:
                worst = max(worst, float(difference))
    return worst


MODELS = [("SD 1.x", SD1), ("SD 2.x", SD2), ("SD 1.x, v", {**SD1, "prediction_type": "v_prediction"}),
          ("SD 2.x, epsilon", {**SD2, "prediction_type": "epsilon"})]


@pytest.mark.parametrize("name", NAMES)
def test_models(name, driver, tmp_path, observe):
    """SD 1.x and SD 2.x, and each with the other's prediction; the three spacings."""
    cases = [(label, config, name, steps) for label, config in MODELS for steps in STEPS]
    cases += [(f"{label}, {spacing}", {**config, "timestep_spacing": spacing}, name, steps)
              for (label, config), spacing, steps in
              itertools.product(MODELS[:2], ("leading", "trailing", "linspace"), STEPS)]
    worst = compare(cases, driver, tmp_path)
    observe("schedulers", name, "step, relative to the largest value", worst, LIMIT)


PLAIN = {k: SD1[k] for k in ("beta_start", "beta_end", "beta_schedule", "num_train_timesteps")}
SETTINGS = {
    "only the class": {},
    "plain": PLAIN,
    "linear betas": {"beta_schedule": "linear"},
    "cosine betas": {"beta_schedule": "squaredcos_cap_v2"},
    "trained betas": {"num_train_timesteps": 200, "trained_betas": np.linspace(1e-3, 4e-2, 200).tolist()},
    "offset 0": {**PLAIN, "steps_offset": 0},
    "clipped": {**PLAIN, "clip_sample": True, "clip_sample_range": 0.7},
    "alpha one": {**PLAIN, "set_alpha_to_one": True, "skip_prk_steps": True},
    "runge-kutta": {**PLAIN, "skip_prk_steps": False, "prediction_type": "v_prediction"},
    "zero snr": {**PLAIN, "rescale_betas_zero_snr": True, "prediction_type": "v_prediction",
                 "timestep_spacing": "trailing"},
    "sample": {**PLAIN, "prediction_type": "sample"},
    "karras": {**PLAIN, "use_karras_sigmas": True},
    "last sigma": {**PLAIN, "final_sigmas_type": "sigma_min"},
    "last sigma, karras": {**PLAIN, "final_sigmas_type": "sigma_min", "use_karras_sigmas": True},
    "order 1": {**PLAIN, "solver_order": 1},
    "order 3": {**PLAIN, "solver_order": 3},
    "order 3 to the end": {**PLAIN, "solver_order": 3, "lower_order_final": False,
                           "final_sigmas_type": "sigma_min"},
    "heun": {**PLAIN, "solver_type": "heun"},
    "bh1": {**PLAIN, "solver_type": "bh1", "final_sigmas_type": "sigma_min"},
    "euler at final": {**PLAIN, "euler_at_final": True, "final_sigmas_type": "sigma_min"},
    "as saved": {**PLAIN, "lambda_min_clipped": -float("inf"), "algorithm_type": "dpmsolver++",
                 "use_exponential_sigmas": False, "variance_type": None},
}


def accepted(class_name, label, steps):
    """Leaves out what diffusers refuses, or what it has no number for."""
    if label == "sample":
        return class_name not in ("PNDMScheduler", "EulerAncestralDiscreteScheduler")
    if class_name == "PNDMScheduler":
        return label in ("alpha one",) or steps >= 4
    return True


@pytest.mark.parametrize("name", CLASSES)
def test_settings(name, driver, tmp_path, observe):
    """A model's own class with the settings it knows, and the same handed on to another."""
    class_name = CLASSES[name]
    cases = [(label, {"_class_name": class_name, **settings}, None, steps)
             for label, settings in SETTINGS.items() for steps in (1, 7, 16)
             if accepted(class_name, label, steps)]
    cases += [(f"{label} of PNDM", {"_class_name": "PNDMScheduler", **settings}, name, 16)
              for label, settings in SETTINGS.items()
              if accepted(class_name, label, 16) and label != "sample"]
    worst = compare(cases, driver, tmp_path)
    observe("schedulers", f"{name}, settings", "step, relative to the largest value", worst, LIMIT)
