"""The KL autoencoder that the three diffusers share: 8 times smaller, 4 channels."""

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

import data
import training
from data import work

HAND_WEIGHTS = (0.32, 0.4, 0.28)


def build():
    return AutoencoderKL(
        block_out_channels=(16, 32, 64, 128), layers_per_block=1, norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4, sample_size=128, scaling_factor=1.0)


def reconstruction_loss(y, x):
    mse = F.mse_loss(y, x)
    return (y - x).abs().mean() + 4 * mse + 0.5 * training.gradient_loss(y, x), mse


def batch(part, seed, run):
    """Small crops first; whole pictures later, whose normalisation statistics differ."""
    rng = np.random.default_rng([seed, run.step])
    count, side = (8, 64) if run.progress < 0.7 else (3, 128)
    return training.sample_crops(part, rng, count, side, HAND_WEIGHTS)


def train(minutes=20, seed=1):
    """Encoder and decoder together."""
    torch.manual_seed(seed)
    part = data.load("train")
    model = build()
    average = training.Average(model, 0.995)
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.99), weight_decay=1e-4)
    run = training.Run("vae", {"model": model, "average": average}, optimizer, 2e-3,
                       minutes, flat=0.4)
    for _ in run:
        x = batch(part, seed, run)
        posterior = model.encode(x).latent_dist
        y = model.decode(posterior.sample()).sample
        loss, mse = reconstruction_loss(y, x)
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        # Early on, three channels are drawn to the reduced picture: colour is learnt
        # at once, and the latents are easy for the UNets.
        hint = F.mse_loss(posterior.mean[:, :3], 3 * F.avg_pool2d(x, 8))
        loss = loss + 2e-4 * kl + 0.5 * max(0.0, 1 - run.progress / 0.8) * hint
        run.update(loss, model, mse=mse, kl=kl, hint=hint)
        average.update(model)
    measure_scale()
    return reconstruct()


def train_decoder(minutes=20, seed=6):
    """The decoder alone, for latents that no longer move: beside the UNets' training."""
    torch.manual_seed(seed)
    part = data.load("train")
    model = build()
    model.load_state_dict(training.load_state("vae")["average"]["module"])
    model.requires_grad_(False)
    learning = torch.nn.ModuleList([model.decoder, model.post_quant_conv])
    learning.requires_grad_(True)
    average = training.Average(model, 0.998)
    optimizer = torch.optim.AdamW(learning.parameters(), betas=(0.9, 0.99),
                                  weight_decay=1e-4)
    run = training.Run("decoder", {"model": model, "average": average}, optimizer, 1e-3,
                       minutes, flat=0.3)
    for _ in run:
        x = batch(part, seed, run)
        with torch.no_grad():
            z = model.encode(x).latent_dist.mean
        loss, mse = reconstruction_loss(model.decode(z).sample, x)
        run.update(loss, learning, mse=mse)
        average.update(model)
    return reconstruct()


def load():
    model = build()
    stage = "decoder" if (work() / "decoder.pt").exists() else "vae"
    model.load_state_dict(training.load_state(stage)["average"]["module"])
    scale = work() / "vae-scale.txt"
    if scale.exists():
        model.register_to_config(scaling_factor=float(scale.read_text()))
    return model.eval().requires_grad_(False)


@torch.no_grad()
def measure_scale(count=192):
    """The factor that gives latents of training pictures unit deviation."""
    model, part = load(), data.load("train")
    latents = []
    for i in range(0, count, 4):
        for hand in range(3):
            latents.append(model.encode(training.to_input(part.pictures[i:i + 4, hand]))
                           .latent_dist.mean)
    scale = round(1 / float(torch.cat(latents).std()), 5)
    (work() / "vae-scale.txt").write_text(str(scale))
    return scale


@torch.no_grad()
def reconstruct(count=96, model=None):
    """PSNR per hand on held-out pictures."""
    model, part = model or load(), data.load("heldout")
    result = []
    for hand in range(3):
        pictures = part.pictures[:count, hand]
        output = [training.to_pictures(model.decode(
            model.encode(training.to_input(pictures[i:i + 4])).latent_dist.mode()).sample)
            for i in range(0, count, 4)]
        result.append(training.psnr(np.concatenate(output), pictures))
    print("vae PSNR", [round(v, 2) for v in result])
    return result
