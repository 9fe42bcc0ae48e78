"""The perceptual network: VGG16's layers, narrower, and LPIPS-style heads."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
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
    """The features with a linear head on their pooled taps, for training only."""

    def __init__(self):
        super().__init__()
        self.features = build()
        self.head = nn.Linear(2 * sum(CHANNELS[2:]), sum(SIZES))

    def forward(self, x):
        pooled = [p for m in taps(self.features, x)[2:]
                  for p in (m.mean((2, 3)), m.amax((2, 3)))]
        return self.head(torch.cat(pooled, 1)).split(SIZES, 1)


def train(minutes=18, seed=7, count=16):
    torch.manual_seed(seed)
    part = data.load("train")
    labels = torch.from_numpy(part.labels())
    model = Namer()
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
    run = training.Run("vgg", {"model": model}, optimizer, 1e-3, minutes, flat=0.3)
    for step in run:
        rng = np.random.default_rng([seed, step])
        x, target, _ = training.labelled_batch(part, labels, rng, count)
        logits = model(x.flip(3) if rng.random() < 0.5 else x)
        loss = sum(F.cross_entropy(l, target[:, i]) for i, l in enumerate(logits))
        run.update(loss, model)
    torch.save(fit_heads(model.features), work() / "vgg-heads.pt")
    return accuracy()


def load():
    model = Namer()
    model.load_state_dict(training.load_state("vgg")["model"])
    return model.eval().requires_grad_(False)


def distort(picture, kind, strength, rng):
    """A distortion whose visible harm grows with `strength` in [0, 1]."""
    x = picture.astype(np.float32)
    if kind == "blur":
        return gaussian_filter(x, (3 * strength, 3 * strength, 0))
    if kind == "noise":
        return x + rng.normal(0, 45 * strength, x.shape)
    if kind == "colour":
        return x + rng.choice((-1, 1), 3) * 60 * strength
    if kind == "contrast":
        return 127 + (x - 127) * (1 - 0.8 * strength)
    shift = int(round(8 * strength))
    return np.roll(x, (shift, -shift), (0, 1))


@torch.no_grad()
def differences(features, a, b):
    """Per channel of every tap: mean squared difference of unit-normalised features."""
    result = []
    for f, g in zip(taps(features, a), taps(features, b)):
        f, g = F.normalize(f, dim=1, eps=1e-10), F.normalize(g, dim=1, eps=1e-10)
        result.append((f - g).square().mean((2, 3)))
    return torch.cat(result, 1)


def fit_heads(features, pairs=480, seed=8, ridge=0.02):
    """Non-negative least squares: weighted differences against the known strength.

    The ridge pulls the weights to one common value, so that no channel is ignored.
    """
    part, rng = data.load("train"), np.random.default_rng(seed)
    rows, strengths = [], []
    for i in range(pairs):
        picture = part.pictures[rng.integers(len(part.pictures)), i % 3]
        kind = ("blur", "noise", "colour", "contrast", "shift")[i % 5]
        strength = rng.random()
        changed = distort(picture, kind, strength, rng).clip(0, 255).astype(np.uint8)
        rows.append(differences(features, training.to_input(picture[None]),
                                training.to_input(changed[None]))[0].numpy())
        strengths.append(strength)
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
            logits = model(training.to_input(part.pictures[i:i + 16, hand]))
            names = torch.stack([l.argmax(1) for l in logits], 1).numpy()
            right += (names == labels[i:i + 16]).sum(0)
    shares = right / (3 * count)
    print("vgg", shares.round(3).tolist())
    return shares.tolist()
