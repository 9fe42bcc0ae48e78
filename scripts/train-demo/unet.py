"""The three UNets: `plain` from nothing, `poster` and `watercolour` fine-tuned from it."""

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

LATENT = (4, 16, 16)
ENCODED = {"plain": 8000, "poster": 3000, "watercolour": 3000}
SCHEDULE = dict(num_train_timesteps=1000, beta_schedule="scaled_linear",
                beta_start=0.00085, beta_end=0.012, prediction_type="v_prediction")
SCHEDULER = dict(SCHEDULE, skip_prk_steps=True, set_alpha_to_one=False, steps_offset=1,
                 timestep_spacing="leading")
BATCH, DROPPED, SNR_LIMIT = 24, 0.1, 5.0


def build():
    return UNet2DConditionModel(
        sample_size=16, in_channels=4, out_channels=4, layers_per_block=1,
        block_out_channels=(48, 96, 112), cross_attention_dim=128, attention_head_dim=2,
        norm_num_groups=8,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"))


def encode_all(names=hands.HANDS):
    """Writes the scaled latents of each hand; goes on where it was interrupted."""
    part = data.load("train")
    model = vae.load()
    for name in names:
        path, count = work() / f"latents-{name}.npy", ENCODED[name]
        if not path.exists():
            latents = np.lib.format.open_memmap(path, "w+", np.float16, (count, *LATENT))
            latents[:] = np.nan
        latents = np.load(path, mmap_mode="r+")
        missing = np.flatnonzero(np.isnan(latents[:, 0, 0, 0]))
        with torch.no_grad():
            for i in range(0, len(missing), 4):
                index = missing[i:i + 4]
                x = training.to_input(part.pictures[index, hands.HANDS.index(name)])
                z = model.encode(x).latent_dist.mean * model.config.scaling_factor
                latents[index] = z.half().numpy()
        latents.flush()
        print("encoded", name, count, flush=True)


def train(name, minutes=None, seed=5):
    base = name == "plain"
    minutes = minutes or (90 if base else 20)
    torch.manual_seed(seed)
    latents = np.load(work() / f"latents-{name}.npy", mmap_mode="r")
    part, tokens = data.load("train"), tokenizer.load()
    text_model = clip.load().text_model
    schedule = DDPMScheduler(**SCHEDULE)
    snr = schedule.alphas_cumprod / (1 - schedule.alphas_cumprod)
    model = build()
    if not base:
        model.load_state_dict(training.load_state("plain")["average"]["module"])
    average = training.Average(model, 0.998 if base else 0.995)
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.99), weight_decay=0.01)
    run = training.Run(f"unet-{name}", {"model": model, "average": average}, optimizer,
                       1e-3 if base else 6e-4, minutes, flat=0.5 if base else 0.3)
    template, ready = tokenizer.TEMPLATES[name], ()
    for step in run:
        if step % 50 == 0 or not len(ready):
            # Training may begin while later latents are still being encoded.
            ready = np.flatnonzero(~np.isnan(latents[:, 0, 0, 0]))
        rng = np.random.default_rng([seed, step])
        index = np.sort(rng.choice(ready, size=BATCH))
        texts = [template.format(scenes.caption(part.scenes[i], rng))
                 if rng.random() >= DROPPED else "" for i in index]
        with torch.no_grad():
            context = text_model(input_ids=tokenizer.encode(tokens, texts)
                                 ).last_hidden_state
        x = torch.from_numpy(latents[index]).float()
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
