"""Writes models/demo: every file in the layout of the real model that it stands for."""

import json
import os
import shutil

import torch
from diffusers import PNDMScheduler
from safetensors.torch import save_file

import clip
import hands
import tokenizer
import unet
import vae
import vgg
import vqgan
from data import work

EXAMPLE = "a red house by the sea at sunset"
# The usual guidance of 7.5 over-saturates networks of this size.
GENERATE = {"guidance": 3, "steps": 20}
# Behind the codebook: what k-means leaves between two entries is too far for a gradient that
# passes straight through. The rate begins where noise is left within tens of steps and ends
# where windows of other epochs no longer shake the picture; from the blend of the parents,
# where there is none to clear, a low one brings none in. The total variation clears calm
# places, which say little to either network; augmented crops keep CLIP from taking noise for
# likeness.
OPTIMIZE = {"layer": "postquant", "crops": "1x1,3x0.75,3x0.5", "augment": "affine,noise",
            "perceptual_weight": 1.5, "tv_weight": 12, "epochs": 120, "lr": 0.35,
            "lr_decay": 0.8, "lr_decay_every": 10, "from_input": {"lr": 0.02}}
# The other two look much alike, and would outvote it.
WEIGHTS = {"watercolour": 1.15}


def save(module_or_state, path, prefix=""):
    state = getattr(module_or_state, "state_dict", lambda: module_or_state)()
    tensors = {prefix + key: (value.half() if value.is_floating_point() else value)
               .detach().contiguous() for key, value in state.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata={"format": "pt"})


def save_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def link(path, target):
    if path.is_symlink() or path.exists():
        path.unlink() if path.is_symlink() else shutil.rmtree(path)
    os.symlink(target, path)


def tower(config, *names):
    shared = ("attention_dropout", "hidden_act", "hidden_size", "initializer_factor",
              "initializer_range", "intermediate_size", "layer_norm_eps",
              "num_attention_heads", "num_hidden_layers", "projection_dim")
    return {name: getattr(config, name) for name in (*shared, *names)}


def export_clip(root, text_encoder):
    model = clip.load()
    text = tower(model.config.text_config, "vocab_size", "max_position_embeddings",
                 "bos_token_id", "eos_token_id", "pad_token_id")
    vision = tower(model.config.vision_config, "image_size", "patch_size", "num_channels")
    save_json(text_encoder / "config.json", {
        "architectures": ["CLIPTextModel"], "model_type": "clip_text_model",
        "torch_dtype": "float16", **text})
    save(model.text_model, text_encoder / "model.safetensors", "text_model.")
    save_json(root / "clip" / "config.json", {
        "architectures": ["CLIPModel"], "model_type": "clip",
        "projection_dim": model.config.projection_dim, "logit_scale_init_value": 2.6592,
        "torch_dtype": "float16",
        "text_config": {"model_type": "clip_text_model", **text},
        "vision_config": {"model_type": "clip_vision_model", **vision}})
    save(model, root / "clip" / "model.safetensors")
    save_json(root / "clip" / "preprocessor_config.json", {
        "image_processor_type": "CLIPImageProcessor", "do_center_crop": True,
        "do_normalize": True, "do_resize": True, "do_convert_rgb": True, "resample": 3,
        "crop_size": {"height": hands.SIZE, "width": hands.SIZE},
        "size": {"shortest_edge": hands.SIZE},
        "image_mean": clip.MEAN, "image_std": clip.STD})


def export_diffuser(root, name):
    directory = root / name
    model = unet.load(name)
    model.save_config(directory / "unet")
    save(model, directory / "unet" / "diffusion_pytorch_model.safetensors")
    PNDMScheduler(**unet.SCHEDULER).save_pretrained(directory / "scheduler")
    path = directory / "scheduler" / "scheduler_config.json"
    # Not PNDM's own, but other schedulers made from this file default it to true.
    save_json(path, {**json.loads(path.read_text()), "clip_sample": False})
    save_json(directory / "model_index.json", {
        "_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.42.1",
        "feature_extractor": [None, None], "image_encoder": [None, None],
        "requires_safety_checker": False, "safety_checker": [None, None],
        "scheduler": ["diffusers", "PNDMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"]})
    if name != "plain":
        for shared in ("vae", "text_encoder", "tokenizer"):
            link(directory / shared, f"../plain/{shared}")


def export_perceptual(directory):
    save(vgg.load().features, directory / "vgg16.safetensors", "features.")
    heads = torch.load(work() / "vgg-heads.pt", weights_only=True)["heads"]
    save({f"lin{i}.model.1.weight": h.view(1, -1, 1, 1) for i, h in enumerate(heads)},
         directory / "lpips.safetensors")


def stored_bytes(root):
    """Size of all files, those behind links counted once."""
    return sum(path.stat().st_size for path in
               {path.resolve() for path in root.rglob("*") if path.is_file()})


def export(root):
    plain = root / "plain"
    tokenizer.write(plain / "tokenizer")
    export_clip(root, plain / "text_encoder")
    model = vae.load(scaling_factor=unet.scaling_factor())
    model.save_config(plain / "vae")
    save(model, plain / "vae" / "diffusion_pytorch_model.safetensors")
    for name in hands.HANDS:
        export_diffuser(root, name)
    save(vqgan.load(), root / "vqgan" / "model.safetensors")
    save_json(root / "vqgan" / "config.json", {
        "model": {"target": "taming.models.vqgan.VQModel", "params": {
            "embed_dim": vqgan.WIDTH, "n_embed": vqgan.CODES, "ddconfig": vqgan.CONFIG}}})
    export_perceptual(root / "lpips")
    save_json(root / "ensemble.json", {
        "name": "demo",
        "diffusers": [{"name": name, "path": name, "prompt": tokenizer.TEMPLATES[name],
                       **({"weight": WEIGHTS[name]} if name in WEIGHTS else {})}
                      for name in hands.HANDS],
        "pair": ["watercolour", "poster"],
        "vqgan": {"path": "vqgan/model.safetensors", "size": [hands.SIZE, hands.SIZE]},
        "clip": {"path": "clip"}, "perceptual": {"path": "lpips"}, "example": EXAMPLE,
        "generate": GENERATE, "optimize": OPTIMIZE})
    print(f"{root}: {stored_bytes(root) / 1e6:.1f} MB")
