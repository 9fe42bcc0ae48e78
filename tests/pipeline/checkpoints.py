"""Tiny Stable Diffusion models in the layouts that people have them in: diffusers
directories, and single files with the names of latent-diffusion, which the functions here
give back to what diffusers renamed."""

import json
import re
import warnings

import torch
from diffusers import AutoencoderKL, DDIMScheduler, PNDMScheduler
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from lightning_fabric.utilities.data import AttributeDict
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.environments import LightningEnvironment
from pytorch_lightning.plugins.io import TorchCheckpointIO
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from ensembles import save_tokenizer
from references import randomize

# What single files do not say is the same in every published model: 32 groups, 8 heads in
# UNets of SD 1.x, heads of 64 elsewhere.
UNETS = {
    "v1": {"block_out_channels": [32, 64, 64], "attention_head_dim": 8},
    "v2": {"block_out_channels": [64, 64, 128], "attention_head_dim": [1, 1, 2],
           "use_linear_projection": True},
}


def build_pipeline(folder, kind, seed=0):
    """A StableDiffusionPipeline that a single file of SD 1.x or 2.x could hold."""
    vocab_size = save_tokenizer(folder / "tokenizer")
    unet = UNet2DConditionModel(
        layers_per_block=1, sample_size=64 if kind == "v1" else 96,
        cross_attention_dim=64,
        down_block_types=["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
        up_block_types=["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
        **UNETS[kind])
    text = CLIPTextModel(CLIPTextConfig(
        vocab_size=vocab_size, hidden_size=64, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=1, max_position_embeddings=77, bos_token_id=vocab_size - 2,
        eos_token_id=vocab_size - 1, hidden_act="quick_gelu" if kind == "v1" else "gelu"))
    vae = AutoencoderKL(block_out_channels=[32, 32, 64, 64], layers_per_block=1,
                        down_block_types=["DownEncoderBlock2D"] * 4,
                        up_block_types=["UpDecoderBlock2D"] * 4, sample_size=512)
    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
             "steps_offset": 1, "set_alpha_to_one": False}
    scheduler = (PNDMScheduler(skip_prk_steps=True, **betas) if kind == "v1" else
                 DDIMScheduler(clip_sample=False, prediction_type="v_prediction", **betas))
    if kind == "v2":
        for name in "special_tokens_map.json", "tokenizer_config.json":
            path = folder / "tokenizer" / name
            path.write_text(json.dumps(json.loads(path.read_text()) | {"pad_token": "!"}))
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    return StableDiffusionPipeline(
        vae=randomize(vae, seed), text_encoder=randomize(text, seed + 1),
        unet=randomize(unet, seed + 2), tokenizer=tokenizer, scheduler=scheduler,
        safety_checker=None, feature_extractor=None, requires_safety_checker=False)


def renamed(state, *rules):
    """Every name through the first rule that fits: (pattern, replacement or function)."""
    out = {}
    for name, value in state.items():
        for pattern, replacement in rules:
            new, count = re.subn(pattern, replacement, name)
            if count:
                break
        out[new if count else name] = value
    return out


RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0",
          "conv2": "out_layers.3", "time_emb_proj": "emb_layers.1",
          "conv_shortcut": "skip_connection"}


def unet_of_ldm(state):
    """latent-diffusion's UNetModel, whose blocks are counted in one row."""
    n = 1 + sum(f"down_blocks.0.resnets.{i}.norm1.weight" in state for i in range(9))

    def resnet(place):
        return lambda m: f"{place(m)}.{RESNET[m['part']]}."

    def up(m):
        attends = f"up_blocks.{m[1]}.attentions.0.norm.weight" in state
        return f"output_blocks.{int(m[1]) * n + n - 1}.{2 if attends else 1}.conv."

    part = r"(?P<part>\w+)\."
    return renamed(
        state, (r"^time_embedding.linear_1", "time_embed.0"),
        (r"^time_embedding.linear_2", "time_embed.2"), (r"^conv_in", "input_blocks.0.0"),
        (r"^conv_norm_out", "out.0"), (r"^conv_out", "out.2"),
        (r"^down_blocks.(\d).resnets.(\d)." + part,
         resnet(lambda m: f"input_blocks.{1 + int(m[1]) * n + int(m[2])}.0")),
        (r"^down_blocks.(\d).attentions.(\d).",
         lambda m: f"input_blocks.{1 + int(m[1]) * n + int(m[2])}.1."),
        (r"^down_blocks.(\d).downsamplers.0.conv.",
         lambda m: f"input_blocks.{(int(m[1]) + 1) * n}.0.op."),
        (r"^mid_block.resnets.(\d)." + part, resnet(lambda m: f"middle_block.{2 * int(m[1])}")),
        (r"^mid_block.attentions.0.", "middle_block.1."),
        (r"^up_blocks.(\d).resnets.(\d)." + part,
         resnet(lambda m: f"output_blocks.{int(m[1]) * n + int(m[2])}.0")),
        (r"^up_blocks.(\d).attentions.(\d).",
         lambda m: f"output_blocks.{int(m[1]) * n + int(m[2])}.1."),
        (r"^up_blocks.(\d).upsamplers.0.conv.", up))


ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def as_convolutions(state, part):
    """The dense layers of attentions as the 1x1 convolutions that they were."""
    return {name: value[:, :, None, None] if part in name and value.ndim == 2 else value
            for name, value in state.items()}


def vae_of_ldm(state):
    def shortcut(name):
        return name.replace("conv_shortcut", "nin_shortcut")

    out = renamed(
        state, (r"coder.conv_norm_out", "coder.norm_out"),
        (r"encoder.down_blocks.(\d).resnets", r"encoder.down.\1.block"),
        (r"encoder.down_blocks.(\d).downsamplers.0", r"encoder.down.\1.downsample"),
        (r"decoder.up_blocks.(\d).resnets", lambda m: f"decoder.up.{3 - int(m[1])}.block"),
        (r"decoder.up_blocks.(\d).upsamplers.0",
         lambda m: f"decoder.up.{3 - int(m[1])}.upsample"),
        (r"coder.mid_block.resnets.(\d)", lambda m: f"coder.mid.block_{int(m[1]) + 1}"),
        (r"coder.mid_block.attentions.0.(group_norm|to_[qkv]|to_out.0)",
         lambda m: f"coder.mid.attn_1.{ATTENTION[m[1]]}"))
    return as_convolutions({shortcut(name): value for name, value in out.items()}, "attn_1")


OPEN_CLIP = [(r"layer_norm(\d)", r"ln_\1"), (r"mlp.fc1", "mlp.c_fc"), (r"mlp.fc2", "mlp.c_proj"),
             (r"self_attn", "attn")]


def bare(state):
    return {name.removeprefix("text_model."): value for name, value in state.items()}


def text_of_open_clip(state):
    """OpenCLIP's transformer, q, k and v in one, with the last layer that SD 2.x leaves
    out."""
    out = {}
    for name, value in bare(state).items():
        name = re.sub(r"^encoder.layers", "transformer.resblocks", name)
        for pattern, replacement in OPEN_CLIP:
            name = re.sub(pattern, replacement, name)
        name = {"embeddings.position_embedding.weight": "positional_embedding",
                "embeddings.token_embedding.weight": "token_embedding.weight"}.get(
                    name, name.replace("final_layer_norm", "ln_final"))
        out[name] = value
    for name in [name for name in out if ".q_proj." in name]:
        parts = [out.pop(name.replace("q_proj", f"{letter}_proj")) for letter in "qkv"]
        out[name.replace(".q_proj.", ".in_proj_")] = torch.cat(parts)
    last = max(int(name.split(".")[2]) for name in out if "resblocks" in name)
    for name in [name for name in out if f"resblocks.{last}." in name]:
        out[name.replace(f".{last}.", f".{last + 1}.")] = torch.ones_like(out[name])
    out["text_projection"] = torch.ones(64, 64)
    return out


def single_file(pipeline, kind):
    """The state dict of a CompVis or Stability checkpoint, with the copies and schedules
    that lie beside the weights."""
    unet = unet_of_ldm(pipeline.unet.state_dict())
    text = pipeline.text_encoder.state_dict()
    state = {"model.diffusion_model." + name: value for name, value in unet.items()}
    state |= {"model_ema.diffusion_model" + name.replace(".", ""): torch.zeros_like(value)
              for name, value in unet.items()}
    state |= {"first_stage_model." + name: value
              for name, value in vae_of_ldm(pipeline.vae.state_dict()).items()}
    if kind == "v1":
        state |= {"cond_stage_model.transformer.text_model." + name: value
                  for name, value in bare(text).items()}
        state["cond_stage_model.transformer.text_model.embeddings.position_ids"] = (
            torch.arange(77)[None])
    else:
        state |= {"cond_stage_model.model." + name: value
                  for name, value in text_of_open_clip(text).items()}
    state |= {"betas": torch.linspace(0, 1, 1000), "scale_factor": torch.tensor(0.18215),
              "model_ema.num_updates": torch.tensor(7, dtype=torch.int32)}
    return {name: value.contiguous() for name, value in state.items()}


# What latent-diffusion and taming-transformers train. Of it only the small tensors, so that
# the optimizers' states add little to the file of a full-size model.
TRAINED = ("model.diffusion_model.", "encoder.", "decoder.", "loss.discriminator.")
MOST_TRAINED = 5000


class Training(LightningModule):
    """Holds a state dict under its own names. A step of training changes none of it: the
    learning rate warms up from 0."""

    automatic_optimization = False  # as a GAN needs it, whose optimizers are two

    def __init__(self, state, callback, settings):
        super().__init__()
        self.save_hyperparameters(ignore="state")
        for name, value in state.items():
            *path, last = name.split(".")
            module = self
            for part in path:
                if part not in module._modules:
                    module.add_module(part, torch.nn.Module())
                module = module._modules[part]
            if name.startswith(TRAINED) and value.numel() <= MOST_TRAINED:
                module.register_parameter(last, torch.nn.Parameter(value))
            else:
                module.register_buffer(last, value)

    def configure_optimizers(self):
        parts = {False: [], True: []}
        for name, value in self.named_parameters():
            parts[name.startswith("loss.")].append(value)
        optimizers = [torch.optim.AdamW(part, lr=4.5e-6, betas=(0.5, 0.9))
                      for part in parts.values() if part]
        return optimizers, [torch.optim.lr_scheduler.LambdaLR(each, lambda step: step / 10000)
                            for each in optimizers]

    def training_step(self, batch):
        loss = sum(value.sum() for value in self.parameters())
        self.manual_backward(loss)
        optimizers = self.optimizers()
        for optimizer in optimizers if isinstance(optimizers, list) else [optimizers]:
            optimizer.step()
        self.log("loss", loss)


class Straight(TorchCheckpointIO):
    """The same bytes without a copy of the whole file in memory, 8 GB at full size."""

    def save_checkpoint(self, checkpoint, path, storage_options=None):
        with open(path, "wb") as file:
            torch.save(checkpoint, file)


def save_lightning(state, path):
    """The checkpoint that Lightning's Trainer writes around a state dict, after a step."""
    saver = ModelCheckpoint(dirpath=path.parent, filename=path.stem, monitor="loss",
                            every_n_train_steps=1)
    settings = AttributeDict(ddconfig={"ch_mult": (1, 2, 4)}, lossconfig=AttributeDict())
    module = Training(state, ModelCheckpoint(monitor="loss"), settings)
    with warnings.catch_warnings(action="ignore"): # of few steps, of a folder that exists
        trainer = Trainer(accelerator="cpu", max_epochs=1, callbacks=[saver], logger=False,
                          enable_progress_bar=False, enable_model_summary=False,
                          plugins=[Straight(), LightningEnvironment()],
                          default_root_dir=path.parent)
        trainer.fit(module, [0])
    assert saver.best_model_path == str(path)
