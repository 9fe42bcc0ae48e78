"""What every stage shares: a loop with a time budget, checkpoints, averages, measures."""

import copy
import math
import os
import time

import numpy as np
import torch
import torch.distributed as dist

from data import work

SAVE_SECONDS = 120
LOG_SECONDS = 20


def join_workers():
    """(rank, count) among the processes of a data-parallel run, as torchrun describes it."""
    if int(os.environ.get("WORLD_SIZE", 1)) > 1 and not dist.is_initialized():
        dist.init_process_group("gloo")
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


@torch.no_grad()
def average_gradients(parameters):
    """One all-reduce of all gradients together."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.reshape(-1) for g in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients])):
        gradient.copy_(part.view_as(gradient))


def to_input(pictures):
    """uint8 (N, H, W, 3) to float (N, 3, H, W) in [-1, 1]."""
    tensor = torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2)
    return tensor.float().div_(127.5).sub_(1)


def to_pictures(tensor):
    scaled = (tensor.detach().float().clamp(-1, 1) + 1) * 127.5
    return scaled.round().byte().permute(0, 2, 3, 1).numpy()


def psnr(a, b):
    """Mean over pictures of the peak signal-to-noise ratio in dB, of uint8 arrays."""
    error = ((a.astype(np.float64) - b) ** 2).mean(axis=(1, 2, 3))
    return float((10 * np.log10(255 ** 2 / np.maximum(error, 1e-9))).mean())


def cosine(progress, flat=0.0):
    """Learning-rate factor: short warm-up, `flat` share at full rate, cosine to zero."""
    if progress < 0.02:
        return 0.05 + 0.95 * progress / 0.02
    if progress < flat:
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (progress - flat) / (1 - flat)))


class Average:
    """Exponential moving average of a module's parameters."""

    def __init__(self, module, decay=0.998):
        self.module = copy.deepcopy(module).requires_grad_(False).eval()
        self.decay, self.count = decay, 0

    @torch.no_grad()
    def update(self, module):
        self.count += 1
        decay = min(self.decay, (1 + self.count) / (10 + self.count))
        averaged, current = list(self.module.parameters()), list(module.parameters())
        torch._foreach_lerp_(averaged, current, 1 - decay)
        for mine, theirs in zip(self.module.buffers(), module.buffers()):
            mine.copy_(theirs)

    def state_dict(self):
        return {"module": self.module.state_dict(), "count": self.count}

    def load_state_dict(self, state):
        self.module.load_state_dict(state["module"])
        self.count = state["count"]


class Run:
    """A time-budgeted, resumable training run named `name`.

    `parts` maps names to whatever has state_dict / load_state_dict (modules, optimiser,
    averages); all are saved to WORK/NAME.pt, replaced atomically.
    """

    def __init__(self, name, parts, optimizer, rate, minutes, flat=0.0):
        self.path = work() / f"{name}.pt"
        self.parts = {**parts, "optimizer": optimizer}
        self.optimizer, self.rate, self.flat = optimizer, rate, flat
        self.budget, self.spent, self.step = minutes * 60, 0.0, 0
        self.losses = {}
        if self.path.exists():
            state = torch.load(self.path, weights_only=True)
            for key, part in self.parts.items():
                part.load_state_dict(state[key])
            self.spent, self.step = state["spent"], state["step"]
            torch.set_rng_state(state["rng"])
            print(f"{name}: resumed at step {self.step}, {self.spent / 60:.1f} min")

    @property
    def progress(self):
        return min(1.0, self.spent / self.budget)

    @staticmethod
    def agree(seconds):
        """The first worker's clock, so that all stop at the same step."""
        if not dist.is_initialized():
            return seconds
        clock = torch.tensor(seconds, dtype=torch.float64)
        dist.broadcast(clock, 0)
        return float(clock)

    def save(self):
        if dist.is_initialized() and dist.get_rank():
            return
        state = {key: part.state_dict() for key, part in self.parts.items()}
        state.update(spent=self.spent, step=self.step, rng=torch.get_rng_state(),
                     losses=self.losses)
        partial = self.path.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, self.path)

    def __iter__(self):
        """Yields step numbers until the time is spent; sets the rate before each."""
        started = saved = logged = time.monotonic()
        before = self.spent
        while self.spent < self.budget:
            factor = cosine(self.progress, self.flat)
            for group in self.optimizer.param_groups:
                group["lr"] = self.rate * factor * group.get("share", 1.0)
            yield self.step
            self.step += 1
            now = time.monotonic()
            self.spent = self.agree(before + now - started)
            if now - logged > LOG_SECONDS:
                logged = now
                text = " ".join(f"{k} {v:.4f}" for k, v in self.losses.items())
                print(f"step {self.step} {self.spent / 60:.1f} min {text}", flush=True)
            if now - saved > SAVE_SECONDS:
                saved = now
                self.save()
        self.save()

    def update(self, loss, module, clip=1.0, **report):
        """One optimiser step; keeps running means of the reported numbers."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if dist.is_initialized():
            average_gradients(module.parameters())
        torch.nn.utils.clip_grad_norm_(module.parameters(), clip)
        self.optimizer.step()
        for key, value in {"loss": loss, **report}.items():
            value = float(value.detach())
            self.losses[key] = 0.98 * self.losses.get(key, value) + 0.02 * value


def load_state(name):
    """The saved state of a finished or running stage."""
    return torch.load(work() / f"{name}.pt", weights_only=True)


def sample_crops(part, rng, count, side, hand_weights=(1 / 3, 1 / 3, 1 / 3)):
    """Random squares of random pictures, mirrored half of the time."""
    size = part.pictures.shape[2]
    result = np.empty((count, side, side, 3), dtype=np.uint8)
    for i in range(count):
        index = rng.integers(len(part.pictures))
        hand = rng.choice(len(hand_weights), p=hand_weights)
        y, x = rng.integers(size - side + 1, size=2)
        crop = part.pictures[index, hand, y:y + side, x:x + side]
        result[i] = crop[:, ::-1] if rng.random() < 0.5 else crop
    return to_input(result)


def labelled_batch(part, labels, rng, count):
    """Pictures of random scenes and hands, their four labels, and the scenes' indices."""
    index = rng.integers(len(part.scenes), size=count)
    hand = rng.integers(part.pictures.shape[1], size=count)
    pictures = np.stack([part.pictures[i, h] for i, h in zip(index, hand)])
    target = torch.cat([labels[index], torch.from_numpy(hand)[:, None]], 1)
    return to_input(pictures), target, index


def gradient_loss(a, b):
    """L1 distance of horizontal and vertical differences: keeps edges sharp."""
    d = a - b
    across, down = d[..., 1:] - d[..., :-1], d[..., 1:, :] - d[..., :-1, :]
    return across.abs().mean() + down.abs().mean()
