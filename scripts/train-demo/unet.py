"""The three UNets: `plain` from nothing, the other two hands fine-tuned from it."""

import concurrent.futures
import functools
import multiprocessing

import numpy as np
import torch
from diffusers import DDPMScheduler, UNet2DConditionModel

import clip
import data
import hands
import tokenizer
import training
import vae
from data import work

SCHEDULE = dict(num_train_timesteps=1000, beta_schedule="scaled_linear",
                beta_start=0.00085, beta_end=0.012, prediction_type="v_prediction")
SCHEDULER = dict(SCHEDULE, skip_prk_steps=True, set_alpha_to_one=False, steps_offset=1,
                 timestep_spacing="leading")
BATCH, DROPPED, SNR_LIMIT = 32, 0.1, 6.0
WORDINGS = 2
SCENES = {"plain": 10000, "poster": 4000, "watercolour": 4000}


def build():
    """Attention works at 8 x 8 and 4 x 4 only: at 16 x 16 it costs more than it gives."""
    return UNet2DConditionModel(
        sample_size=16, in_channels=4, out_channels=4, layers_per_block=1,
        block_out_channels=(48, 96, 96), cross_attention_dim=128, attention_head_dim=2,
        norm_num_groups=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"))


def encode_all(names=hands.HANDS, processes=2, chunk=500):
    """Writes the latents and the encoded captions of each hand's training pictures."""
    with concurrent.futures.ProcessPoolExecutor(
            processes, mp_context=multiprocessing.get_context("spawn"),
            initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for name in names:
            path, hand = work() / f"latents-{name}.npy", hands.HANDS.index(name)
            if not path.exists():
                jobs = [(hand, start, start + chunk)
                        for start in range(0, SCENES[name], chunk)]
                np.save(path, np.concatenate(list(pool.map(encode, jobs))))
            if not (work() / f"captions-{name}.pt").exists():
                encode_captions(name)
            print("encoded", name, flush=True)


@torch.no_grad()
def encode(job, count=4):
    """Small batches stay in the processor's caches."""
    hand, start, stop = job
    model, pictures = vae.load(), data.load("train").pictures[start:stop, hand]
    return np.concatenate([
        model.encode(training.to_input(pictures[i:i + count])).latent_dist.mode().half()
        for i in range(0, len(pictures), count)])


@torch.no_grad()
def encode_captions(name, count=100):
    """Distinct texts, the empty one first, and which of them name each scene."""
    template, tokens, numbers = tokenizer.TEMPLATES[name], tokenizer.load(), {"": 0}
    index = [[numbers.setdefault(template.format(text), len(numbers))
              for text in data.load("train").captions(seed)[:SCENES[name]]]
             for seed in range(WORDINGS)]
    model, texts = clip.load().text_model, list(numbers)
    states = [model(input_ids=tokenizer.encode(tokens, texts[i:i + count])
                    ).last_hidden_state.half() for i in range(0, len(texts), count)]
    torch.save({"index": torch.tensor(index), "states": torch.cat(states)},
               work() / f"captions-{name}.pt")


@functools.cache
def scaling_factor():
    """Brings the latents of `plain` to unit deviation, as Stable Diffusion's is."""
    latents = np.load(work() / "latents-plain.npy", mmap_mode="r")
    return round(1 / float(latents.astype(np.float32).std()), 5)


def train(name, minutes=None, seed=5):
    base = name == "plain"
    minutes = minutes or (48 if base else 12)
    rank, workers = training.join_workers()
    count = BATCH // workers
    torch.manual_seed(seed)
    latents = np.load(work() / f"latents-{name}.npy", mmap_mode="r")
    captions = torch.load(work() / f"captions-{name}.pt", mmap=True, weights_only=True)
    schedule = DDPMScheduler(**SCHEDULE)
    snr = schedule.alphas_cumprod / (1 - schedule.alphas_cumprod)
    model = build()
    if not base:
        model.load_state_dict(training.load_state("unet-plain")["average"]["module"])
    average = training.Average(model, 0.999 if base else 0.996)
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.99),
                                  weight_decay=0.01)
    run = training.Run(f"unet-{name}", {"model": model, "average": average}, optimizer,
                       1e-3 if base else 4e-4, minutes, flat=0.5 if base else 0.2)
    torch.manual_seed(seed + rank + 1000 * run.step)
    for step in run:
        rng = np.random.default_rng([seed, step, rank])
        index = np.sort(rng.integers(len(latents), size=count))
        chosen = captions["index"][rng.integers(WORDINGS, size=count), index]
        chosen[torch.from_numpy(rng.random(count) < DROPPED)] = 0
        context = captions["states"][chosen].float()
        x = torch.from_numpy(latents[index]).float() * scaling_factor()
        noise = torch.randn_like(x)
        # Evenly spread over the schedule: a steadier loss than independent times.
        t = ((torch.arange(count) + torch.rand(count)) * (1000 / count)).long()
        noisy = schedule.add_noise(x, noise, t)
        target = schedule.get_velocity(x, noise, t)
        error = (model(noisy, t, context).sample - target).square().mean((1, 2, 3))
        # Min-SNR, but with all weight on the noisy steps, which settle what is where.
        weight = (snr[t] + 1).clamp(max=SNR_LIMIT) / (snr[t] + 1)
        run.update((weight * error).mean(), model, error=error.mean())
        average.update(model)


def load(name):
    model = build()
    model.load_state_dict(training.load_state(f"unet-{name}")["average"]["module"])
    return model.eval().requires_grad_(False)
