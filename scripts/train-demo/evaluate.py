"""Measures the exported ensemble and writes the model card.

Samples come from `diffens generate`, or from the diffusers package; reconstructions and
retrieval are computed from the files in models/demo, not from the training state.
"""

import concurrent.futures
import itertools
import json
import multiprocessing
import pathlib
import subprocess

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from PIL import Image
from safetensors.torch import load_file
from transformers import CLIPModel

import card
import classifier
import clip
import data
import export
import hands
import scenes
import vae
import vqgan
from data import work

PROMPTS, SEED = 96, 42
STEPS, GUIDANCE = export.GENERATE["steps"], export.GENERATE["guidance"]


def heldout_scenes():
    """One scene for each of the first 96 combinations that training never saw."""
    return data.make_scenes("heldout")[:PROMPTS]


def sample_with_program(root, program, prompts):
    """One process of one thread per diffuser, side by side."""
    request = work() / "prompts.json"
    request.write_text(json.dumps({"prompts": prompts}))
    directories = [work() / f"samples-{hand}" for hand in hands.HANDS]
    running = [subprocess.Popen([str(word) for word in (
        program, "generate", "--prompts", request, "--ensemble", root / "ensemble.json",
        "--models", hand, "--threads", 1, "--random-seed", SEED, "--force",
        "--out", directory)], stdout=subprocess.DEVNULL)
        for hand, directory in zip(hands.HANDS, directories)]
    if any([process.wait() for process in running]):
        raise SystemExit("diffens generate failed")
    version = subprocess.run([program, "--version"], capture_output=True, text=True,
                             check=True).stdout.strip()
    return np.concatenate([np.load(d / "images.npy") for d in directories], 1), version


def sample_one(root, diffuser, prompts, batch=16):
    pipeline = StableDiffusionPipeline.from_pretrained(
        root / diffuser["path"], torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    pictures = []
    for i in range(0, len(prompts), batch):
        texts = [diffuser["prompt"].format(p) for p in prompts[i:i + batch]]
        noise = [torch.Generator().manual_seed(SEED + n) for n in range(i, i + len(texts))]
        output = pipeline(texts, num_inference_steps=STEPS, guidance_scale=GUIDANCE,
                          generator=noise, output_type="np").images
        pictures.append((output * 255).round().astype(np.uint8))
    return np.concatenate(pictures)


def sample_with_diffusers(root, prompts, pool):
    """The same as the program: case n starts from the CPU noise of seed 42 + n."""
    ensemble = json.loads((root / "ensemble.json").read_text())
    jobs = [pool.submit(sample_one, root, d, prompts) for d in ensemble["diffusers"]]
    return np.stack([job.result() for job in jobs], 1), "diffusers"


def measure_samples(images, described):
    """Accuracies per diffuser, and how well the parents of a case overlap."""
    target = np.array([(scenes.SUBJECTS.index(s.subject),
                        list(scenes.COLOURS).index(s.colour),
                        list(scenes.SETTINGS).index(s.setting)) for s in described])
    model = classifier.load()
    shares, masks, wrong = {}, [], []
    for m, hand in enumerate(hands.HANDS):
        names, mask = classifier.judge(images[:, m], model)
        masks.append(mask)
        right = np.concatenate([names[:, :3] == target, (names[:, 3:] == m)], 1)
        shares[hand] = dict(zip(("subject", "colour", "setting", "hand"),
                                right.mean(0).tolist()))
        wrong += [(hand, int(n), right[n].tolist())
                  for n in np.flatnonzero(~right.all(1))]
    pairs = [float(classifier.overlap(a, b).mean())
             for a, b in itertools.combinations(masks, 2)]
    return {"accuracy": shares, "overlap": float(np.mean(pairs)), "wrong": wrong}


def measure_autoencoder(root):
    model = AutoencoderKL.from_pretrained(root / "plain" / "vae",
                                          torch_dtype=torch.float32)
    return vae.reconstruct(model=model.eval())


def measure_vqgan(root):
    model = vqgan.VQModel()
    model.load_state_dict({key: value.float() for key, value in
                           load_file(root / "vqgan" / "model.safetensors").items()})
    return vqgan.reconstruct(model=model.eval())


def measure_retrieval(root):
    model = CLIPModel.from_pretrained(root / "clip", dtype=torch.float32)
    return clip.retrieval(model=model.eval())


def subject_accuracy(pictures, subjects):
    """Share of uint8 pictures (N, 128, 128, 3) whose subject the classifier names right."""
    names, _ = classifier.judge(pictures)
    return float((names[:, 0] == [scenes.SUBJECTS.index(s) for s in subjects]).mean())


@torch.no_grad()
def judged_similarity(pictures, parents):
    """Cosine similarity of pictures to their parents, both uint8 (N, 128, 128, 3), by the
    second CLIP pair (stage `judge`), which no other network has been trained with."""
    model = clip.load("clip-judge")
    first, second = (model.get_image_features(pixel_values=clip.pixel_values(p)).pooler_output
                     for p in (pictures, parents))
    return torch.cosine_similarity(first, second).numpy()


def contact_sheet(images, path, cases, columns=8):
    """Three hands of each case below each other; a row of cases per line."""
    lines = []
    for start in range(0, len(cases), columns):
        chosen = images[cases[start:start + columns]]
        lines.append(np.pad(chosen, ((0, 0), (0, 0), (2, 2), (2, 2), (0, 0)),
                            constant_values=255).transpose(1, 2, 0, 3, 4)
                     .reshape(3 * (hands.SIZE + 4), -1, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet = np.concatenate([np.pad(line, ((0, 6), (0, 0), (0, 0)), constant_values=255)
                            for line in lines])
    Image.fromarray(sheet).save(path, quality=90, subsampling=0)


def evaluate(root, program, with_diffusers=False):
    described = heldout_scenes()
    prompts = [scenes.plain_caption(scene) for scene in described]
    with concurrent.futures.ProcessPoolExecutor(7,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=torch.set_num_threads, initargs=(1,)) as pool:
        measures = {"vae": pool.submit(measure_autoencoder, root),
                    "vqgan": pool.submit(measure_vqgan, root),
                    "retrieval": pool.submit(measure_retrieval, root),
                    "judge": pool.submit(classifier.accuracy)}
        if with_diffusers or not pathlib.Path(program).exists():
            images, sampler = sample_with_diffusers(root, prompts, pool)
        else:
            images, sampler = sample_with_program(root, program, prompts)
        measured = {key: job.result() for key, job in measures.items()}
    np.save(work() / "samples.npy", images)
    measured["vqgan"], codes = measured["vqgan"]
    result = {"sampler": sampler, "steps": STEPS, "guidance": GUIDANCE, "seed": SEED,
              "prompts": len(prompts), "codes": codes, **measured,
              **measure_samples(images, described)}
    (work() / "evaluation.json").write_text(json.dumps(result, indent=1))
    contact_sheet(images, root / "pictures" / "contact-sheet.jpg", list(range(24)))
    card.write(root, result, prompts[:24])
    print(json.dumps({k: v for k, v in result.items() if k != "wrong"}, indent=1))
