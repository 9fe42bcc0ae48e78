"""The CLIP pair: its text tower conditions the UNets, its image tower `optimize`."""

import collections

import numpy as np
import torch
import torch.nn.functional as F
from transformers import CLIPConfig, CLIPModel

import data
import hands
import scenes
import tokenizer
import training

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
GROUPS, GROUP_SIZE = 20, 4
# Attention is causal, so padding behind the longest caption changes nothing.
CAPTION_LENGTH = 28


def build():
    vocabulary = len(tokenizer.load())
    tower = dict(hidden_size=128, intermediate_size=512, num_hidden_layers=4,
                 num_attention_heads=4, hidden_act="quick_gelu", projection_dim=128)
    text = dict(tower, vocab_size=vocabulary,
                max_position_embeddings=tokenizer.MAX_LENGTH,
                bos_token_id=vocabulary - 2, eos_token_id=vocabulary - 1,
                pad_token_id=vocabulary - 1)
    vision = dict(tower, image_size=hands.SIZE, patch_size=16)
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision,
                                projection_dim=128))


def pixel_values(pictures):
    x = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 255
    return (x - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


class Heads(torch.nn.Module):
    """Auxiliary attribute classifiers on both embeddings; not part of the pair."""

    def __init__(self):
        super().__init__()
        self.sizes = [len(scenes.SUBJECTS), len(scenes.COLOURS), len(scenes.SETTINGS)]
        self.linear = torch.nn.Linear(128, sum(self.sizes))

    def loss(self, embedding, labels):
        parts = self.linear(embedding * 10).split(self.sizes, 1)
        return sum(F.cross_entropy(p, labels[:, i]) for i, p in enumerate(parts))


class Groups:
    """Batches of hard negatives: scenes that differ in one attribute only."""

    def __init__(self, described):
        self.scenes = described
        self.by_rest = [collections.defaultdict(list) for _ in range(3)]
        for i, scene in enumerate(described):
            for k in range(3):
                self.by_rest[k][self.rest(scene, k)].append(i)

    @staticmethod
    def rest(scene, k):
        return tuple(v for j, v in enumerate(scene.combination) if j != k)

    def batch(self, rng):
        chosen = []
        for _ in range(GROUPS):
            first = int(rng.integers(len(self.scenes)))
            k = rng.choice(3, p=(0.5, 0.3, 0.2))
            pool = self.by_rest[k][self.rest(self.scenes[first], k)]
            chosen += [first, *rng.choice(pool, GROUP_SIZE - 1)]
        return np.array(chosen)


def train(minutes=19, seed=2, name="clip"):
    torch.manual_seed(seed)
    part, tokens = data.load("train"), tokenizer.load()
    groups, labels = Groups(part.scenes), torch.from_numpy(part.labels())
    model, heads = build(), Heads()
    both = torch.nn.ModuleList([model, heads])
    optimizer = torch.optim.AdamW(both.parameters(), betas=(0.9, 0.98), weight_decay=0.02)
    run = training.Run(name, {"model": model, "heads": heads}, optimizer, 1e-3, minutes)
    for step in run:
        rng = np.random.default_rng([seed, step])
        index, hand = groups.batch(rng), rng.integers(3, size=GROUPS * GROUP_SIZE)
        pictures = np.stack([part.pictures[i, h] for i, h in zip(index, hand)])
        mirrored = rng.random(len(index)) < 0.5
        pictures[mirrored] = pictures[mirrored, :, ::-1]
        texts = [tokenizer.TEMPLATES[hands.HANDS[h]].format(
            scenes.caption(part.scenes[i], rng)) for i, h in zip(index, hand)]
        output = model(input_ids=tokenizer.encode(tokens, texts, CAPTION_LENGTH),
                       pixel_values=pixel_values(pictures))
        logits = output.logits_per_image
        # Two pictures with one description are each other's positives.
        keys = [(part.scenes[i].combination, part.scenes[i].extra, h)
                for i, h in zip(index, hand)]
        same = torch.tensor([[a == b for b in keys] for a in keys]).float()
        target = same / same.sum(1, keepdim=True)
        contrast = (F.cross_entropy(logits, target)
                    + F.cross_entropy(logits.T, target)) / 2
        attributes = (heads.loss(output.image_embeds, labels[index])
                      + heads.loss(output.text_embeds, labels[index]))
        run.update(contrast + 0.25 * attributes, both, contrast=contrast,
                   attributes=attributes)
        with torch.no_grad():
            model.logit_scale.clamp_(max=float(np.log(100)))
    return retrieval(model=load(name))


def load(name="clip"):
    model = build()
    model.load_state_dict(training.load_state(name)["model"])
    return model.eval().requires_grad_(False)


@torch.no_grad()
def retrieval(count=64, rounds=6, model=None):
    """Share of held-out pictures whose own caption ranks first among 64, per hand."""
    model, tokens, part = model or load(), tokenizer.load(), data.load("heldout")
    result = []
    for number, hand in enumerate(hands.HANDS):
        hits = 0
        for r in range(rounds):
            index = np.arange(r * count, (r + 1) * count)
            template = tokenizer.TEMPLATES[hand]
            texts = [template.format(scenes.plain_caption(part.scenes[i])) for i in index]
            logits = model(input_ids=tokenizer.encode(tokens, texts),
                           pixel_values=pixel_values(part.pictures[index, number])
                           ).logits_per_image
            hits += sum(texts[j] == texts[i] for i, j in enumerate(logits.argmax(1)))
        result.append(hits / (rounds * count))
    print("clip retrieval", [round(v, 3) for v in result])
    return result
