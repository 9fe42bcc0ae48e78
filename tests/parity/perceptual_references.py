"""The lpips package and a CLIP image tower with seeded random weights, on disk as the
program reads them.

The lpips package imports torchvision, which has no CPU build, for one thing: the layers of
`vgg16().features`. A module with just those stands in while lpips is imported. Its learned
heads are not used: heads are drawn at random, non-negative as the learned ones are."""

import json
import sys
import types

import torch
from safetensors.torch import save_file

from references import randomize

VGG16 = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
NARROW = (6, 6, 8, 8, 12, 12, 12, 16, 16, 16, 16, 16, 16)
STAGES = (2, 2, 3, 3, 3)


def vgg_features(widths):
    """torchvision's layout: convolutions at 0, 2, 5, 7, 10, ... 28, ReLU after each."""
    layers, inputs, widths = [], 3, list(widths)
    for count in STAGES:
        for width in [widths.pop(0) for _ in range(count)]:
            layers += [torch.nn.Conv2d(inputs, width, 3, padding=1), torch.nn.ReLU()]
            inputs = width
        layers.append(torch.nn.MaxPool2d(2))
    return torch.nn.Sequential(*layers)


def import_lpips():
    if "lpips" not in sys.modules:
        models = types.ModuleType("torchvision.models")
        sys.modules["torchvision"] = types.ModuleType("torchvision")
        sys.modules["torchvision"].models = sys.modules["torchvision.models"] = models
        try:
            import lpips
        finally:
            del sys.modules["torchvision"], sys.modules["torchvision.models"]
        lpips.pretrained_networks.tv = models
    return sys.modules["lpips"]


def build_lpips(widths, seed):
    lpips = import_lpips()
    lpips.pretrained_networks.tv.vgg16 = lambda pretrained: types.SimpleNamespace(
        features=vgg_features(widths))
    model = lpips.LPIPS(net="vgg", pretrained=False, pnet_rand=True, verbose=False)
    taps = [widths[i] for i in (1, 3, 6, 9, 12)]
    model.lins = torch.nn.ModuleList(lpips.lpips.NetLinLayer(c, use_dropout=True)
                                     for c in taps)
    for i, lin in enumerate(model.lins):
        setattr(model, f"lin{i}", lin)
    randomize(model, seed)
    for lin in model.lins:
        lin.model[1].weight.data.abs_()
    return model


def vgg_state(model):
    slices = [getattr(model.net, f"slice{i}") for i in range(1, 6)]
    return {f"features.{name}.{kind}": getattr(layer, kind).contiguous()
            for part in slices for name, layer in part.named_children()
            if isinstance(layer, torch.nn.Conv2d) for kind in ("weight", "bias")}


def save_perceptual(folder, model, heads=True):
    folder.mkdir(parents=True, exist_ok=True)
    save_file(vgg_state(model), str(folder / "vgg16.safetensors"))
    if heads:
        save_file({f"lin{i}.model.1.weight": lin.model[1].weight.contiguous()
                   for i, lin in enumerate(model.lins)}, str(folder / "lpips.safetensors"))


def unit_maps(model, x):
    """lpips' normalised feature maps of x in [-1,1]."""
    lpips = import_lpips()
    return [lpips.normalize_tensor(f) for f in model.net(model.scaling_layer(x))]


def build_clip(config, whole=True, seed=21):
    """A CLIPModel, or with `whole` false a CLIPVisionModelWithProjection."""
    from transformers import (CLIPConfig, CLIPModel, CLIPVisionConfig,
                              CLIPVisionModelWithProjection)
    if not whole:
        return randomize(CLIPVisionModelWithProjection(CLIPVisionConfig(**config)), seed)
    text = {"vocab_size": 99, "hidden_size": 16, "intermediate_size": 16,
            "num_hidden_layers": 1, "num_attention_heads": 2, "bos_token_id": 97,
            "eos_token_id": 98, "pad_token_id": 98}
    model = CLIPModel(CLIPConfig(vision_config=config, text_config=text,
                                 projection_dim=config.get("projection_dim", 512)))
    randomize(model.visual_projection, seed + 1)
    randomize(model.vision_model, seed)
    return model.eval().requires_grad_(False)


def save_clip(folder, model, mean=None, std=None):
    model.save_pretrained(folder)
    if mean:
        (folder / "preprocessor_config.json").write_text(
            json.dumps({"image_mean": mean, "image_std": std}))


def embed(model, x):
    """Image embeddings, not of unit length, of pictures that are normalised already."""
    if hasattr(model, "text_model"):
        return model.visual_projection(model.vision_model(x).pooler_output)
    return model(x).image_embeds
