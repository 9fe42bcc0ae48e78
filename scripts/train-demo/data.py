"""The data set: drawn once to memory-mapped arrays under the work directory.

A tenth of the subject x colour x setting x time combinations is held out: the training
part never shows them, the held-out part shows nothing else.
"""

import dataclasses
import functools
import itertools
import json
import multiprocessing
import os
import pathlib

import numpy as np

import hands
import scenes

SEED = 20
COUNTS = {"train": 10000, "heldout": 432}
FIRST_SEED = {"train": 0, "heldout": 1 << 24}


def work():
    """The directory of all training state."""
    path = pathlib.Path(os.environ.get("TRAIN_DEMO_WORK", "build/train-demo"))
    path.mkdir(parents=True, exist_ok=True)
    return path


@functools.cache
def combinations():
    """(training combinations, held-out combinations)"""
    everything = list(itertools.product(
        scenes.SUBJECTS, scenes.COLOURS, scenes.SETTINGS, scenes.TIMES))
    order = np.random.default_rng(SEED).permutation(len(everything))
    shuffled = [everything[i] for i in order]
    count = len(everything) // 10
    return shuffled[count:], shuffled[:count]


def make_scenes(part):
    allowed = combinations()[part == "heldout"]
    result = []
    for i in range(COUNTS[part]):
        seed = FIRST_SEED[part] + i
        rng = np.random.default_rng([SEED, seed])
        result.append(scenes.random_scene(rng, seed, allowed[i % len(allowed)]))
    return result


def shapes(part):
    count, size, mask = COUNTS[part], hands.SIZE, hands.MASK_SIZE
    return (count, len(hands.HANDS), size, size, 3), (count, mask, mask)


def draw_chunk(job):
    part, start, stop = job
    pictures = np.load(work() / f"{part}-pictures.npy", mmap_mode="r+")
    masks = np.load(work() / f"{part}-masks.npy", mmap_mode="r+")
    for i, scene in enumerate(make_scenes(part)[start:stop], start):
        pictures[i], masks[i] = hands.render_all(scene)
    pictures.flush()
    masks.flush()
    return start


def draw(processes=2, chunk=250):
    """Draws what is missing; a marker file per chunk lets an interrupted run resume."""
    marks = work() / "drawn"
    marks.mkdir(exist_ok=True)
    jobs = []
    for part in COUNTS:
        for name, shape in zip(("pictures", "masks"), shapes(part)):
            path = work() / f"{part}-{name}.npy"
            if not path.exists():
                np.lib.format.open_memmap(path, "w+", np.uint8, shape).flush()
        jobs += [(part, start, min(start + chunk, COUNTS[part]))
                 for start in range(0, COUNTS[part], chunk)
                 if not (marks / f"{part}-{start}").exists()]
        described = [dataclasses.asdict(scene) for scene in make_scenes(part)]
        (work() / f"{part}-scenes.json").write_text(json.dumps(described))
    with multiprocessing.Pool(processes) as pool:
        for job, _ in zip(jobs, pool.imap(draw_chunk, jobs)):
            (marks / f"{job[0]}-{job[1]}").touch()
            print(f"drawn {job[0]} {job[2]}/{COUNTS[job[0]]}", flush=True)


@dataclasses.dataclass
class Part:
    """A part of the data set: pictures (N, 3 hands, H, W, 3), masks, descriptions."""

    pictures: np.ndarray
    masks: np.ndarray
    scenes: list

    def captions(self, seed):
        """One wording per scene, chosen by `seed`."""
        return [scenes.caption(scene, np.random.default_rng([SEED, seed, scene.seed]))
                for scene in self.scenes]

    def labels(self):
        """(N, 3): index of subject, colour and setting of every scene."""
        return np.array([(scenes.SUBJECTS.index(s.subject),
                          list(scenes.COLOURS).index(s.colour),
                          list(scenes.SETTINGS).index(s.setting)) for s in self.scenes])


@functools.cache
def load(part):
    return Part(np.load(work() / f"{part}-pictures.npy", mmap_mode="r"),
                np.load(work() / f"{part}-masks.npy", mmap_mode="r"), make_scenes(part))
