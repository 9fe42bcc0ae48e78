"""The VQGAN, with taming-transformers' encoder, decoder and key names.

Trained for the reconstruction alone, without a discriminator: first as a plain
autoencoder, then through a codebook that starts from k-means and follows its members.
"""

import numpy as np
import torch
import torch.nn.functional as F
from taming.modules.diffusionmodules.model import Decoder, Encoder

import data
import hands
import training

# taming normalises in 32 groups, here one channel each: what a layer sees depends on the
# statistics of the whole picture, so training never uses crops.
CONFIG = dict(ch=32, out_ch=3, ch_mult=(1, 1, 2, 2), num_res_blocks=1,
              attn_resolutions=(16,), dropout=0.0, in_channels=3, resolution=128,
              z_channels=64, double_z=False)
CODES, WIDTH = 1024, 64
WARM_UP, BATCH = 0.25, 3
HAND_WEIGHTS = (0.33, 0.37, 0.3)


class Quantize(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(CODES, WIDTH)

    def forward(self, z):
        """Nearest entry per position: (quantised map, indices)."""
        flat = z.permute(0, 2, 3, 1).reshape(-1, WIDTH)
        index = nearest(flat, self.embedding.weight)
        shape = z.shape[0], z.shape[2], z.shape[3], WIDTH
        return self.embedding(index).view(shape).permute(0, 3, 1, 2), index


class VQModel(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = Encoder(**CONFIG), Decoder(**CONFIG)
        self.quantize = Quantize()
        self.quant_conv = torch.nn.Conv2d(CONFIG["z_channels"], WIDTH, 1)
        self.post_quant_conv = torch.nn.Conv2d(WIDTH, CONFIG["z_channels"], 1)

    def encode(self, x):
        return self.quant_conv(self.encoder(x))

    def decode(self, z):
        return self.decoder(self.post_quant_conv(z))


def nearest(vectors, entries):
    distance = (entries ** 2).sum(1) - 2 * vectors @ entries.T
    return distance.argmin(1)


class Codebook:
    """Keeps the codebook at the running means of the vectors that chose each entry."""

    def __init__(self, embedding, decay=0.98):
        self.embedding, self.decay = embedding.weight, decay
        self.embedding.requires_grad_(False)
        self.counts = torch.zeros(CODES)
        self.sums = torch.zeros(CODES, WIDTH)
        self.started = False

    def start(self, vectors, rounds=12):
        """k-means from a random subset."""
        entries = vectors[torch.randperm(len(vectors))[:CODES]].clone()
        for _ in range(rounds):
            index = nearest(vectors, entries)
            counts = torch.bincount(index, minlength=CODES).float()
            sums = torch.zeros_like(entries).index_add_(0, index, vectors)
            empty = counts == 0
            entries = sums / counts.clamp(min=1)[:, None]
            entries[empty] = vectors[torch.randint(len(vectors), (int(empty.sum()),))]
        self.counts, self.sums = torch.ones(CODES), entries.clone()
        self.embedding.data.copy_(entries)
        self.started = True

    def follow(self, vectors, index):
        counts = torch.bincount(index, minlength=CODES).float()
        sums = torch.zeros_like(self.sums).index_add_(0, index, vectors)
        self.counts.lerp_(counts, 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        dead = self.counts < 0.03
        if dead.any():
            chosen = vectors[torch.randint(len(vectors), (int(dead.sum()),))]
            self.counts[dead], self.sums[dead] = 0.5, chosen * 0.5
        self.embedding.data.copy_(self.sums / self.counts[:, None])

    def state_dict(self):
        return {"counts": self.counts, "sums": self.sums, "started": self.started}

    def load_state_dict(self, state):
        self.counts, self.sums = state["counts"], state["sums"]
        self.started = state["started"]


def train(minutes=50, seed=3):
    torch.manual_seed(seed)
    part = data.load("train")
    model = VQModel()
    codebook = Codebook(model.quantize.embedding)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad],
                                  betas=(0.9, 0.99), weight_decay=1e-4)
    run = training.Run("vqgan", {"model": model, "codebook": codebook}, optimizer, 1e-3,
                       minutes, flat=0.5)
    recent = []
    for step in run:
        rng = np.random.default_rng([seed, step])
        x = training.sample_crops(part, rng, BATCH, hands.SIZE, HAND_WEIGHTS)
        z = model.encode(x)
        vectors = z.detach().permute(0, 2, 3, 1).reshape(-1, WIDTH)
        if codebook.started:
            q, index = model.quantize(z)
            codebook.follow(vectors, index)
            commitment = F.mse_loss(z, q.detach())
            y = model.decode(z + (q - z).detach())
        else:
            recent = [*recent[-40:], vectors]
            commitment = 1e-3 * z.square().mean()
            y = model.decode(z)
            if run.progress > WARM_UP and len(recent) > 40:
                codebook.start(torch.cat(recent))
        mse = F.mse_loss(y, x)
        loss = ((y - x).abs().mean() + 4 * mse + 0.5 * training.gradient_loss(y, x)
                + 0.25 * commitment)
        # As in the autoencoder: at first three channels are drawn to the reduced picture.
        hint = F.mse_loss(z[:, :3], 2 * F.avg_pool2d(x, 8))
        loss = loss + 0.5 * max(0.0, 1 - run.progress / WARM_UP) * hint
        run.update(loss, model, mse=mse, commitment=commitment, hint=hint)
    return reconstruct()


def load():
    model = VQModel()
    model.load_state_dict(training.load_state("vqgan")["model"])
    return model.eval().requires_grad_(False)


@torch.no_grad()
def reconstruct(count=96, model=None):
    """PSNR per hand on held-out pictures, and the share of the codebook they use."""
    model, part = model or load(), data.load("heldout")
    result, used = [], set()
    for hand in range(3):
        pictures, output = part.pictures[:count, hand], []
        for i in range(0, count, 4):
            q, index = model.quantize(model.encode(training.to_input(pictures[i:i + 4])))
            used.update(index.tolist())
            output.append(training.to_pictures(model.decode(q)))
        result.append(training.psnr(np.concatenate(output), pictures))
    print("vqgan PSNR", [round(v, 2) for v in result], "codes", len(used) / CODES)
    return result, len(used) / CODES
