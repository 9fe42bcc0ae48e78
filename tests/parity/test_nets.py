"""The four networks against diffusers, transformers and taming-transformers, run live on
the same seeded random weights: outputs and, block by block, everything on the way."""

import gc
import subprocess

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel

from references import VQModel, blocks_of, last_layer, randomize

# Largest absolute difference, as a part of the reference's largest absolute value, fp32.
TOLERANCE = 1e-4

# Reference modules that must be compared; a block that our networks forget to report
# would otherwise go unseen.
BLOCKS = {
    "CLIPTextEmbeddings", "CLIPAttention", "CLIPMLP", "CLIPEncoderLayer",
    "TimestepEmbedding", "ResnetBlock2D", "Transformer2DModel", "BasicTransformerBlock",
    "Attention", "FeedForward", "CrossAttnDownBlock2D", "DownBlock2D",
    "UNetMidBlock2DCrossAttn", "UNetMidBlock2D", "CrossAttnUpBlock2D", "UpBlock2D",
    "DownEncoderBlock2D", "UpDecoderBlock2D", "Encoder", "Decoder", "ResnetBlock",
    "AttnBlock",
}

SD1_UNET = {
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
}
TINY_UNET = {"block_out_channels": [32, 64, 64, 96], "layers_per_block": 2,
             "norm_num_groups": 8, "sample_size": 16, "cross_attention_dim": 24, **SD1_UNET}
SD15_UNET = {"block_out_channels": [320, 640, 1280, 1280], "layers_per_block": 2,
             "attention_head_dim": 8, "sample_size": 64, "cross_attention_dim": 768,
             **SD1_UNET}
SD21_UNET = {**SD15_UNET, "attention_head_dim": [5, 10, 20, 20], "sample_size": 96,
             "cross_attention_dim": 1024, "use_linear_projection": True,
             "dual_cross_attention": False, "upcast_attention": True}
TINY_VAE = {"block_out_channels": [32, 32, 64], "layers_per_block": 1, "sample_size": 32,
            "norm_num_groups": 8, "down_block_types": ["DownEncoderBlock2D"] * 3,
            "up_block_types": ["UpDecoderBlock2D"] * 3, "latent_channels": 4}
SD_VAE = {"block_out_channels": [128, 256, 512, 512], "layers_per_block": 2,
          "sample_size": 512, "down_block_types": ["DownEncoderBlock2D"] * 4,
          "up_block_types": ["UpDecoderBlock2D"] * 4, "latent_channels": 4}
TINY_CLIP = {"vocab_size": 99, "hidden_size": 48, "intermediate_size": 80,
             "num_hidden_layers": 4, "num_attention_heads": 4,
             "max_position_embeddings": 20, "bos_token_id": 97, "eos_token_id": 98,
             "pad_token_id": 98}
CLIP_L = {"vocab_size": 49408, "hidden_size": 768, "intermediate_size": 3072,
          "num_hidden_layers": 12, "num_attention_heads": 12,
          "max_position_embeddings": 77, "hidden_act": "quick_gelu"}
OPENCLIP_H = {"vocab_size": 49408, "hidden_size": 1024, "intermediate_size": 4096,
              "num_hidden_layers": 23, "num_attention_heads": 16,
              "max_position_embeddings": 77, "hidden_act": "gelu"}


def vqgan(ch, ch_mult, resolution, attn, blocks, z, embed, entries):
    return {"ddconfig": {"double_z": False, "z_channels": z, "resolution": resolution,
                         "in_channels": 3, "out_ch": 3, "ch": ch, "ch_mult": ch_mult,
                         "num_res_blocks": blocks, "attn_resolutions": attn,
                         "dropout": 0.0},
            "n_embed": entries, "embed_dim": embed}


# taming-transformers: configs of vqgan_imagenet_f16_16384
IMAGENET_F16 = vqgan(128, [1, 1, 2, 2, 4], 256, [16], 2, 256, 256, 16384)


def numbers(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class Case:
    """One network on disk and in memory, and the outputs of both."""

    def __init__(self, area, name, model, folder, driver, observe):
        self.area, self.name, self.model = area, name, model
        self.folder, self.observe = folder, observe
        self.program = driver("nets_driver")
        model.save_pretrained(folder)
        self.weights = next(folder.glob("*.safetensors"))

    def command(self, inputs, *options):
        save_file({k: v.contiguous() for k, v in inputs.items()},
                  str(self.folder / "inputs"))
        return [self.program, self.area, self.folder / "config.json", self.weights,
                self.folder / "inputs", *options]

    def run(self, inputs, *options):
        """What our network makes of the inputs, in the order in which it made it."""
        outputs = self.folder / "outputs"
        subprocess.run(self.command(inputs, outputs, *options), check=True)
        ours = load_file(str(outputs))
        return {name: ours[name] for name in sorted(ours)}

    def check(self, quantity, ours, reference, tolerance=TOLERANCE):
        assert list(ours.shape) == list(reference.shape), f"{self.name}: {quantity}"
        error = relative(ours, reference)
        self.observe(self.area, self.name, quantity, error, tolerance)
        assert error <= tolerance, f"{self.name}: {quantity}: {error:.3g} > {tolerance}"

    def check_blocks(self, ours, run_reference):
        """Runs the reference and compares block by block, in the order of computation, so
        that the first wrong one is named. Returns what `run_reference` returns."""
        taps = [(name.split("/", 2)[2].removeprefix("text_model."), x)
                for name, x in ours.items() if name.startswith("tap/")]
        names = {name for name, _ in taps}
        names |= {name for name, module in self.model.named_modules()
                  if type(module).__name__ in BLOCKS}
        with blocks_of(self.model, names) as seen, torch.no_grad():
            result = run_reference()

        worst = 0.0
        for (name, x), (reference_name, reference) in zip(taps, seen):
            assert name == reference_name, f"{self.name}: order of blocks"
            x = x.expand(reference.shape) if x.shape[0] == 1 else x
            error = relative(x, reference)
            assert error <= TOLERANCE, f"{self.name}: first wrong block {name}: {error:.3g}"
            worst = max(worst, error)
        assert len(taps) == len(seen), f"{self.name}: blocks that only one side has"
        self.observe(self.area, self.name, f"worst of {len(taps)} blocks", worst, TOLERANCE)
        return result

    def check_names(self, inputs):
        """On shapes alone the network asks for every tensor of the checkpoint, in the
        checkpoint's shape, and for no other."""
        text = subprocess.run(self.command(inputs, "--meta"), check=True, text=True,
                              capture_output=True).stdout
        found = dict(line.split(" ", 1) for line in text.splitlines())
        count = sum(p.numel() for p in self.model.parameters())
        assert (found["missing"], found["mismatched"], found["unused"]) == ("0", "0", "0"), text
        assert int(found["parameters"]) == count


def relative(ours, reference):
    difference = (ours.double() - reference.double()).abs().max()
    return (difference / reference.double().abs().max()).item()


@pytest.fixture
def case(request, tmp_path, driver, observe):
    def make(area, model):
        name = request.node.callspec.id if hasattr(request.node, "callspec") else \
            request.node.name.removeprefix("test_")
        return Case(area, name, model, tmp_path / "model", driver, observe)
    yield make
    gc.collect()


def full(id, *values):
    return pytest.param(*values, id=id, marks=pytest.mark.full)


# ---- CLIP text encoder -----------------------------------------------------------------------


@pytest.mark.parametrize("config, batch, tokens, skip_last", [
    pytest.param({**TINY_CLIP, "hidden_act": "quick_gelu"}, 2, 20, 0, id="quick_gelu"),
    pytest.param({**TINY_CLIP, "hidden_act": "gelu"}, 1, 20, 0, id="gelu"),
    pytest.param({**TINY_CLIP, "hidden_act": "gelu"}, 2, 20, 1, id="penultimate layer"),
    pytest.param({**TINY_CLIP, "hidden_act": "quick_gelu"}, 3, 7, 2, id="short, skip 2"),
    full("ViT-L/14 of SD 1.x", CLIP_L, 2, 77, 0),
    full("OpenCLIP-H of SD 2.x", OPENCLIP_H, 2, 77, 0),
])
def test_clip_text(case, config, batch, tokens, skip_last, scale=1.0):
    c = case("clip_text", randomize(CLIPTextModel(CLIPTextConfig(**config)), 1, scale))
    ids = torch.randint(config["vocab_size"] - 2, (batch, tokens),
                        generator=torch.Generator().manual_seed(2))
    ours = c.run({"ids": ids}, "--taps", "--skip-last", str(skip_last))

    # The definition (diffusers: StableDiffusionPipeline.encode_prompt, clip_skip), and for
    # the blocks a model without the layers that are left out.
    with torch.no_grad():
        states = c.model(ids, output_hidden_states=True).hidden_states
        hidden = c.model.final_layer_norm(states[-(skip_last + 1)])
    c.check("hidden state", ours["hidden"], hidden)
    if skip_last == 0:
        c.check_names({"ids": ids})
    c.model.encoder.layers = c.model.encoder.layers[:len(states) - 1 - skip_last]
    c.check_blocks(ours, lambda: c.model(ids))


# ---- UNet ----------------------------------------------------------------------------------


@pytest.mark.parametrize("config, batch, height, width", [
    pytest.param({**TINY_UNET, "attention_head_dim": 4}, 1, 16, 16, id="SD 1.x"),
    pytest.param({**TINY_UNET, "attention_head_dim": 4}, 2, 16, 24, id="SD 1.x, batch 2"),
    pytest.param({**TINY_UNET, "attention_head_dim": 4}, 1, 13, 21, id="odd sizes"),
    pytest.param({**TINY_UNET, "attention_head_dim": [2, 4, 8, 8],
                  "use_linear_projection": True}, 2, 16, 16, id="SD 2.x"),
    pytest.param({**TINY_UNET, "attention_head_dim": [2, 4, 8, 8], "freq_shift": 1,
                  "use_linear_projection": True, "flip_sin_to_cos": False,
                  "norm_eps": 1e-4}, 1, 9, 16, id="SD 2.x, other settings"),
    pytest.param({**TINY_UNET, "attention_head_dim": 4, "layers_per_block": [1, 2, 1, 2],
                  "transformer_layers_per_block": [1, 2, 1, 1],
                  "only_cross_attention": [False, True, False, False]}, 1, 16, 16,
                 id="depths that differ by level"),
    pytest.param({**TINY_UNET, "attention_head_dim": 4, "mid_block_type": "UNetMidBlock2D",
                  "block_out_channels": [32, 64], "up_block_types": SD1_UNET["up_block_types"][:2],
                  "down_block_types": SD1_UNET["down_block_types"][2:]}, 1, 8, 8,
                 id="two levels, no attention in the middle"),
    full("SD 1.5", SD15_UNET, 1, 64, 64),
    full("SD 1.5, 72x40", SD15_UNET, 2, 9, 5),
    full("SD 2.1", SD21_UNET, 1, 64, 64),
])
def test_unet(case, config, batch, height, width, scale=1.0):
    c = case("unet", randomize(UNet2DConditionModel(**config), 3, scale))
    timesteps = [981.0, 1.0] if batch == 1 else [500.0]
    inputs = {"x": numbers(4, batch, 4, height, width),
              "text": numbers(5, batch, 77, config["cross_attention_dim"]),
              "timesteps": torch.tensor(timesteps)}
    ours = c.run(inputs, "--taps")
    eps = c.check_blocks(ours, lambda: [
        c.model(inputs["x"], t, inputs["text"]).sample for t in timesteps])
    for i, t in enumerate(timesteps):
        c.check(f"eps at t={t:.0f}", ours[f"eps/{i}"], eps[i])
    c.check_names(inputs)


@pytest.mark.parametrize("config, every", [
    pytest.param({**TINY_UNET, "attention_head_dim": 4}, 1, id="always the whole"),
    pytest.param({**TINY_UNET, "attention_head_dim": 4}, 3, id="cache"),
    pytest.param({**TINY_UNET, "block_out_channels": [32, 64], "attention_head_dim": 4,
                  "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
                  "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"]}, 2,
                 id="cache, no attention outermost"),
    full("SD 1.5, cache", SD15_UNET, 2),
])
def test_unet_cache(case, config, every):
    """The last layer goes on from what the others made of an earlier timestep."""
    c = case("unet", randomize(UNet2DConditionModel(**config), 3))
    timesteps = [981.0, 700.0, 400.0, 20.0]
    inputs = {"x": numbers(4, 2, 4, 16, 24), "text": numbers(5, 2, 77, config["cross_attention_dim"]),
              "timesteps": torch.tensor(timesteps)}
    ours = c.run(inputs, "--cache", str(every))
    seen = []
    c.model.up_blocks[-1].resnets[-1].register_forward_pre_hook(
        lambda _, arguments: seen.append(arguments[0][:, :-config["block_out_channels"][0]]))
    with torch.no_grad():
        whole = [c.model(inputs["x"], t, inputs["text"]).sample for t in timesteps]
        features = list(seen)
        for i, t in enumerate(timesteps):
            eps = whole[i] if i % every == 0 else last_layer(
                c.model, inputs["x"], t, inputs["text"], features[i - i % every])
            c.check(f"eps at t={t:.0f}", ours[f"eps/{i}"], eps)
    if every == 1:
        plain = c.run(inputs)
        assert all(torch.equal(ours[name], plain[name]) for name in plain)
    else:   # what is left out is of consequence
        assert relative(ours["eps/1"], whole[1]) > 1e-3


# ---- VAE -----------------------------------------------------------------------------------


@pytest.mark.parametrize("config, batch, height, width", [
    pytest.param(TINY_VAE, 1, 32, 32, id="square"),
    pytest.param(TINY_VAE, 2, 24, 40, id="batch 2, 24x40"),
    pytest.param({**TINY_VAE, "layers_per_block": 2, "use_quant_conv": False,
                  "use_post_quant_conv": False}, 1, 32, 32, id="no quant_conv"),
    pytest.param({**TINY_VAE, "mid_block_add_attention": False}, 1, 32, 32,
                 id="no attention"),
    full("SD, 256x256", SD_VAE, 1, 256, 256),
    full("SD, 512x384", SD_VAE, 1, 512, 384),
])
def test_vae(case, config, batch, height, width, scale=1.0):
    c = case("vae", randomize(AutoencoderKL(**config), 6, scale))
    factor = 2 ** (len(config["block_out_channels"]) - 1)
    inputs = {"x": numbers(7, batch, 3, height, width).clamp(-1, 1),
              "z": numbers(8, batch, 4, height // factor, width // factor)}
    ours = c.run(inputs, "--taps")

    def reference():
        return c.model.encode(inputs["x"]).latent_dist.parameters, \
            c.model.decode(inputs["z"]).sample

    moments, image = c.check_blocks(ours, reference)
    c.check("moments", ours["moments"], moments)
    c.check("image", ours["image"], image)
    c.check_names(inputs)


def test_vae_with_the_old_attention_names(case):
    """The VAEs of SD 1.x were published with `query`, `key`, `value` and `proj_attn`."""
    c = case("vae", randomize(AutoencoderKL(**TINY_VAE), seed=9))
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    tensors = load_file(str(c.weights))
    for new_name, old_name in old.items():
        tensors = {k.replace(f".{new_name}.", f".{old_name}."): v for k, v in tensors.items()}
    save_file(tensors, str(c.weights))
    assert any(".proj_attn." in name for name in tensors)
    inputs = {"z": numbers(10, 1, 4, 8, 8), "x": numbers(11, 1, 3, 16, 16)}
    with torch.no_grad():
        c.check("image", c.run(inputs)["image"], c.model.decode(inputs["z"]).sample)
    c.check_names(inputs)


# ---- VQGAN ---------------------------------------------------------------------------------


@pytest.mark.parametrize("config, batch, height, width", [
    pytest.param(vqgan(32, [1, 1, 2, 2, 3], 64, [4], 1, 48, 40, 256), 1, 64, 64, id="f16"),
    pytest.param(vqgan(32, [1, 2, 2, 3], 64, [8], 2, 32, 32, 128), 2, 64, 64,
                 id="f8, batch 2"),
    pytest.param(vqgan(32, [1, 2, 2, 3], 64, [8], 1, 32, 8, 64), 1, 40, 72,
                 id="f8, 40x72"),
    pytest.param(vqgan(32, [1, 2, 4], 32, [16, 8], 1, 16, 16, 512), 1, 32, 48,
                 id="f4, attention at two levels"),
    full("ImageNet f16-16384, 256x256", IMAGENET_F16, 1, 256, 256),
    full("ImageNet f16-16384, 192x320", IMAGENET_F16, 1, 192, 320),
])
def test_vqgan(case, config, batch, height, width, scale=1.0):
    c = case("vqgan", randomize(VQModel(**config), 12, scale))
    x = numbers(13, batch, 3, height, width).clamp(-1, 1)
    with torch.no_grad():
        given = c.model.run(x)
    inputs = {"x": x, "prequant": given["prequant"], "postquant": given["postquant"]}
    ours = c.run(inputs, "--taps")

    c.check_blocks(ours, lambda: c.model.run(x))
    check_indices(c, "indices", ours["indices"], given["indices"], given["prequant"])
    check_indices(c, "indices of the reference's latent", ours["given/indices"],
                  given["indices"], given["prequant"])
    c.check("preconv", ours["preconv"], given["preconv"])
    c.check("prequant", ours["prequant"], given["prequant"])
    entries = c.model.quantize.embedding.weight[ours["indices"]].permute(0, 3, 1, 2)
    assert torch.equal(ours["quantized"], entries)
    same = (ours["given/indices"] == given["indices"]).unsqueeze(1)
    c.check("postquant", torch.where(same, ours["given/postquant"], given["postquant"]),
            given["postquant"])
    c.check("image", ours["image"], given["image"])
    c.check_names(inputs)


def check_indices(c, quantity, ours, reference, prequant):
    """Equal, but where two entries are equally near within fp32's rounding of distances."""
    d = c.model.distances(prequant)
    chosen = d.gather(1, ours.reshape(-1, 1)) - d.gather(1, reference.reshape(-1, 1))
    tie = 1e-5 * d.gather(1, reference.reshape(-1, 1))
    assert ours.shape == reference.shape
    assert bool((chosen <= tie).all()), f"{c.name}: {quantity}: {int((chosen > tie).sum())}"
    c.observe(c.area, c.name, f"{quantity}: share that differs by a tie",
              (ours != reference).double().mean().item(), 0.01)
    assert (ours != reference).double().mean() <= 0.01


# ---- Epsilons -----------------------------------------------------------------------------


@pytest.mark.parametrize("network, arguments", [
    pytest.param(test_clip_text, ({**TINY_CLIP, "layer_norm_eps": 1e-4}, 2, 20, 0),
                 id="small activations, clip_text"),
    pytest.param(test_unet, ({**TINY_UNET, "attention_head_dim": 4}, 1, 16, 16),
                 id="small activations, unet"),
    pytest.param(test_vae, (TINY_VAE, 1, 32, 32), id="small activations, vae"),
    pytest.param(test_vqgan, (vqgan(32, [1, 2, 2, 3], 64, [8], 1, 32, 32, 128), 1, 64, 64),
                 id="small activations, vqgan"),
])
def test_epsilons_where_activations_are_small(case, network, arguments):
    network(case, *arguments, scale=0.03)


# ---- What must be refused ----------------------------------------------------------------------


def test_a_checkpoint_of_other_shapes_is_refused_by_name(case):
    c = case("vae", randomize(AutoencoderKL(**TINY_VAE), seed=14))
    tensors = load_file(str(c.weights))
    name = "decoder.up_blocks.1.resnets.0.conv1.weight"
    tensors[name] = tensors[name][:, :8].contiguous()
    save_file(tensors, str(c.weights))
    inputs = {"z": numbers(15, 1, 4, 8, 8)}
    done = subprocess.run(c.command(inputs, c.folder / "outputs"), text=True,
                          capture_output=True)
    assert done.returncode == 3 and name in done.stderr
    assert "found [32,8,3,3], expected [32,64,3,3]" in done.stderr, done.stderr
