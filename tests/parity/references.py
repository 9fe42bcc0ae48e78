"""The reference networks with seeded random weights, and what each of their blocks gives."""

import contextlib
import io
import json
import math

import torch
from safetensors.torch import save_file


def randomize(model, seed, scale=1.0):
    """Every parameter is drawn anew, norms and biases too: a forgotten bias or a norm that
    is not applied then shows. Scaled so that activations keep their size with depth; a
    small `scale` makes them small, and the epsilons of the norms show."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim == 1 and "norm" in name:
            value = 0.2 * noise + name.endswith("weight")
        elif parameter.ndim == 1:
            value = 0.2 * scale * noise
        elif "embedding" in name and "time_embedding" not in name:
            value = scale * noise
        else:
            value = scale * noise / math.sqrt(parameter[0].numel())
        parameter.data.copy_(value)
    return model.eval().requires_grad_(False)


class VQModel(torch.nn.Module):
    """taming-transformers' VQModel without Lightning and its losses: the modules, their
    names and the order of calls of taming/models/vqgan.py."""

    def __init__(self, ddconfig, n_embed, embed_dim):
        super().__init__()
        from taming.modules.diffusionmodules.model import Decoder, Encoder
        from taming.modules.vqvae.quantize import VectorQuantizer2

        with contextlib.redirect_stdout(io.StringIO()):
            self.encoder = Encoder(**ddconfig)
            self.decoder = Decoder(**ddconfig)
        self.quantize = VectorQuantizer2(n_embed, embed_dim, beta=0.25)
        self.quant_conv = torch.nn.Conv2d(ddconfig["z_channels"], embed_dim, 1)
        self.post_quant_conv = torch.nn.Conv2d(embed_dim, ddconfig["z_channels"], 1)

    def distances(self, z):
        """Of each position of z to each codebook entry, in f64: [B*h*w,K]"""
        flat = z.double().permute(0, 2, 3, 1).reshape(-1, z.shape[1])
        return torch.cdist(flat, self.quantize.embedding.weight.double()).square()

    def run(self, x):
        preconv = self.encoder(x)
        prequant = self.quant_conv(preconv)
        postquant, _, (_, _, indices) = self.quantize(prequant)
        b, _, h, w = prequant.shape
        return {"preconv": preconv, "prequant": prequant, "postquant": postquant,
                "indices": indices.view(b, h, w),
                "image": self.decoder(self.post_quant_conv(postquant))}

    def save_pretrained(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        save_file(self.state_dict(), str(folder / "model.safetensors"))
        (folder / "config.json").write_text(json.dumps({}))


def last_layer(unet, x, t, text, features):
    """A UNet2DConditionModel but for its deep levels: conv_in, then the last layer on features
    that these made before, and the output."""
    block = unet.up_blocks[-1]
    temb = unet.time_embedding(unet.time_proj(torch.as_tensor(t).expand(len(x))).to(x.dtype))
    h = block.resnets[-1](torch.cat([features, unet.conv_in(x)], 1), temb)
    if hasattr(block, "attentions"):
        h = block.attentions[-1](h, encoder_hidden_states=text).sample
    return unet.conv_out(unet.conv_act(unet.conv_norm_out(h)))


@contextlib.contextmanager
def blocks_of(model, names):
    """While it is open, the list it gives collects (name, output) of the modules in `names`
    as they finish. Outputs that are tuples or records stand for their first tensor."""
    seen, handles = [], []

    def hook(name):
        def record(module, arguments, output):
            first = output if isinstance(output, torch.Tensor) else output[0]
            seen.append((name, first.detach().clone()))
        return record

    for name, module in model.named_modules():
        if name in names:
            handles.append(module.register_forward_hook(hook(name)))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
