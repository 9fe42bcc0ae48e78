"""The independent judge: names subject, colour, setting and hand, and masks the subject.

Its own convolutional network and data order; it shares nothing with the CLIP pair or the
perceptual network.
"""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

import data
import hands
import scenes
import training

SIZES = (len(scenes.SUBJECTS), len(scenes.COLOURS), len(scenes.SETTINGS),
         len(hands.HANDS))


def block(inputs, outputs, stride):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
                         nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.early = nn.Sequential(block(3, 16, 2), block(16, 32, 2), block(32, 32, 1))
        self.middle = nn.Sequential(block(32, 64, 2), block(64, 64, 1))
        self.late = nn.Sequential(block(64, 128, 2), block(128, 128, 1))
        self.fuse = nn.Sequential(block(32 + 64 + 128, 48, 1), block(48, 48, 1))
        self.mask = nn.Conv2d(48, 1, 1)
        self.head = nn.Linear(128 + 48 + 48, sum(SIZES))

    def forward(self, x):
        """Logits per attribute, and mask logits at a quarter of the picture's size."""
        early = self.early(x)
        middle = self.middle(early)
        late = self.late(middle)
        wide = [F.interpolate(m, early.shape[2:]) for m in (middle, late)]
        fused = self.fuse(torch.cat([early, *wide], 1))
        mask = self.mask(fused)
        inside = torch.sigmoid(mask)
        # Features averaged inside and outside of the mask: what it is, where it stands.
        subject = (fused * inside).sum((2, 3)) / (inside.sum((2, 3)) + 1)
        around = (fused * (1 - inside)).sum((2, 3)) / ((1 - inside).sum((2, 3)) + 1)
        pooled = torch.cat([late.amax((2, 3)), subject, around], 1)
        return self.head(pooled).split(SIZES, 1), mask[:, 0]


def corrupt(x, rng):
    """The slight blur and noise of a decoded picture, as samples have it."""
    if rng.random() < 0.4:
        size = x.shape[2]
        small = F.interpolate(x, size=size // 2, mode="area")
        x = F.interpolate(small, size=size, mode="bilinear")
    return x + torch.randn_like(x) * float(rng.uniform(0, 0.1))


def train(minutes=18, seed=4, count=32):
    torch.manual_seed(seed)
    part = data.load("train")
    labels = torch.from_numpy(part.labels())
    model = Classifier()
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.02)
    run = training.Run("classifier", {"model": model}, optimizer, 2e-3, minutes, flat=0.3)
    for step in run:
        rng = np.random.default_rng([seed, step])
        x, target, index = training.labelled_batch(part, labels, rng, count)
        mask = torch.from_numpy(part.masks[index]).float() / 255
        if rng.random() < 0.5:
            x, mask = x.flip(3), mask.flip(2)
        logits, masked = model(corrupt(x, rng))
        names = sum(F.cross_entropy(l, target[:, i]) for i, l in enumerate(logits))
        overlap = F.binary_cross_entropy_with_logits(masked, mask)
        run.update(names + 2 * overlap, model, names=names, overlap=overlap)
    return accuracy()


def load():
    model = Classifier()
    model.load_state_dict(training.load_state("classifier")["model"])
    return model.eval().requires_grad_(False)


@torch.no_grad()
def judge(pictures, model=None):
    """(N, 4) predicted attributes and (N, 32, 32) masks of uint8 pictures."""
    model = model or load()
    names, masks = [], []
    for i in range(0, len(pictures), 32):
        logits, mask = model(training.to_input(pictures[i:i + 32]))
        names.append(torch.stack([l.argmax(1) for l in logits], 1))
        masks.append(mask > 0)
    return torch.cat(names).numpy(), torch.cat(masks).numpy()


def overlap(a, b):
    """Intersection over union of boolean masks, per picture."""
    union = (a | b).sum((1, 2))
    return (a & b).sum((1, 2)) / np.maximum(union, 1)


def accuracy():
    """On held-out drawings, per hand: subject, colour, setting, hand, mask overlap."""
    model, part = load(), data.load("heldout")
    result = []
    for hand in range(3):
        names, masks = judge(part.pictures[:, hand], model)
        target = np.concatenate([part.labels(), np.full((len(names), 1), hand)], 1)
        shares = (names == target).mean(0)
        result.append([*shares, overlap(masks, part.masks > 127).mean()])
    print("classifier", np.round(result, 3).tolist())
    return result
