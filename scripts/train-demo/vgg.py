"""The perceptual network: VGG16's layers, narrower, and LPIPS-style heads."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from scipy.optimize import nnls

import data
import hands
import scenes
import training
from data import work

WIDTHS = (12, 12, "pool", 24, 24, "pool", 48, 48, 48, "pool", 64, 64, 64, "pool",
          64, 64, 64)
TAPS = (3, 8, 15, 22, 29)
CHANNELS = (12, 24, 48, 64, 64)
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
SIZES = (len(scenes.SUBJECTS), len(scenes.COLOURS), len(scenes.SETTINGS),
         len(hands.HANDS))
KINDS = ("blur", "noise", "blotches", "colour", "contrast")


def build():
    """torchvision's `features`: convolutions at 0, 2, 5, ... 28, ReLU in between."""
    layers, inputs = [], 3
    for width in WIDTHS:
        if width == "pool":
            layers.append(nn.MaxPool2d(2))
        else:
            convolution = nn.Conv2d(inputs, width, 3, padding=1)
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
            nn.init.zeros_(convolution.bias)
            layers += [convolution, nn.ReLU()]
            inputs = width
    return nn.Sequential(*layers)


def taps(features, x):
    """Feature maps after relu1_2, relu2_2, relu3_3, relu4_3, relu5_3; x in [-1, 1]."""
    x = (x - torch.tensor(SHIFT)[:, None, None]) / torch.tensor(SCALE)[:, None, None]
    result = []
    for i, layer in enumerate(features):
        x = layer(x)
        if i in TAPS:
            result.append(x)
    return result


class Namer(nn.Module):
    """The features with heads for training only: what is drawn, from the pooled taps; and
    at each place of each tap, how strongly the picture is distorted there, so that noise
    in a calm place shows in the features although it says nothing of what is drawn."""

    def __init__(self):
        super().__init__()
        self.features = build()
        self.head = nn.Linear(2 * sum(CHANNELS[2:]), sum(SIZES))
        self.harm = nn.ModuleList([nn.Conv2d(c, len(KINDS), 1) for c in CHANNELS])

    def forward(self, x):
        maps = taps(self.features, x)
        pooled = [p for m in maps[2:] for p in (m.mean((2, 3)), m.amax((2, 3)))]
        names = self.head(torch.cat(pooled, 1)).split(SIZES, 1)
        # Scaled as they are compared, so that the heads see what LPIPS sees.
        return names, [h(4 * F.normalize(m, dim=1)) for h, m in zip(self.harm, maps)], maps


def distort(x, kind, strength, rng):
    """x [3,H,W] in [-1, 1], with a distortion whose visible harm grows with `strength` in
    [0, 1]."""
    if kind == "blur":
        radius = max(1, round(6 * strength))
        return F.avg_pool2d(x[None], 2 * radius + 1, 1, radius, count_include_pad=False)[0]
    if kind == "noise":
        return x + torch.from_numpy(rng.normal(0, 0.4 * strength, x.shape)).float()
    if kind == "blotches":
        side = x.shape[1] // int(rng.choice((4, 8, 16)))
        coarse = torch.from_numpy(rng.normal(0, 0.6 * strength, (1, 3, side, side))).float()
        return x + F.interpolate(coarse, x.shape[1:], mode="bicubic")[0]
    if kind == "colour":
        return x + torch.from_numpy(rng.choice((-1, 1), (3, 1, 1))).float() * 0.5 * strength
    return x * (1 - 0.8 * strength)


def distort_part(x, rng):
    """Distorts a rectangle of x [3,H,W], half of the time all of it. Returns the picture
    and the strength of each kind at each place, [KINDS,H,W]."""
    kind, strength = rng.integers(len(KINDS)), rng.random()
    (top, left), (high, wide) = rng.integers(64, size=2), rng.integers(32, 97, size=2)
    where = torch.zeros(len(KINDS), *x.shape[1:])
    if rng.random() < 0.5:
        where[kind] = strength
    else:
        where[kind, top:top + high, left:left + wide] = strength
    changed = distort(x, KINDS[kind], strength, rng).clamp(-1, 1)
    return torch.where(where[kind] > 0, changed, x), where


def harm_loss(found, where):
    """found: of each tap [N,KINDS,h,w]; where [N,KINDS,H,W]"""
    return sum(F.mse_loss(f, F.adaptive_avg_pool2d(where, f.shape[2:])) for f in found)


def silence(maps):
    """How near to nothing the features are at each place: where they are 0, their
    direction jumps, and no gradient leads back."""
    return sum(F.relu(1 - m.norm(dim=1)).mean() for m in maps)


def train(minutes=16, seed=7, count=16):
    torch.manual_seed(seed)
    part = data.load("train")
    labels = torch.from_numpy(part.labels())
    model = Namer()
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
    run = training.Run("vgg", {"model": model}, optimizer, 1e-3, minutes, flat=0.3)
    for step in run:
        rng = np.random.default_rng([seed, step])
        x, target, _ = training.labelled_batch(part, labels, rng, count)
        x = x.flip(3) if rng.random() < 0.5 else x
        distorted = [distort_part(picture, rng) for picture in x[count // 2:]]
        where = torch.stack([w for _, w in distorted])
        x[count // 2:] = torch.stack([picture for picture, _ in distorted])
        names, harm, maps = model(x)
        named = sum(F.cross_entropy(l, target[:, i]) for i, l in enumerate(names))
        harmed = harm_loss(harm, torch.cat([torch.zeros_like(where), where]))
        run.update(named + 10 * harmed + silence(maps), model, named=named, harm=harmed)
    torch.save(fit_heads(model.features), work() / "vgg-heads.pt")
    return accuracy()


def load():
    model = Namer()
    model.load_state_dict(training.load_state("vgg")["model"])
    return model.eval().requires_grad_(False)


@torch.no_grad()
def differences(features, a, b):
    """Per channel of every tap: mean squared difference of unit-normalised features."""
    result = []
    for f, g in zip(taps(features, a), taps(features, b)):
        f, g = F.normalize(f, dim=1, eps=1e-10), F.normalize(g, dim=1, eps=1e-10)
        result.append((f - g).square().mean((2, 3)))
    return torch.cat(result, 1)


@torch.no_grad()
def fit_heads(features, pairs=960, seed=8, ridge=300):
    """Non-negative least squares: weighted differences against the known strength.

    The ridge pulls the weights to one common value, so that no channel is ignored.
    """
    part, rng = data.load("train"), np.random.default_rng(seed)
    rows, strengths = [], []
    for i in range(pairs):
        picture = part.pictures[rng.integers(len(part.pictures)), i % 3]
        x = training.to_input(picture[None])
        changed, where = distort_part(x[0], rng)
        rows.append(differences(features, x, changed[None])[0].numpy())
        strengths.append(float(where.amax(0).mean()))
    rows, strengths = np.array(rows, dtype=np.float64), np.array(strengths)
    scale = rows.sum(1).mean()
    common = strengths.mean() / scale
    weight = np.sqrt(ridge * pairs / rows.shape[1]) * scale / np.sqrt(rows.shape[1])
    matrix = np.concatenate([rows, weight * np.eye(rows.shape[1])])
    target = np.concatenate([strengths, np.full(rows.shape[1], weight * common)])
    solution, _ = nnls(matrix, target)
    explained = np.corrcoef(rows @ solution, strengths)[0, 1]
    print(f"heads: correlation with strength {explained:.3f}")
    heads = torch.from_numpy(solution).float().split(CHANNELS)
    return {"heads": list(heads), "correlation": float(explained)}


@torch.no_grad()
def accuracy(count=432):
    """On held-out drawings of all hands: subject, colour, setting, hand."""
    model, part = load(), data.load("heldout")
    right = np.zeros(4)
    for hand in range(3):
        labels = np.concatenate([part.labels(), np.full((len(part.scenes), 1), hand)], 1)
        for i in range(0, count, 16):
            logits, _, _ = model(training.to_input(part.pictures[i:i + 16, hand]))
            names = torch.stack([l.argmax(1) for l in logits], 1).numpy()
            right += (names == labels[i:i + 16]).sum(0)
    shares = right / (3 * count)
    print("vgg", shares.round(3).tolist())
    return shares.tolist()
