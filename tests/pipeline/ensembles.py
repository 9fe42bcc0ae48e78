"""Ensembles of tiny networks with seeded random weights, saved by the reference packages
in the layouts that the program reads."""

import json

import torch
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline
from diffusers import UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from perceptual_references import NARROW, build_clip, build_lpips, save_clip, save_perceptual
from references import VQModel, randomize

BEGIN, END = "<|startoftext|>", "<|endoftext|>"


def byte_alphabet():
    """The 256 printable stand-ins of byte-level byte-pair encoding (GPT-2)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    return [chr(b) for b in printable] + [chr(256 + i) for i in range(len(others))]


def save_tokenizer(folder):
    """Bytes, bytes that end a word, two merges and the two special tokens."""
    folder.mkdir(parents=True)
    letters = byte_alphabet()
    merges = [("c", "a"), ("ca", "t</w>")]
    words = letters + [c + "</w>" for c in letters] + ["".join(m) for m in merges]
    vocab = {word: i for i, word in enumerate([*words, BEGIN, END])}
    (folder / "vocab.json").write_text(json.dumps(vocab))
    (folder / "merges.txt").write_text(
        "#version: 0.2\n" + "".join(" ".join(m) + "\n" for m in merges))
    special = {"bos_token": BEGIN, "eos_token": END, "unk_token": END, "pad_token": END}
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {**special, "model_max_length": 77, "tokenizer_class": "CLIPTokenizer"}))
    return len(vocab)


SD1 = {"down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
       "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3}
TINY = {"layers_per_block": 1, "norm_num_groups": 8, "sample_size": 16,
        "block_out_channels": [32, 64, 64], "cross_attention_dim": 32,
        "down_block_types": SD1["down_block_types"][1:],
        "up_block_types": SD1["up_block_types"][:-1]}

# Settings of UNet2DConditionModel, of CLIPTextConfig and the widths of AutoencoderKL.
KINDS = {
    "sd1": (TINY, {"hidden_size": 32, "hidden_act": "quick_gelu"}, [16, 32, 32, 32]),
    "sd2": (TINY | {"attention_head_dim": [2, 4, 4], "use_linear_projection": True},
            {"hidden_size": 32, "hidden_act": "gelu"}, [16, 32, 32, 32]),
    "sd1 at full size": (
        SD1 | {"block_out_channels": [320, 640, 1280, 1280], "attention_head_dim": 8,
               "cross_attention_dim": 768, "sample_size": 64},
        {"hidden_size": 768, "hidden_act": "quick_gelu", "intermediate_size": 3072,
         "num_hidden_layers": 12, "num_attention_heads": 12}, [128, 256, 512, 512]),
}


def save_diffuser(folder, kind="sd1", seed=0):
    """A StableDiffusionPipeline of one of KINDS."""
    unet, text, widths = KINDS[kind]
    vocab_size = save_tokenizer(folder / "tokenizer")
    text = CLIPTextModel(CLIPTextConfig(**({
        "vocab_size": vocab_size, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "max_position_embeddings": 77,
        "bos_token_id": vocab_size - 2, "eos_token_id": vocab_size - 1} | text)))
    full = widths[0] == 128
    vae = AutoencoderKL(
        block_out_channels=widths, layers_per_block=2 if full else 1,
        norm_num_groups=32 if full else 8, sample_size=512 if full else 128,
        down_block_types=["DownEncoderBlock2D"] * 4, latent_channels=4,
        up_block_types=["UpDecoderBlock2D"] * 4)
    scheduler = PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1,
        skip_prk_steps=True, set_alpha_to_one=False,
        prediction_type="v_prediction" if kind == "sd2" else "epsilon")
    pipeline = StableDiffusionPipeline(
        vae=randomize(vae, seed), text_encoder=randomize(text, seed + 1),
        unet=randomize(UNet2DConditionModel(**unet), seed + 2), scheduler=scheduler,
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    pipeline.save_pretrained(folder)


def save_vqgan(folder, seed=0):
    """f8, 64 codes of 16; returns the reference network."""
    model = VQModel({"double_z": False, "z_channels": 16, "resolution": 64, "ch": 32,
                     "in_channels": 3, "out_ch": 3, "ch_mult": [1, 1, 2, 2],
                     "num_res_blocks": 1, "attn_resolutions": [8], "dropout": 0.0},
                    n_embed=64, embed_dim=16)
    model = randomize(model, seed)
    model.save_pretrained(folder)
    return model


def save_ensemble(folder, kinds=("sd1", "sd2"), **settings):
    """Diffusers a, b, ... of these kinds and a VQGAN, which is returned with the path of
    the ensemble.json."""
    names = [chr(ord("a") + i) for i in range(len(kinds))]
    for i, (name, kind) in enumerate(zip(names, kinds)):
        save_diffuser(folder / name, kind, seed=100 * i)
    vqgan = save_vqgan(folder / "vqgan")
    (folder / "ensemble.json").write_text(json.dumps({
        "name": "tiny",
        "diffusers": [{"name": n, "path": n, "prompt": "{}"} for n in names],
        "pair": names[:2],
        "vqgan": {"path": "vqgan/model.safetensors", "size": [64, 64]},
        "example": "a cat", **settings}))
    return folder / "ensemble.json", vqgan


TINY_CLIP = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
             "num_attention_heads": 4, "image_size": 32, "patch_size": 8,
             "projection_dim": 16}


def save_critics(folder, heads=True):
    """CLIP and a perceptual network, and the fields of ensemble.json that name them."""
    save_clip(folder / "clip", build_clip(TINY_CLIP), mean=[0.5, 0.45, 0.4],
              std=[0.27, 0.26, 0.28])
    save_perceptual(folder / "lpips", build_lpips(NARROW, seed=43), heads)
    return {"clip": {"path": "clip"}, "perceptual": {"path": "lpips"}}


def reference_picture(folder, prompt, seed, steps, size, scheduler=None, negative="",
                      **settings):
    """What diffusers draws: [H,W,3] floats in [0,255], not rounded."""
    pipeline = StableDiffusionPipeline.from_pretrained(
        folder, safety_checker=None, requires_safety_checker=False, **settings)
    pipeline.set_progress_bar_config(disable=True)
    if scheduler:
        pipeline.scheduler = scheduler(pipeline.scheduler)
    picture = pipeline(prompt, negative_prompt=negative, num_inference_steps=steps,
                       height=size[0], width=size[1], output_type="np",
                       generator=torch.Generator().manual_seed(seed)).images[0]
    return 255 * picture
