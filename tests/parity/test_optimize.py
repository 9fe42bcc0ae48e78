"""Optimisation against a plain PyTorch reference on transformers' CLIP, taming's decoder
and the lpips package: same weights, windows and start, the losses of the first epochs.

Both sides compute in double precision, but for the cases that say fp32: Adam's first steps
are nearly the gradient's signs, so that where a gradient is nearly 0 rounding decides the
way, and trajectories of equal programs part at the order of 1e-3 within 20 epochs."""

import math
import subprocess

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from perceptual_references import (NARROW, VGG16, build_clip, build_lpips, embed,
                                   save_clip, save_perceptual, unit_maps)
from references import VQModel, randomize

TOLERANCE = 1e-3  # of each loss
EPOCHS = 20

TINY_CLIP = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
             "num_attention_heads": 4, "image_size": 32, "patch_size": 8,
             "projection_dim": 16}
TINY_VQGAN = {"ddconfig": {"double_z": False, "z_channels": 16, "resolution": 64, "ch": 32,
                           "in_channels": 3, "out_ch": 3, "ch_mult": [1, 1, 2, 2],
                           "num_res_blocks": 1, "attn_resolutions": [8], "dropout": 0.0},
              "n_embed": 64, "embed_dim": 8}
FULL_VQGAN = {"ddconfig": {"double_z": False, "z_channels": 256, "resolution": 256,
                           "ch": 128, "in_channels": 3, "out_ch": 3,
                           "ch_mult": [1, 1, 2, 2, 4], "num_res_blocks": 2,
                           "attn_resolutions": [16], "dropout": 0.0},
              "n_embed": 16384, "embed_dim": 256}
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(1, 3, 1, 1)
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(1, 3, 1, 1)


def settings(**given):
    return {"layer": "prequant", "distance": "spherical", "pairing": "aligned",
            "perceptual": "lpips", "seed": "noise", "rate": 0.35, "decay_every": 100,
            "clip_weight": 1, "perceptual_weight": 0.1, "pool": 64, "dtype": "f64",
            "crops": "1x1,4x0.5,6x0.25", **given}


class Inward(torch.autograd.Function):
    """Clamp to [0,1]; backward only what leads back in (optimize.h)."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(0, 1)

    @staticmethod
    def backward(ctx, gradient):
        x, = ctx.saved_tensors
        leads_out = ((x < 0) & (gradient > 0)) | ((x > 1) & (gradient < 0))
        return gradient.masked_fill(leads_out, 0)


class Setup:
    """Three networks and the parents, on disk and in memory."""

    def __init__(self, folder, driver, full=False, parents=2, size=32):
        torch.set_num_threads(2 if full else 1)
        self.folder, self.program, self.full = folder, driver("optimize_driver"), full
        size = 256 if full else size
        self.vqgan = randomize(VQModel(**(FULL_VQGAN if full else TINY_VQGAN)), seed=41)
        # Pictures of a contrast that reaches both ends of [0,1].
        self.vqgan.decoder.conv_out.weight.data.mul_(0.4)
        self.clip = build_clip({"projection_dim": 512} if full else TINY_CLIP)
        self.lpips = build_lpips(VGG16 if full else NARROW, seed=43)
        self.vqgan.save_pretrained(folder / "vqgan")
        save_clip(folder / "clip", self.clip)
        save_perceptual(folder / "lpips", self.lpips)
        generator = torch.Generator().manual_seed(44)
        coarse = torch.rand(parents, 3, 9, 9, generator=generator)
        smooth = F.interpolate(coarse, size=(size, size + 16 * (not full)), mode="bicubic")
        self.parents = (smooth * 255).clamp(0, 255).round().byte()

    def run(self, t, *more, check=True, name="outputs"):
        save_file({"parents": self.parents.permute(0, 2, 3, 1).contiguous()},
                  str(self.folder / "inputs"))
        arguments = ["threads=2"] if self.full else []
        arguments += [f"{key}={value}" for key, value in t.items()] + list(more)
        done = subprocess.run(
            [self.program, "optimize", self.folder / "vqgan" / "model.safetensors",
             self.folder / "clip", self.folder / "lpips", self.folder / "inputs",
             self.folder / name, *arguments], capture_output=True, text=True)
        if check:
            assert done.returncode == 0, done.stderr
            return load_file(str(self.folder / name))
        return done


@pytest.fixture
def setup(tmp_path, driver):
    return lambda **options: Setup(tmp_path, driver, **options)


def clip_distance(kind, a, b):
    if kind == "mse":
        return (a - b).square().mean(-1)
    a, b = F.normalize(a, dim=-1), F.normalize(b, dim=-1)
    if kind == "cosine":
        return 1 - F.cosine_similarity(a, b, dim=-1)
    return (a - b).norm(dim=-1).div(2).arcsin().pow(2).mul(2)


class Reference:
    """The definitions of optimize.h, written plainly: parents are embedded anew in
    every epoch, crops are cut and resized one by one."""

    def __init__(self, setup, t, ours):
        dtype = torch.float64 if t["dtype"] == "f64" else torch.float32
        self.vqgan, self.clip, self.lpips = (
            model.to(dtype) for model in (setup.vqgan, setup.clip, setup.lpips))
        self.t, self.pool, self.windows = t, ours["pool"], ours["windows"]
        self.parents = setup.parents.to(dtype) / 255
        count = len(self.parents)
        self.shares = [float(s) for s in t["shares"].split(",")] if "shares" in t \
            else [1 / count] * count
        self.groups = [int(part.split("x")[0]) for part in t["crops"].split(",")]
        self.z = ours["start"].to(dtype).requires_grad_(True)
        self.lpips.lpips = t["perceptual"] == "lpips"
        self.adam = torch.optim.Adam([self.z], lr=t["rate"])

    def quantize(self, z):
        """Forward the nearest code, backward the identity."""
        if self.t["layer"] == "postquant":
            return z
        if self.t["layer"] == "preconv":
            z = self.vqgan.quant_conv(z)
        return z + (self.vqgan.quantize(z)[0] - z).detach()

    def picture(self, z):
        x = self.vqgan.decoder(self.vqgan.post_quant_conv(self.quantize(z)))
        return Inward.apply((x + 1) / 2)

    def crops(self, x, epoch):
        side = self.clip.config.vision_config.image_size
        cut = []
        for i in self.windows[epoch].tolist():
            top, left, size = self.pool[i].tolist()
            window = x[:, :, top:top + size, left:left + size]
            cut.append(F.interpolate(window, size=(side, side), mode="bicubic",
                                     antialias=True))
        return (torch.cat(cut) - MEAN) / STD

    def clip_loss(self, a, b):
        kind = self.t["distance"]
        if self.t["pairing"] == "aligned":
            d = clip_distance(kind, a, b)
            return torch.stack([part.mean() for part in d.split(self.groups)]).mean()
        d = clip_distance(kind, a[:, None], b[None])
        rows = [part.split(self.groups, dim=1) for part in d.split(self.groups)]
        return torch.stack([block.mean() for row in rows for block in row]).mean()

    def losses(self, epoch):
        x = self.picture(self.z)
        a = embed(self.clip, self.crops(x, epoch))
        clip, perceptual = [], []
        for parent in self.parents:
            with torch.no_grad():
                b = embed(self.clip, self.crops(parent[None], epoch))
            clip.append(self.clip_loss(a, b))
            perceptual.append(self.lpips(2 * x - 1, 2 * parent[None] - 1).sum())
        x = F.pad(x, (0, 1, 0, 1), "replicate")  # tv_loss of CLIP-guided diffusion
        across, down = x[..., :-1, 1:] - x[..., :-1, :-1], x[..., 1:, :-1] - x[..., :-1, :-1]
        variation = (across ** 2 + down ** 2).mean([1, 2, 3]).sum()
        total = sum(c * (self.t["clip_weight"] * k + self.t["perceptual_weight"] * p)
                    for c, k, p in zip(self.shares, clip, perceptual))
        return total + self.t.get("tv_weight", 0) * variation, clip, perceptual

    def run(self, epochs):
        codebook, rows = self.vqgan.quantize.embedding.weight, []
        low, high = codebook.amin(0).view(1, -1, 1, 1), codebook.amax(0).view(1, -1, 1, 1)
        for epoch in range(epochs):
            total, clip, perceptual = self.losses(epoch)
            rows.append([v.item() for v in (total, *clip, *perceptual)])
            self.adam.param_groups[0]["lr"] = self.t["rate"] * 0.9 ** math.floor(
                epoch / self.t["decay_every"])
            self.adam.zero_grad()
            total.backward()
            self.adam.step()
            if self.t["layer"] != "preconv":
                with torch.no_grad():
                    self.z.copy_(self.z.clamp(low, high))
        return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize("given, full", [
    pytest.param({}, False, id="defaults"),
    pytest.param({"dtype": "f32"}, False, id="defaults, fp32"),
    pytest.param({"layer": "preconv"}, False, id="preconv"),
    pytest.param({"layer": "postquant", "seed": "input"}, False, id="postquant from input"),
    pytest.param({"distance": "cosine", "seed": "gaussian"}, False,
                 id="cosine from gaussian"),
    pytest.param({"distance": "mse", "pairing": "all"}, False, id="mse, all pairs"),
    pytest.param({"pairing": "all", "shares": "0.25,0.75"}, False,
                 id="spherical, all pairs, unequal shares"),
    pytest.param({"perceptual": "l2", "perceptual_weight": 1}, False, id="l2"),
    pytest.param({"decay_every": 3, "seed": "input", "rate": 0.05}, False, id="decay"),
    pytest.param({"crop_batch": 4}, False, id="crops in batches of 4"),
    pytest.param({"tv_weight": 2}, False, id="total variation"),
    pytest.param({"crops": "1x1,8x0.25,16x0.125", "pool": 50, "dtype": "f32"}, True,
                 id="full size, fp32", marks=pytest.mark.full),
])
def test_losses_of_the_first_epochs(setup, observe, request, given, full):
    t = settings(**given)
    epochs = 5 if full else EPOCHS
    s = setup(full=full)
    ours = s.run(t, f"epochs={epochs}")
    reference = Reference(s, t, ours).run(epochs)
    found = ours["losses"]
    assert found.shape == reference.shape
    assert len(set(found[:, 0].tolist())) == epochs, "the candidate does not move"
    for quantity, column in (("total", [0]), ("clip", [1, 2]), ("perceptual", [3, 4])):
        error = ((found - reference).abs() / reference.abs())[:, column].max().item()
        observe("optimize", request.node.callspec.id, f"{quantity}, {epochs} epochs", error,
                TOLERANCE)
        assert error <= TOLERANCE, f"{quantity}: {found[:, column]} {reference[:, column]}"


def test_stopping_and_going_on_gives_the_same_bytes(setup):
    s, t = setup(), settings(epochs=30)
    whole = s.run(t)
    state = s.folder / "state"
    first = s.run(t, "until=13", f"save={state}", name="first")
    rest = s.run(t, f"restore={state}", name="rest")
    assert torch.equal(torch.cat([first["losses"], rest["losses"]]), whole["losses"])
    assert torch.equal(rest["end"], whole["end"])
    assert torch.equal(rest["picture"], whole["picture"])


def test_an_epoch_that_is_broken_off_leaves_no_trace(setup):
    s, t = setup(), settings(epochs=12)
    whole, broken = s.run(t), s.run(t, "stops=1")
    assert torch.equal(broken["losses"], whole["losses"])
    assert torch.equal(broken["end"], whole["end"])


def relative(found, expected):
    return ((found - expected).abs() / expected.abs()).max().item()


@pytest.mark.parametrize("given", [{}, {"pairing": "all"}, {"augment": 31}],
                         ids=["aligned", "all pairs", "augmented"])
def test_crops_in_chunks_equal_one_batch(setup, observe, request, given):
    """Sums in another order: nothing else. In f64, over epochs that amplify rounding."""
    s, t = setup(), settings(epochs=8, **given)
    whole = s.run(t)["losses"]
    for size in (1, 4):
        error = relative(s.run(t, f"crop_batch={size}")["losses"], whole)
        observe("optimize", request.node.callspec.id, f"chunks of {size}", error, 1e-9)
        assert error <= 1e-9


@pytest.mark.parametrize("given, limit", [
    ({}, 1e-9), ({"augment": 31, "crop_batch": 7, "tv_weight": 1, "average": 0.9}, 1e-9),
    ({"layer": "preconv", "pairing": "all"}, 1e-9), ({"dtype": "f32"}, 1e-3)],
    ids=["defaults", "everything else", "preconv, all pairs", "fp32"])
def test_cases_together_equal_one_at_a_time(setup, observe, request, given, limit):
    """Kernels may round otherwise in a larger batch: nothing else."""
    s, t = setup(parents=6), settings(epochs=6, **given)
    together, parents = s.run(t, "together=3"), s.parents
    for g in range(3):
        s.parents = parents[2 * g:2 * g + 2]
        alone = s.run(t, f"random_seed={42 + g}")
        error = relative(together["losses"][:, g], alone["losses"])
        observe("optimize", request.node.callspec.id, f"case {g} of 3 together", error, limit)
        assert error <= limit


@pytest.mark.parametrize("more", [[], ["poison_kept=1"]], ids=["survived", "given up"])
def test_a_case_that_breaks_leaves_the_others_alone(setup, more):
    s, t = setup(parents=6), settings(epochs=15)
    whole, broken = s.run(t, "together=3"), s.run(t, "together=3", "poison=5", *more)
    assert torch.isnan(broken["losses"][5:9, 1, 0]).all()
    for g in (0, 2):  # once it has left, the batch is smaller and may round otherwise
        assert torch.equal(broken["losses"][:9, g], whole["losses"][:9, g])
        assert relative(broken["losses"][:, g], whole["losses"][:, g]) < 1e-9
    last = broken["losses"][-1, 1, 0]
    assert last == 0 if more else torch.isfinite(last) and last > 0


def test_augmentations_change_losses_epoch_by_epoch(setup):
    s = setup()
    plain = s.run(settings(epochs=2))["losses"][:, 0]
    for kind in (1, 2, 4, 8, 16):
        changed = s.run(settings(epochs=2, augment=kind))["losses"][:, 0]
        assert (changed != plain).all(), kind
        assert ((changed / plain - 1).abs() < 0.5).all(), kind


def test_the_average_counts_each_step_for_a_part_of_the_next(setup):
    s = setup()
    ends = [s.run(settings(epochs=n, average=0.8)) for n in (1, 2, 3)]
    z1, z2, z3 = (e["end"] for e in ends)
    assert torch.equal(ends[0]["shown"], z1)
    weights = torch.tensor([0.64, 0.8, 1], dtype=torch.float64)
    expected = sum(w * z for w, z in zip(weights / weights.sum(), (z1, z2, z3)))
    assert torch.allclose(ends[2]["shown"], expected, rtol=1e-12, atol=1e-12)
    assert torch.equal(s.run(settings(epochs=3))["end"], z3), "the way itself is the same"
    assert (ends[2]["picture"] != s.run(settings(epochs=3))["picture"]).any()


def test_an_average_is_saved_with_the_rest(setup):
    s, t = setup(), settings(epochs=6, average=0.9)
    whole, state = s.run(t), s.folder / "state"
    s.run(t, "until=3", f"save={state}", name="first")
    rest = s.run(t, f"restore={state}", name="rest")
    assert torch.equal(rest["shown"], whole["shown"])


def flip(path):
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(bytes(data))


def test_a_damaged_state_is_passed_over(setup):
    s, t = setup(), settings(epochs=12)
    state, previous = s.folder / "state", s.folder / "state.previous"
    whole = s.run(t)
    s.run(t, "until=3", f"save={state}")
    s.run(t, "until=6", f"restore={state}", f"save={state}")
    assert previous.is_file()
    flip(state)
    assert torch.equal(s.run(t, f"restore={state}")["end"], whole["end"])
    flip(previous)
    done = s.run(t, f"restore={state}", check=False)
    assert done.returncode == 3 and "damaged" in done.stderr, done.stderr


def test_numbers_that_break_are_survived_once(setup):
    s, t = setup(), settings(epochs=30)
    ours = s.run(t, "poison=10")
    losses, rates = ours["losses"][:, 0], ours["rates"]
    assert torch.isnan(losses[10:14]).all() and (rates[10:14] == 0).all()
    assert torch.isfinite(losses[:10]).all() and torch.isfinite(losses[14:]).all()
    assert torch.equal(rates[:10], torch.full((10,), 0.35, dtype=torch.float64))
    assert torch.equal(rates[14:], torch.full((16,), 0.175, dtype=torch.float64))

    done = s.run(t, "poison=10", "poison_kept=1", check=False)
    assert done.returncode == 6 and "epoch 17: the losses" in done.stderr, done.stderr


def test_the_report_holds_the_losses_of_the_pictures_it_names(setup):
    s, t = setup(), settings(epochs=4, seed="input", rate=0.1)
    report = s.run(t, "report=1")["report"]
    assert report.shape == (6, 5)  # latest, best, average, blend, two reconstructions
    weights = torch.tensor([0.5, 0.5, 0.05, 0.05], dtype=torch.float64)
    assert torch.allclose(report[:, 0], report[:, 1:] @ weights)
    assert torch.isfinite(report).all() and (report > 0).all()
    # The perceptual part does not depend on windows.
    pictures = 2 * s.parents.double() / 255 - 1
    with torch.no_grad():
        reference = s.lpips.double()(pictures.mean(0, keepdim=True).expand_as(pictures),
                                     pictures).flatten()
    assert torch.allclose(report[2, 3:], reference, rtol=1e-5)


@pytest.mark.parametrize("given, message", [
    ({"crops": "8x0.25,16x"}, 'found "16x"'), ({"crops": "0x1"}, 'found "0x1"'),
    ({"crops": "1x1.5"}, 'found "1x1.5"'), ({"crops": "1xnan"}, 'found "1xnan"'),
    ({"crops": "1x0x1"}, 'found "1x0x1"'), ({"crops": ""}, 'found ""'),
    ({"crops": "1x1,"}, 'found ""'), ({"crops": "1x1e-1"}, 'found "1x1e-1"'),
    ({"crops": "1x0.001"}, "at least one pixel"),
    ({"clip_weight": 0, "perceptual_weight": 0}, "out of its range"),
    ({"shares": "1,2,3"}, "found 3, expected one for each of 2 parents"),
])
def test_settings_that_cannot_be_are_refused(setup, given, message):
    done = setup().run(settings(epochs=1, **given), check=False)
    assert done.returncode == 2 and message in done.stderr, done.stderr


@pytest.mark.parametrize("layer", ["preconv", "prequant", "postquant"])
@pytest.mark.parametrize("given", [
    {"distance": "spherical"}, {"distance": "cosine"}, {"distance": "mse"},
    {"pairing": "all"}, {"distance": "mse", "pairing": "all"}, {"perceptual": "l2"},
    {"clip_weight": 0}, {"perceptual_weight": 0}, {"crop_batch": 3}, {"seed": "input"},
    {"augment": 15}, {"augment": 16}, {"tv_weight": 3},
], ids=lambda given: ", ".join(map(str, given.values())) if len(given) > 1 else
    " ".join(f"{k} {v}" for k, v in given.items()))
def test_gradient_against_central_differences(setup, observe, request, layer, given):
    """In double precision; the differentiated function is the straight-through surrogate
    (head of optimize_driver.c). The decoded picture stays inside (0,1), where the clamp is
    the identity: what it does outside is no derivative, and is tested in tests/tc."""
    s = setup()
    s.vqgan.decoder.conv_out.weight.data.mul_(0.4)
    s.vqgan.decoder.conv_out.bias.data.zero_()
    s.vqgan.save_pretrained(s.folder / "vqgan")
    ours = s.run(settings(layer=layer, perceptual_weight=1) | given, "gradient=6")
    assert 0 < ours["decoded"].min() < 0.4 and 0.6 < ours["decoded"].max() < 1
    by_gradient, by_differences = ours["slopes"].T
    error = ((by_gradient - by_differences).abs() / by_differences.abs()).max().item()
    observe("gradient", request.node.callspec.id, "slopes in 6 directions", error, 1e-3)
    assert by_differences.abs().min() > 1e-6 and error <= 1e-3, ours["slopes"]
