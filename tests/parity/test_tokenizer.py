"""The tokenizer against transformers' CLIPTokenizer, on CLIP's own vocabulary (the one in the
open_clip package). Leaves refusals of broken files to tests/diffusion/test_tokenizer.c."""

import functools
import gzip
import importlib.util
import json
import os
import pathlib
import random
import subprocess
import unicodedata

import numpy as np
import pytest
from tokenizers.normalizers import NFC
from transformers import CLIPTokenizer

COUNT = 10_000
BEGIN, END = "<|startoftext|>", "<|endoftext|>"


def clip_vocabulary():
    """open_clip: SimpleTokenizer.__init__, the published construction."""
    # Found without importing the package, which wants torchvision.
    package = pathlib.Path(importlib.util.find_spec("open_clip").origin).parent
    lines = gzip.open(package / "bpe_simple_vocab_16e6.txt.gz").read().decode("utf-8").split("\n")
    merges = [tuple(line.split()) for line in lines[1 : 49152 - 256 - 2 + 1]]
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    symbols = [chr(byte) for byte in printable] + [chr(256 + n) for n in range(len(others))]
    names = symbols + [s + "</w>" for s in symbols] + [a + b for a, b in merges] + [BEGIN, END]
    return {name: i for i, name in enumerate(names)}, merges


def token(content, normalized):
    return {"content": content, "lstrip": False, "normalized": normalized, "rstrip": False,
            "single_word": False}


COMMON = {"add_prefix_space": False, "do_lower_case": True, "model_max_length": 77,
          "tokenizer_class": "CLIPTokenizer"}
ROLES = {"bos_token": token(BEGIN, True), "eos_token": token(END, True), "pad_token": END,
         "unk_token": token(END, True)}
DECODER = {"0": {**token("!", False), "special": True},
           "49406": {**token(BEGIN, True), "special": True},
           "49407": {**token(END, True), "special": True},
           "49408": {**token("<Cat-Toy>", True), "special": False},
           "49409": {**token("<dog>", False), "special": False}}

# tokenizer_config.json, special_tokens_map.json and added_tokens.json as they are published
# or saved: of openai/clip, SD 1.x, SD 2.x, a newer save, and a textual inversion.
LAYOUTS = {
    "bare": {"config": {"model_max_length": 77}},
    "sd1": {"config": {**COMMON, **ROLES}, "map": ROLES},
    "sd2": {"config": {**COMMON, **ROLES}, "map": {**ROLES, "pad_token": "!"}},
    "decoder": {"config": {**COMMON, "added_tokens_decoder": DECODER, "bos_token": BEGIN,
                           "eos_token": END, "unk_token": END, "pad_token": "!"},
                "map": {**ROLES, "pad_token": "?"}},
    "added": {"config": {**COMMON, **ROLES}, "map": ROLES,
              "added": {"<Cat-Toy>": 49408, "wow": 49409}},
}


def write_tokenizer(directory, layout):
    vocab, merges = clip_vocabulary()
    texts = {
        "vocab.json": json.dumps(vocab, ensure_ascii=layout == "sd1"),
        "merges.txt": "#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges),
    }
    for key, name in (("config", "tokenizer_config.json"), ("map", "special_tokens_map.json"),
                      ("added", "added_tokens.json")):
        if key in LAYOUTS[layout]:
            texts[name] = json.dumps(LAYOUTS[layout][key])
    for name, text in texts.items():
        (directory / name).write_text(text, encoding="utf-8")
    return directory


def code_point(random_, low, high):
    while True:
        c = random_.randrange(low, high)
        if not 0xD800 <= c <= 0xDFFF and c != 0:
            return chr(c)


SPACES = [chr(c) for c in [9, 10, 11, 12, 13, 32, 0x85, 0xA0, 0x1680, 0x180E, *range(0x2000, 0x200E),
                           0x2028, 0x2029, 0x202F, 0x205F, 0x2060, 0x3000, 0xFEFF]]
EMOJI = ["😀", "👩‍🚀", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "🇯🇵🇧🇷", "👍🏽", "❤️", "☺", "🧑🏿‍🦽‍➡️", "1️⃣", "🫠"]
WORDS = ["a castle on a hill", "trending on artstation", "8k", "Ghibli style", "it's", "DON'T",
         "we'll", "they've", "I'm", "you're", "he'd", "'s't're've'm'll'd", "rock'n'roll", "l'été",
         "İSTANBUL", "ıI", "STRASSE ẞ ß", "ΟΔΥΣΣΕΥΣ Σ ΣΑΣ", "ǅ ǈ Ǆ", "ŉ ﬁ Å K Ω", "ÀÉÎÕÜ",
         "\ufffd", "naïve café", "Ａｆｕｌｌ", "ⅷ Ⅻ ② ½ ٣ ३ ៥ 〇 四 𝟘", "12,345.678", "C++17 & <b>html</b> &amp;",
         "...!!!???", "-- —— …", "(((masterpiece:1.3)))", "[a|b]", BEGIN, END, "<|StartOfText|>",
         "<|ENDOFTEXT|>!!", "!<|startoftext|>", "<|endoftext|", "wow", "<cat-toy>", "<dog>", "<Dog>"]


def letters(random_, low, high, longest=12):
    return "".join(code_point(random_, low, high) for _ in range(random_.randrange(1, longest)))


def hangul_jamo(random_):
    return "".join(chr(random_.choice([random_.randrange(0x1100, 0x1113), random_.randrange(0x1161, 0x1176),
                                       random_.randrange(0x11A8, 0x11C3), random_.randrange(0xAC00, 0xD7A4)]))
                   for _ in range(random_.randrange(1, 8)))


KINDS = [
    lambda r: r.choice(WORDS),
    lambda r: r.choice(EMOJI),
    lambda r: r.choice(SPACES) * r.randrange(1, 4),
    lambda r: " ",
    lambda r: letters(r, 0x21, 0x7F),
    lambda r: letters(r, 0xA1, 0x250),  # Latin
    lambda r: letters(r, 0x370, 0x530),  # Greek, Cyrillic
    lambda r: letters(r, 0x590, 0x700),  # Hebrew, Arabic
    lambda r: letters(r, 0x900, 0xE00),  # Indic
    lambda r: letters(r, 0x1E00, 0x2000),  # Latin and Greek with marks
    lambda r: letters(r, 0x2010, 0x2C00),  # punctuation, symbols
    lambda r: letters(r, 0x3041, 0x3100),  # kana
    lambda r: letters(r, 0x4E00, 0xA000),  # Han
    lambda r: letters(r, 0xF900, 0xFFFE),  # compatibility forms
    lambda r: letters(r, 0x1, 0x20),  # controls
    lambda r: letters(r, 0x1F300, 0x1FB00),
    hangul_jamo,
    lambda r: "".join(r.choice("aeiouAEIOUșÅ가あ") + letters(r, 0x300, 0x370, 4) for _ in range(r.randrange(1, 5))),
    lambda r: unicodedata.normalize("NFD", letters(r, 0xC0, 0x250)),
    lambda r: str(r.randrange(10**6)),
    lambda r: r.choice("abcXYZ'") * r.randrange(1, 200),
]


# Two kinds of characters give other ids, since the tables of Unicode data differ in age;
# test_every_code_point shows that there are no others. Letters and numbers that are younger than
# Unicode 15.0, which Debian 12's utf8proc 2.8 knows, are symbols to us:
YOUNG = [(0x1C89, 0x1C8A), (0xA7CB, 0xA7CE), (0xA7D2, 0xA7D2), (0xA7D4, 0xA7D4), (0xA7DA, 0xA7DC),
         (0x105C0, 0x105F3), (0x10D4A, 0x10D65), (0x10D6F, 0x10D85), (0x10EC2, 0x10EC4),
         (0x11380, 0x113D3), (0x11BC0, 0x11BE0), (0x13460, 0x143FA), (0x16100, 0x1611D),
         (0x16D40, 0x16D6C), (0x16EA0, 0x16EB8), (0x18CFF, 0x18CFF), (0x1E5D0, 0x1E5F0),
         (0x2EBF0, 0x2EE5D)]


@functools.cache
def is_young(c):
    """And combining marks that the reference's older NFC does not know: it leaves them where they
    are in a sequence of marks, and we sort them as Unicode has it. Python's own table does not
    know the youngest marks, which are unassigned there."""
    if any(low <= ord(c) <= high for low, high in YOUNG):
        return True
    last = "a\u0345"  # the highest combining class: every mark that is known moves before it
    mark = unicodedata.combining(c) or (unicodedata.category(c) == "Cn" and 0x10000 <= ord(c) < 0x20000)
    return bool(mark) and unicodedata.combining(c) < 240 and NFC().normalize_str(last + c) == last + c


def strings(count, seed):
    """Seeded strings of everything that people and their tools put into prompts."""
    random_ = random.Random(seed)
    made = ["", " ", "\t\n", *WORDS, *EMOJI, *SPACES, "x" * 5000, "ab" * 2000 + "!" * 999]
    while len(made) < count:
        text = "".join(random_.choice(KINDS)(random_) for _ in range(random_.randrange(1, 12)))
        if random_.random() < 0.2:
            text += "".join(code_point(random_, 1, 0x110000) for _ in range(random_.randrange(1, 20)))
        if random_.random() < 0.2:
            text = text.upper()
        made.append("".join(c for c in text if not is_young(c)))
    return made[:count]


def run(binary, directory, texts, tmp_path, max_length=77):
    """The counts, the ids, and the dropped texts of our tokenizer."""
    (tmp_path / "strings").write_bytes(b"".join(t.encode("utf-8") + b"\0" for t in texts))
    subprocess.run([binary, directory, str(max_length), tmp_path / "strings", tmp_path / "ids",
                    tmp_path / "dropped"], check=True)
    ids = np.fromfile(tmp_path / "ids", dtype=np.int64).reshape(len(texts), max_length + 1)
    dropped = (tmp_path / "dropped").read_bytes().split(b"\0")[:-1]
    return ids[:, 0], ids[:, 1:], [d.decode("utf-8", "replace") for d in dropped]


def encode(reference, texts, max_length=77):
    """As StableDiffusionPipeline.encode_prompt calls it."""
    return np.array(reference(texts, padding="max_length", truncation=True,
                              max_length=max_length)["input_ids"])


def differing(texts, ours, expected):
    return [(text, a.tolist(), b.tolist())
            for text, a, b in zip(texts, ours, expected) if not np.array_equal(a, b)]


@pytest.fixture(params=LAYOUTS)
def layout(request, tmp_path):
    return request.param, write_tokenizer(tmp_path, request.param)


def test_ids(layout, driver, tmp_path, observe):
    name, directory = layout
    count = COUNT if name == "sd1" else 1000
    reference = CLIPTokenizer.from_pretrained(directory)
    texts = strings(count, seed=1)
    counts, ours, _ = run(driver("tokenizer_driver"), directory, texts, tmp_path)
    wrong = differing(texts, ours, encode(reference, texts))
    observe("tokenizer", name, f"of {count} strings with other ids", float(len(wrong)), 0.0)
    assert wrong[:3] == []
    whole = [len(ids) - 2 for ids in reference(texts)["input_ids"]]
    assert counts.tolist() == whole
    assert sum(n > 75 for n in whole) > count // 50, "too few strings are long enough to be cut"


@pytest.mark.parametrize("form", ["pairs", "lines"])
def test_ids_of_tokenizer_json(driver, tmp_path, form):
    """What transformers 5 saves: one file for everything, with or without pairs of its own."""
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    CLIPTokenizer.from_pretrained(write_tokenizer(old, "added")).save_pretrained(new)
    assert not (new / "vocab.json").exists()
    reference = CLIPTokenizer.from_pretrained(new)
    if form == "lines":
        whole = json.loads((new / "tokenizer.json").read_text())
        whole["model"]["merges"] = [" ".join(pair) for pair in whole["model"]["merges"]]
        (new / "tokenizer.json").write_text(json.dumps(whole))
    texts = strings(1000, seed=2)
    _, ours, _ = run(driver("tokenizer_driver"), new, texts, tmp_path)
    assert differing(texts, ours, encode(reference, texts))[:3] == []


def test_dropped_text(layout, driver, tmp_path):
    """diffusers, StableDiffusionPipeline.encode_prompt: the text of its warning."""
    _, directory = layout
    reference = CLIPTokenizer.from_pretrained(directory)
    texts = ["word " * 75, "word " * 74 + "Don't STOP now, 24 times", "日本" * 90, "x y " * 40 + END]
    _, _, dropped = run(driver("tokenizer_driver"), directory, texts, tmp_path)
    expected = [reference.decode(ids[76:-1]) for ids in reference(texts)["input_ids"]]
    assert dropped == expected
    assert dropped[0] == "" and dropped[1] == "' t stop now , 2 4 times".replace("' t", "'t")


@pytest.mark.full
def test_every_code_point(driver, tmp_path):
    """Between a letter and a digit, and after a vowel and a mark, for composition."""
    directory = write_tokenizer(tmp_path, "sd1")
    reference = CLIPTokenizer.from_pretrained(directory)
    points = [chr(c) for c in range(1, 0x110000) if not 0xD800 <= c <= 0xDFFF]
    texts = [f"a{c}b1 e\u0323{c}" for c in points]
    _, ours, _ = run(driver("tokenizer_driver"), directory, texts, tmp_path, 32)
    expected = encode(reference, texts, 32)
    wrong = [c for c, a, b in zip(points, ours, expected) if not np.array_equal(a, b)]
    assert [ascii(c) for c in wrong if not is_young(c)] == []
