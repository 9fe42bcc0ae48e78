"""A byte-pair vocabulary in CLIP's vocab.json / merges.txt format."""

import collections
import json
import re

import numpy as np

import data
import scenes
from data import work

START, END = "<|startoftext|>", "<|endoftext|>"
TEMPLATES = {"plain": "{}", "poster": "poster style {}",
             "watercolour": "watercolour style {}"}
MAX_LENGTH = 77


def byte_alphabet():
    """The printable stand-ins for the 256 byte values, in CLIP's order."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    return [chr(b) for b in printable] + [chr(256 + i) for i in range(len(others))]


def word_counts():
    counts = collections.Counter()
    rng = np.random.default_rng(data.SEED)
    for scene in data.make_scenes("train"):
        for hand in TEMPLATES.values():
            text = hand.format(scenes.caption(scene, rng))
            counts.update(re.findall(r"[a-z]+|[^a-z\s]+", text.lower()))
    return counts


def learn_merges(counts):
    """Joins the most frequent pair until every word is one symbol."""
    words = {tuple(word[:-1]) + (word[-1] + "</w>",): n for word, n in counts.items()}
    merges = []
    while True:
        pairs = collections.Counter()
        for symbols, n in words.items():
            for pair in zip(symbols, symbols[1:]):
                pairs[pair] += n
        if not pairs:
            return merges
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        words = {merge(symbols, best): n for symbols, n in words.items()}


def merge(symbols, pair):
    result, i = [], 0
    while i < len(symbols):
        if symbols[i:i + 2] == pair:
            result.append("".join(pair))
            i += 2
        else:
            result.append(symbols[i])
            i += 1
    return tuple(result)


def write(directory):
    """vocab.json, merges.txt and the two configuration files."""
    directory.mkdir(parents=True, exist_ok=True)
    alphabet = byte_alphabet()
    merges = learn_merges(word_counts())
    symbols = [*alphabet, *(c + "</w>" for c in alphabet),
               *dict.fromkeys("".join(pair) for pair in merges), START, END]
    vocabulary = {symbol: i for i, symbol in enumerate(symbols)}
    save = {
        "vocab.json": vocabulary,
        "tokenizer_config.json": {
            "tokenizer_class": "CLIPTokenizer", "model_max_length": MAX_LENGTH,
            "bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END,
            "do_lower_case": True, "errors": "replace", "add_prefix_space": False},
        "special_tokens_map.json": {"bos_token": START, "eos_token": END,
                                    "unk_token": END, "pad_token": END},
    }
    for name, value in save.items():
        indent = None if name == "vocab.json" else 2
        text = json.dumps(value, ensure_ascii=False, indent=indent)
        (directory / name).write_text(text + "\n", encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (directory / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def load():
    from transformers import CLIPTokenizer
    directory = work() / "tokenizer"
    if not (directory / "vocab.json").exists():
        write(directory)
    return CLIPTokenizer.from_pretrained(directory)


def encode(tokenizer, captions, length=MAX_LENGTH):
    return tokenizer(captions, padding="max_length", max_length=length,
                     truncation=True, return_tensors="pt").input_ids
