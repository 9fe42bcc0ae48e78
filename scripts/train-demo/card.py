"""The model card of models/demo: every number in it is read from the training state."""

import pathlib

import numpy as np
from safetensors import safe_open

import data
import export
import hands
import scenes
import training
import unet
from data import work

TARGETS = {"subject": 0.90, "colour": 0.85, "setting": 0.85, "hand": 0.98}
PSNR_TARGETS = {"vae": (27, 23, 28), "vqgan": (23, 20, 24)}
NETWORKS = (
    ("CLIP pair", "clip", "clip/model.safetensors"),
    ("autoencoder", "vae", "plain/vae/diffusion_pytorch_model.safetensors"),
    ("VQGAN", "vqgan", "vqgan/model.safetensors"),
    ("VGG-style network", "vgg", "lpips/vgg16.safetensors"),
    ("UNet plain", "unet-plain", "plain/unet/diffusion_pytorch_model.safetensors"),
    ("UNet poster", "unet-poster", "poster/unet/diffusion_pytorch_model.safetensors"),
    ("UNet watercolour", "unet-watercolour",
     "watercolour/unet/diffusion_pytorch_model.safetensors"),
    ("classifier (judge only, not shipped)", "classifier", None),
)


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows])


def parameters(path):
    with safe_open(path, framework="np") as file:
        return sum(int(np.prod(file.get_slice(key).get_shape())) for key in file.keys())


def network_rows(root):
    rows = []
    for title, name, file in NETWORKS:
        if not (work() / f"{name}.pt").exists():
            continue
        state = training.load_state(name)
        losses = ", ".join(f"{key} {value:.4g}" for key, value in state["losses"].items())
        size = f"{parameters(root / file) / 1e6:.2f} M" if file else ""
        rows.append((title, size, state["step"], f"{state['spent'] / 60:.0f}", losses))
    return rows


def accuracy_rows(result):
    rows = [(hand, *(f"{100 * v:.1f} %" for v in result["accuracy"][hand].values()))
            for hand in hands.HANDS]
    return [*rows, ("target", *(f"{100 * v:.0f} %" for v in TARGETS.values()))]


def psnr_rows(result):
    return [(title, *(f"{v:.1f}" for v in result[key]),
             " / ".join(map(str, PSNR_TARGETS[key])))
            for title, key in (("autoencoder", "vae"), ("VQGAN", "vqgan"))]


def misses(result):
    """Every target that the measures above do not meet, as sentences."""
    found = []
    for hand, shares in result["accuracy"].items():
        found += [f"`{hand}`: {key} right in {100 * shares[key]:.1f} % of the samples, "
                  f"target {100 * target:.0f} %."
                  for key, target in TARGETS.items() if shares[key] < target]
    for key, targets in PSNR_TARGETS.items():
        found += [f"{key} on `{hand}`: {value:.1f} dB, target {target} dB."
                  for hand, value, target in zip(hands.HANDS, result[key], targets)
                  if value < target]
    if result["codes"] <= 0.6:
        found.append(f"Codebook: {100 * result['codes']:.0f} % in use, target 60 %.")
    found += [f"Retrieval on `{hand}`: {100 * value:.1f} %, target 85 %."
              for hand, value in zip(hands.HANDS, result["retrieval"]) if value < 0.85]
    return found


def write(root, result, shown):
    judge = [(hand, *(f"{100 * v:.1f} %" for v in values[:4]), f"{values[4]:.2f}")
             for hand, values in zip(hands.HANDS, result["judge"])]
    size = export.stored_bytes(root) / 1e6
    missed = "\n".join(f"- Target missed: {text}" for text in misses(result))
    template = (pathlib.Path(__file__).parent / "card.md").read_text(encoding="utf-8")
    values = {
        "size": f"{size:.0f}", "scenes": data.COUNTS["train"],
        "fewer": unet.SCENES["poster"],
        "heldout": len(data.combinations()[1]),
        "combinations": sum(map(len, data.combinations())),
        "subjects": ", ".join(scenes.SUBJECTS), "colours": ", ".join(scenes.COLOURS),
        "settings": ", ".join(scenes.SETTINGS), "times": ", ".join(scenes.TIMES),
        "networks": table(("network", "parameters", "steps", "minutes of one thread",
                           "running means of the losses at the end"), network_rows(root)),
        "sampler": result["sampler"], "steps": result["steps"],
        "guidance": result["guidance"], "seed": result["seed"],
        "prompts": result["prompts"],
        "accuracy": table(("diffuser", "subject", "colour", "setting", "hand"),
                          accuracy_rows(result)),
        "judge": table(("hand", "subject", "colour", "setting", "hand", "mask IoU"),
                       judge),
        "overlap": f"{result['overlap']:.2f}",
        "psnr": table(("network", *hands.HANDS, "target"), psnr_rows(result)),
        "codes": f"{100 * result['codes']:.0f}",
        "retrieval": table(hands.HANDS,
                           [[f"{100 * v:.1f} %" for v in result["retrieval"]]]),
        "shown": "\n".join(f"{i + 1}. {text}" for i, text in enumerate(shown)),
        "misses": missed or "- Every target of the tables under Measures is met.",
    }
    for key, value in values.items():
        template = template.replace("{{" + key + "}}", str(value))
    (root / "README.md").write_text(template, encoding="utf-8")
