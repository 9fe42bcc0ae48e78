"""The VQGAN, with taming-transformers' encoder, decoder and key names.

As in the autoencoder, the encoder is set by hand: each 8 x 8 block becomes the colours of
its four quarters, the codebook is their k-means, and the decoder is trained, for the
reconstruction alone, without a discriminator.
"""

import numpy as np
import torch
import torch.nn.functional as F
from taming.modules.diffusionmodules.model import Decoder, Encoder

import data
import hands
import training
from data import work

# taming normalises in 32 groups, here of two channels where the networks end; how values
# survive that is told at `read_out`. It needs whole pictures: training uses no crops.
CONFIG = dict(ch=32, out_ch=3, ch_mult=(2, 1, 2, 2), num_res_blocks=1,
              attn_resolutions=(16,), dropout=0.0, in_channels=3, resolution=128,
              z_channels=16, double_z=False)
CODES, WIDTH, FEATURES = 1024, 16, 12
PATTERN, BATCH = 12.0, 2
HAND_WEIGHTS = (0.33, 0.37, 0.3)


class Quantize(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(CODES, WIDTH)

    def forward(self, z):
        """Nearest entry per position: (quantised map, indices)."""
        flat = z.permute(0, 2, 3, 1).reshape(-1, WIDTH)
        index = nearest(flat, self.embedding.weight)
        shape = z.shape[0], z.shape[2], z.shape[3], WIDTH
        return self.embedding(index).view(shape).permute(0, 3, 1, 2), index


class VQModel(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = Encoder(**CONFIG), Decoder(**CONFIG)
        self.quantize = Quantize()
        self.quant_conv = torch.nn.Conv2d(CONFIG["z_channels"], WIDTH, 1)
        self.post_quant_conv = torch.nn.Conv2d(WIDTH, CONFIG["z_channels"], 1)

    def encode(self, x):
        return self.quant_conv(self.encoder(x))

    def decode(self, z):
        return self.decoder(self.post_quant_conv(z))


def nearest(vectors, entries):
    distance = (entries ** 2).sum(1) - 2 * vectors @ entries.T
    return distance.argmin(1)


def quarters(x):
    """(N, 16, H/8, W/8): RGB of the four quarters of each block, then zeros."""
    small = F.avg_pool2d(x, 4)
    parts = [small[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)]
    return F.pad(torch.cat(parts, 1), (0, 0, 0, 0, 0, WIDTH - FEATURES))


@torch.no_grad()
def blank(*layers):
    for layer in layers:
        layer.weight.zero_()
        layer.bias.zero_()


def quiet_branches(network):
    """Every residual branch begins at zero."""
    for name, module in network.named_modules():
        if name.endswith(("conv2", "proj_out")):
            blank(module)


def carried(count):
    """Channels (x, P, -x, -P) of every carried value, then of the pattern (P, -P)."""
    plus, minus = range(0, 2 * count, 2), range(2 * count, 4 * count, 2)
    return [(i, i + 1, j, j + 1) for i, j in zip(plus, minus)], (4 * count, 4 * count + 1)


@torch.no_grad()
def lay_pattern(convolution, source, count, counts):
    """Writes the pattern P that zero padding makes of the constant channel `source`.

    `counts` is how many taps lie inside the picture at each place; P has zero mean and
    deviation PATTERN.
    """
    scale, mean = PATTERN / counts.std(correction=0), counts.mean()
    values, (plus, minus) = carried(count)
    signs = [(v[1], 1) for v in values] + [(v[3], -1) for v in values]
    for channel, sign in (*signs, (plus, 1), (minus, -1)):
        convolution.weight[channel, source] = sign * scale
        convolution.bias[channel] = -sign * scale * mean


@torch.no_grad()
def read_out(norm, convolution, count):
    """Recovers `count` carried values behind the last normalisation and activation.

    A group holds x and the strong fixed pattern P, so its deviation is known; its mean,
    half of x's, is lost from both and read off P. silu(a) - silu(-a) = a, and of P and
    -P one is far above zero at any place.
    """
    values, (plus, minus) = carried(count)
    norm.weight[:4 * count] = PATTERN / 2 ** 0.5
    norm.weight[[plus, minus]] = PATTERN
    norm.bias[:4 * count + 2] = 0
    middle = convolution.kernel_size[0] // 2
    for i, channels in enumerate(values):
        for channel, sign in zip((*channels, plus, minus), (1, -1, -1, 1, 1, -1)):
            convolution.weight[i, channel, middle, middle] = sign


@torch.no_grad()
def set_encoder(model):
    encoder = model.encoder
    quiet_branches(encoder)
    shortcuts = [level.block[0].nin_shortcut for level in encoder.down[:3]]
    downsamplers = [level.downsample.conv for level in encoder.down[:3]]
    blank(encoder.conv_in, encoder.conv_out, model.quant_conv, *shortcuts, *downsamplers)
    for i in range(3):
        encoder.conv_in.weight[i, i, 1, 1] = 1
        for shortcut in shortcuts:
            shortcut.weight[i, i] = 1
        for downsampler in downsamplers[:2]:
            downsampler.weight[i, i, :2, :2] = 0.25
    shortcuts[2].bias[3] = 1
    values, _ = carried(FEATURES)
    for i in range(FEATURES):
        row, column = divmod(i // 3, 2)
        downsamplers[2].weight[values[i][0], i % 3, row, column] = 1
        downsamplers[2].weight[values[i][2], i % 3, row, column] = -1
    ones = F.pad(torch.ones(1, 1, 32, 32), (0, 1, 0, 1))
    lay_pattern(downsamplers[2], 3, FEATURES,
                F.conv2d(ones, torch.ones(1, 1, 3, 3), stride=2))
    read_out(encoder.norm_out, encoder.conv_out, FEATURES)
    for i in range(WIDTH):
        model.quant_conv.weight[i, i] = 1


def freeze(parameter, *index):
    """Keeps a slice of a parameter as it is."""
    def clear(gradient):
        gradient = gradient.clone()
        gradient[index] = 0
        return gradient
    parameter.register_hook(clear)


@torch.no_grad()
def start_decoder(model):
    """Mean colours, enlarged; all else random or zero."""
    decoder = model.decoder
    quiet_branches(decoder)
    values, (plus, last) = carried(3)
    pattern = [c for v in values for c in (v[1], v[3])] + [plus, last]
    through = [*(level.upsample.conv for level in decoder.up[1:]),
               *(level.block[0].nin_shortcut for level in decoder.up[:2])]
    for layer in (decoder.conv_in, *through):
        layer.weight[:last + 1] = 0
        layer.bias[:last + 1] = 0
    for layer in through:
        middle = layer.kernel_size[0] // 2
        layer.weight[:, pattern] = 0
        for i in range(last + 1):
            layer.weight[i, i, middle, middle] = 1
    for i, channels in enumerate(values):
        decoder.conv_in.weight[channels[0], i:FEATURES:3, 1, 1] = 0.25
        decoder.conv_in.weight[channels[2], i:FEATURES:3, 1, 1] = -0.25
    # The first unused feature serves as the constant.
    model.post_quant_conv.weight.copy_(torch.eye(WIDTH)[:, :, None, None])
    blank_row = FEATURES
    model.post_quant_conv.weight[blank_row] = 0
    model.post_quant_conv.bias.zero_()
    model.post_quant_conv.bias[blank_row] = 1
    ones = torch.ones(1, 1, 16, 16)
    lay_pattern(decoder.conv_in, blank_row, 3,
                F.conv2d(ones, torch.ones(1, 1, 3, 3), padding=1))
    decoder.conv_out.weight.mul_(0.1)
    decoder.conv_out.weight[:, :last + 1] = 0
    decoder.conv_out.bias.zero_()
    read_out(decoder.norm_out, decoder.conv_out, 3)
    # The pattern is strong: a small step on a weight that touches it shows everywhere.
    for layer in (decoder.conv_in, *through):
        freeze(layer.weight, pattern)
        freeze(layer.bias, pattern)
    for block in [b for level in decoder.up for b in level.block] + [
            decoder.mid.block_1, decoder.mid.block_2]:
        freeze(block.conv2.weight, pattern)
        freeze(block.conv2.bias, pattern)
    for attention in (decoder.mid.attn_1, *decoder.up[3].attn):
        freeze(attention.proj_out.weight, pattern)
        freeze(attention.proj_out.bias, pattern)
    freeze(decoder.conv_out.weight, slice(None), pattern)
    freeze(decoder.norm_out.weight, pattern)
    freeze(decoder.norm_out.bias, pattern)
    freeze(model.post_quant_conv.weight, blank_row)
    freeze(model.post_quant_conv.bias, blank_row)


@torch.no_grad()
def set_codebook(embedding, rounds=25, pictures=400):
    """k-means of the blocks of drawings; empty clusters restart at random blocks."""
    part = data.load("train")
    x = torch.cat([quarters(training.to_input(part.pictures[i:i + 20].reshape(
        -1, hands.SIZE, hands.SIZE, 3))) for i in range(0, pictures, 20)])
    vectors = x.permute(0, 2, 3, 1).reshape(-1, WIDTH)
    vectors = vectors[torch.randperm(len(vectors))[:100_000]]
    entries = vectors[:CODES].clone()
    for _ in range(rounds):
        index = nearest(vectors, entries)
        counts = torch.bincount(index, minlength=CODES)
        sums = torch.zeros_like(entries).index_add_(0, index, vectors)
        empty = counts == 0
        entries = sums / counts.clamp(min=1)[:, None]
        entries[empty] = vectors[torch.randint(len(vectors), (int(empty.sum()),))]
    embedding.weight.copy_(entries)


def train(minutes=47, seed=3):
    torch.manual_seed(seed)
    part = data.load("train")
    model = VQModel()
    set_encoder(model)
    start_decoder(model)
    if not (work() / "vqgan.pt").exists():
        set_codebook(model.quantize.embedding)
    average = training.Average(model, 0.995)
    frozen = torch.nn.ModuleList([model.encoder, model.quant_conv, model.quantize])
    frozen.requires_grad_(False)
    learning = torch.nn.ModuleList([model.decoder, model.post_quant_conv])
    optimizer = torch.optim.AdamW(learning.parameters(), betas=(0.9, 0.99), weight_decay=0)
    run = training.Run("vqgan", {"model": model, "average": average}, optimizer, 3e-4,
                       minutes, flat=0.3)
    for step in run:
        rng = np.random.default_rng([seed, step])
        x = training.sample_crops(part, rng, BATCH, hands.SIZE, HAND_WEIGHTS)
        q, _ = model.quantize(quarters(x))
        y = model.decode(q)
        mse = F.mse_loss(y, x)
        loss = (y - x).abs().mean() + 4 * mse + 0.5 * training.gradient_loss(y, x)
        run.update(loss, learning, mse=mse)
        average.update(model)
    return reconstruct()


def load():
    model = VQModel()
    model.load_state_dict(training.load_state("vqgan")["average"]["module"])
    return model.eval().requires_grad_(False)


@torch.no_grad()
def reconstruct(count=96, model=None):
    """PSNR per hand on held-out pictures, and the share of the codebook they use."""
    model, part = model or load(), data.load("heldout")
    result, used = [], set()
    for hand in range(3):
        pictures, output = part.pictures[:count, hand], []
        for i in range(0, count, 4):
            q, index = model.quantize(model.encode(training.to_input(pictures[i:i + 4])))
            used.update(index.tolist())
            output.append(training.to_pictures(model.decode(q)))
        result.append(training.psnr(np.concatenate(output), pictures))
    print("vqgan PSNR", [round(v, 2) for v in result], "codes", len(used) / CODES)
    return result, len(used) / CODES
