"""The three UNets: `plain` from nothing, the other two hands fine-tuned from it."""

import numpy as np
import torch
from diffusers import DDPMScheduler, UNet2DConditionModel

import clip
import data
import hands
import scenes
import tokenizer
import training
import vae
from data import work

SCHEDULE = dict(num_train_timesteps=1000, beta_schedule="scaled_linear",
                beta_start=0.00085, beta_end=0.012, prediction_type="v_prediction")
SCHEDULER = dict(SCHEDULE, skip_prk_steps=True, set_alpha_to_one=False, steps_offset=1,
                 timestep_spacing="leading")
BATCH, DROPPED, SNR_LIMIT = 8, 0.1, 5.0


def build():
    return UNet2DConditionModel(
        sample_size=16, in_channels=4, out_channels=4, layers_per_block=1,
        block_out_channels=(48, 96, 112), cross_attention_dim=128, attention_head_dim=2,
        norm_num_groups=8,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"))


def encode_all(names=hands.HANDS, count=50):
    """Writes the latents of every training picture of each hand."""
    part = data.load("train")
    for name in names:
        path, hand = work() / f"latents-{name}.npy", hands.HANDS.index(name)
        if path.exists():
            continue
        latents = [vae.latents(training.to_input(part.pictures[i:i + count, hand])).half()
                   for i in range(0, len(part.pictures), count)]
        np.save(path, torch.cat(latents).numpy())
        print("encoded", name, flush=True)


def train(name, minutes=None, seed=5):
    base = name == "plain"
    minutes = minutes or (90 if base else 20)
    rank = training.join_workers()
    torch.manual_seed(seed)
    latents = np.load(work() / f"latents-{name}.npy", mmap_mode="r")
    part, tokens = data.load("train"), tokenizer.load()
    text_model = clip.load().text_model
    schedule = DDPMScheduler(**SCHEDULE)
    snr = schedule.alphas_cumprod / (1 - schedule.alphas_cumprod)
    model = build()
    if not base:
        model.load_state_dict(training.load_state("unet-plain")["average"]["module"])
    average = training.Average(model, 0.998 if base else 0.995)
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.99),
                                  weight_decay=0.01)
    run = training.Run(f"unet-{name}", {"model": model, "average": average}, optimizer,
                       1e-3 if base else 4e-4, minutes, flat=0.5 if base else 0.2)
    torch.manual_seed(seed + rank + 1000 * run.step)
    template = tokenizer.TEMPLATES[name]
    for step in run:
        rng = np.random.default_rng([seed, step, rank])
        index = np.sort(rng.integers(len(latents), size=BATCH))
        texts = [template.format(scenes.caption(part.scenes[i], rng))
                 if rng.random() >= DROPPED else "" for i in index]
        with torch.no_grad():
            context = text_model(input_ids=tokenizer.encode(tokens, texts)
                                 ).last_hidden_state
        x = torch.from_numpy(latents[index]).float()
        mirrored = torch.from_numpy(rng.random(BATCH) < 0.5)
        x[mirrored] = x[mirrored].flip(3)
        noise, t = torch.randn_like(x), torch.randint(0, 1000, (BATCH,))
        noisy = schedule.add_noise(x, noise, t)
        target = schedule.get_velocity(x, noise, t)
        error = (model(noisy, t, context).sample - target).square().mean((1, 2, 3))
        # Min-SNR weighting, for the velocity parametrisation.
        weight = snr[t].clamp(max=SNR_LIMIT) / (snr[t] + 1)
        run.update((weight * error).mean(), model, error=error.mean())
        average.update(model)


def load(name):
    model = build()
    model.load_state_dict(training.load_state(f"unet-{name}")["average"]["module"])
    return model.eval().requires_grad_(False)
