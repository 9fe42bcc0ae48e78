"""The KL autoencoder that the three diffusers share: 8 times smaller, 4 channels.

Its encoder starts as a linear map from each 8 x 8 block to the whitened mean colour and one
luminance gradient, written into AutoencoderKL's layers: from there it needs a fraction of
the time that random weights take. The decoder starts as the interpolation of that and learns
alone at first; then both learn; at last the encoder stands still again, so that the latents
are final and the UNets can be trained while the decoder goes on.
"""

import functools

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from diffusers import AutoencoderKL

import data
import training
from data import work

HAND_WEIGHTS = (0.34, 0.36, 0.3)
ENCODER_LEARNS = (0.7, 0.92)
ENCODER_RATE = 0.1  # of the decoder's: the constants above amplify every step
LUMINANCE = (0.299, 0.587, 0.114)
# Channels: +RGB, -RGB, +gradient, -gradient. Since silu(a) - silu(-a) = a, a pair passes
# an activation unchanged; large constants in the same group disarm its normalisation.
CARRIED = 8
ENCODER_CONSTANT, DECODER_CONSTANT = 40.0, 8.0


def build(**config):
    return AutoencoderKL(
        block_out_channels=(16, 32, 64, 128), layers_per_block=1, norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4, sample_size=128, **config)


def block_statistics(x):
    """(N, 4, H/8, W/8): mean colour of each block, and its luminance top minus bottom."""
    colour = F.avg_pool2d(x, 8)
    luminance = (x * torch.tensor(LUMINANCE)[:, None, None]).sum(1, keepdim=True)
    halves = F.avg_pool2d(luminance, (4, 8))
    return torch.cat([colour, (halves[:, :, 0::2] - halves[:, :, 1::2]) / 2], 1)


@functools.cache
def whitening(count=200):
    """(matrix, offset) that whiten the colours of blocks and scale the gradient."""
    path = work() / "latents.pt"
    if not path.exists():
        pictures = data.load("train").pictures[:count].reshape(-1, 128, 128, 3)
        x = block_statistics(training.to_input(pictures)).double()
        x = x.permute(0, 2, 3, 1).reshape(-1, 4)
        values, vectors = torch.linalg.eigh(torch.cov(x[:, :3].T))
        matrix = torch.zeros(4, 4, dtype=torch.float64)
        matrix[:3, :3] = (vectors / values.sqrt()).T
        matrix[3, 3] = 1 / x[:, 3].std()
        offset = -(matrix @ x.mean(0))
        torch.save({"matrix": matrix.float(), "offset": offset.float()}, path)
    state = torch.load(path, weights_only=True)
    return state["matrix"], state["offset"]


@torch.no_grad()
def blank(*convolutions):
    for convolution in convolutions:
        convolution.weight.zero_()
        convolution.bias.zero_()


def quiet_branches(network):
    """Every residual branch begins at zero."""
    for name, module in network.named_modules():
        if name.endswith(("conv2", "to_out.0")):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)


@torch.no_grad()
def pass_through(convolution, channels=CARRIED):
    """The first channels pass unchanged."""
    convolution.weight[:channels] = 0
    convolution.bias[:channels] = 0
    middle = convolution.kernel_size[0] // 2
    for i in range(channels):
        convolution.weight[i, i, middle, middle] = 1


@torch.no_grad()
def set_encoder(model):
    encoder = model.encoder
    quiet_branches(encoder)
    blank(encoder.conv_in, encoder.conv_out, model.quant_conv)
    for i in range(3):
        encoder.conv_in.weight[i, i, 1, 1] = 1
        encoder.conv_in.weight[3 + i, i, 1, 1] = -1
    downsamplers = [block.downsamplers[0].conv for block in encoder.down_blocks[:-1]]
    shortcuts = [block.resnets[0].conv_shortcut for block in encoder.down_blocks[1:]]
    blank(*downsamplers, *shortcuts)
    for i in range(CARRIED - 2):
        for convolution in downsamplers:
            convolution.weight[i, i, :2, :2] = 0.25
    for i, weight in enumerate(LUMINANCE):
        for channel, sign in ((6, 1), (7, -1)):
            downsamplers[-1].weight[channel, i, 0, :2] = sign * weight / 4
            downsamplers[-1].weight[channel, i, 1, :2] = -sign * weight / 4
    for shortcut in shortcuts:
        pass_through(shortcut)
    width = encoder.conv_norm_out.num_channels // encoder.conv_norm_out.num_groups
    constants = torch.full((width - CARRIED,), ENCODER_CONSTANT)
    constants[::2] *= -1
    shortcuts[-1].bias[CARRIED:width] = constants
    deviation = (constants.square().sum() / width).sqrt()
    encoder.conv_norm_out.weight[:CARRIED] = deviation
    encoder.conv_norm_out.bias[:CARRIED] = 0
    for output, plus, minus in ((0, 0, 3), (1, 1, 4), (2, 2, 5), (3, 6, 7)):
        encoder.conv_out.weight[output, plus, 1, 1] = 1
        encoder.conv_out.weight[output, minus, 1, 1] = -1
    matrix, offset = whitening()
    model.quant_conv.weight[:4, :4, 0, 0] = matrix
    model.quant_conv.bias[:4] = offset
    model.quant_conv.bias[4:] = -14  # log-variance


@torch.no_grad()
def start_decoder(model):
    """Nearest-neighbour enlargement of the mean colours, all else random or zero."""
    decoder = model.decoder
    quiet_branches(decoder)
    matrix, offset = whitening()
    inverse = torch.linalg.inv(matrix)
    model.post_quant_conv.weight.copy_(inverse[:, :, None, None])
    model.post_quant_conv.bias.copy_(-inverse @ offset)
    # Groups of four at the end: +RGB with a constant, -RGB with a constant.
    decoder.conv_in.weight[:CARRIED] = 0
    decoder.conv_in.bias[:CARRIED] = 0
    for i in range(3):
        decoder.conv_in.weight[i, i, 1, 1] = 1
        decoder.conv_in.weight[4 + i, i, 1, 1] = -1
    decoder.conv_in.bias[3] = decoder.conv_in.bias[7] = DECODER_CONSTANT
    for block in decoder.up_blocks:
        if block.upsamplers:
            pass_through(block.upsamplers[0].conv)
        if block.resnets[0].conv_shortcut is not None:
            pass_through(block.resnets[0].conv_shortcut)
    # Of a group (r, g, b, K) with small r, g, b: mean K / 4, deviation K * sqrt(3) / 4.
    decoder.conv_norm_out.weight[:CARRIED] = DECODER_CONSTANT * 3 ** 0.5 / 4
    decoder.conv_norm_out.bias[:CARRIED] = DECODER_CONSTANT / 4
    decoder.conv_out.weight.mul_(0.1)
    decoder.conv_out.weight[:, :CARRIED] = 0
    decoder.conv_out.bias.zero_()
    for i in range(3):
        decoder.conv_out.weight[i, i, 1, 1] = 1
        decoder.conv_out.weight[i, 4 + i, 1, 1] = -1


def reconstruction_loss(y, x):
    mse = F.mse_loss(y, x)
    return (y - x).abs().mean() + 4 * mse + 0.5 * training.gradient_loss(y, x), mse


def batch(part, seed, run):
    """Small crops first; whole pictures later, whose normalisation statistics differ."""
    rng = np.random.default_rng([seed, run.step])
    count, side = (8, 64) if run.progress < 0.4 else (4, 128)
    return training.sample_crops(part, rng, count, side, HAND_WEIGHTS)


def train(minutes=78, seed=1):
    torch.manual_seed(seed)
    part = data.load("train")
    model = build()
    set_encoder(model)
    start_decoder(model)
    average = training.Average(model, 0.99)
    decoding = nn.ModuleList([model.decoder, model.post_quant_conv])
    encoding = nn.ModuleList([model.encoder, model.quant_conv])
    optimizer = torch.optim.AdamW(
        [{"params": list(decoding.parameters()), "share": 1.0},
         {"params": list(encoding.parameters()), "share": ENCODER_RATE}],
        betas=(0.9, 0.99), weight_decay=1e-4)
    run = training.Run("vae", {"model": model, "average": average}, optimizer, 8e-4,
                       minutes, flat=0.6)
    encoding.requires_grad_(False)
    learns = False
    for _ in run:
        if learns != (ENCODER_LEARNS[0] <= run.progress < ENCODER_LEARNS[1]):
            learns = not learns
            encoding.requires_grad_(learns)
            if not learns:  # the latents are final
                model.encoder.load_state_dict(average.module.encoder.state_dict())
                model.quant_conv.load_state_dict(average.module.quant_conv.state_dict())
                run.save()
        x = batch(part, seed, run)
        y = model.decode(model.encode(x).latent_dist.mode()).sample
        loss, mse = reconstruction_loss(y, x)
        run.update(loss, model, mse=mse)
        average.update(model)
    return reconstruct()


def load(**config):
    model = build(**config)
    model.load_state_dict(training.load_state("vae")["average"]["module"])
    return model.eval().requires_grad_(False)


@torch.no_grad()
def reconstruct(count=96, model=None):
    """PSNR per hand on held-out pictures."""
    model, part = model or load(), data.load("heldout")
    result = []
    for hand in range(3):
        pictures = part.pictures[:count, hand]
        output = [training.to_pictures(model.decode(
            model.encode(training.to_input(pictures[i:i + 4])).latent_dist.mode()).sample)
            for i in range(0, count, 4)]
        result.append(training.psnr(np.concatenate(output), pictures))
    print("vae PSNR", [round(v, 2) for v in result])
    return result
