"""--dry-run says what a run does, and does none of it."""

import json

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ensembles import TINY_CLIP, reference_picture
from killing import save_parents
from perceptual_references import build_clip


def test_plan(diffens, tiny, tmp_path):
    command = ["blend", "--ensemble", tiny[0], "--prompt", "x", "--steps", 2, "--size", "64x64",
               "--gamma", "0,1", "--layer", "all", "--out", tmp_path / "run"]
    text = diffens(*command, "--dry-run", "--log", tmp_path / "log").stdout
    plan = json.loads(diffens(*command, "--dry-run", "--json").stdout)
    assert not list(tmp_path.iterdir())
    for words in ("diffuser a, ", "vqgan, ", "1 case x 2 models: 2 pictures of 64 x 64",
                  "1 case x 6 results: 6 pictures", "12 runs of a UNet", " kB", " GB free",
                  "images.npy, figure.png, report.html, run.json"):
        assert words in text
    assert all(len(line) < 80 for line in text.splitlines() if "directory" not in line)

    result = json.loads(diffens(*command, "--json").stdout)
    names = [path.rsplit("/run/", 1)[1] for path in plan["pictures"]]
    assert sorted(names) == sorted(str(p.relative_to(tmp_path / "run"))
                                   for p in (tmp_path / "run").rglob("*.png")
                                   if not p.name.startswith("figure"))
    assert result["state"] == "complete" and plan["unet_runs"] == 12
    assert [load["role"] for load in plan["loads"]] == ["diffuser", "diffuser", "vqgan"]

    assert "another run" in diffens(*command, "--dry-run", status=3).stderr
    diffens(*command, "--dry-run", "--force")
    again = diffens(*command, "--dry-run", "--resume").stdout
    assert "loads      nothing" in again and "8 of them are there already" in again
    (tmp_path / "run/images/000_b.png").unlink()
    again = json.loads(diffens(*command, "--dry-run", "--resume", "--json").stdout)
    assert again["reused"] == 7 and again["unet_runs"] == 6
    assert [load["name"] for load in again["loads"]] == ["b"]
    assert diffens(*command[:-1], tmp_path / "no/run", "--dry-run", status=4).stdout == ""


def counted(run):
    """A FlopCounterMode that has watched run(), attention in steps that it knows."""
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        run()
    return counter


def test_operations_of_drawing(diffens, tiny, tmp_path):
    """As many as the references need, but that they make keys and values of the text anew in
    every step."""
    plan = json.loads(diffens("generate", "--ensemble", tiny[0], "--models", "a,b", "--prompt",
                              "x", "--steps", 3, "--size", "64x96", "--dry-run", "--json",
                              "--out", tmp_path / "run").stdout)
    expected = 0
    for name in "ab":
        counter = counted(lambda: reference_picture(tiny[0].parent / name, "x", 1, 3, (64, 96)))
        texts = sum(sum(count.values()) for module, count in counter.get_flop_counts().items()
                    if module.endswith(("attn2.to_k", "attn2.to_v")))
        evaluations = 4   # of PNDM
        expected += counter.get_total_flops() - texts * (evaluations - 1) / evaluations
    # the references embed the time once more for the negative half
    assert plan["operations"] == pytest.approx(expected, rel=2e-3)
    assert plan["seconds"] is None


def test_operations_of_mixing(diffens, tiny, tmp_path):
    plan = json.loads(diffens("blend", "--ensemble", tiny[0], "--prompt", "x", "--steps", 1,
                              "--size", "64x64", "--gamma", "0,0.5,1", "--dry-run", "--json",
                              "--out", tmp_path / "run").stdout)
    drawn = json.loads(diffens("generate", "--ensemble", tiny[0], "--models", "a,b", "--prompt",
                               "x", "--steps", 1, "--size", "64x64", "--dry-run", "--json",
                               "--out", tmp_path / "run").stdout)
    vqgan = tiny[1]
    encoded = counted(lambda: vqgan.encoder(torch.zeros(1, 3, 64, 64))).get_total_flops()
    z = torch.zeros(1, 16, 8, 8)
    through = counted(lambda: vqgan.quantize(vqgan.quant_conv(z))).get_total_flops()
    decoded = counted(lambda: vqgan.decoder(vqgan.post_quant_conv(z))).get_total_flops()
    assert plan["operations"] - drawn["operations"] == pytest.approx(
        2 * encoded + 5 * through + 3 * decoded, rel=1e-3)


def test_operations_of_optimizing(diffens, critical, tmp_path):
    """In proportion to the epochs, to the cases, and to the windows of CLIP."""
    def operations(*options):
        plan = diffens("optimize", "--ensemble", critical, "--images",
                       save_parents(tmp_path / "p.npy", 2), "--dry-run", "--json", "--out",
                       tmp_path / "run", *options)
        return json.loads(plan.stdout)["operations"]
    clip = ["--perceptual-weight", 0, "--crops"]
    one, two, three = (operations("--epochs", n) for n in (10, 20, 30))
    assert three - two == pytest.approx(two - one)
    each = [operations("--epochs", n, *clip, crops) for crops in ("4x0.5", "8x0.5")
            for n in (10, 20)]
    few, many = each[1] - each[0], each[3] - each[2]
    network = build_clip(TINY_CLIP)
    windows = counted(lambda: network.get_image_features(torch.zeros(8, 3, 32, 32))).get_total_flops()
    # of the last layer the program computes the class token alone, of 17
    windows -= 8 * (2 * 16 * (2 * 32 * 32 + 2 * 32 * 48) + 4 * 16 * 17 * 32)
    # 4 windows more for each of 2 cases, forward and backward, in 10 epochs
    assert many - few == pytest.approx(10 * 2 * windows, rel=1e-3)


def test_measure(diffens, tiny, tmp_path):
    command = ["blend", "--ensemble", tiny[0], "--prompt", "x", "--size", "64x64", "--out",
               tmp_path / "run"]
    plan = json.loads(diffens(*command, "--dry-run", "--measure", "--json").stdout)
    assert 0 < plan["seconds"] < 3600 and plan["draw_bytes"] > 0 and plan["mix_bytes"] > 0
    assert "s of computing on this machine" in diffens(*command, "--dry-run", "--measure").stdout
    assert not list(tmp_path.iterdir())
    assert "without --dry-run" in diffens(*command, "--measure", status=2).stderr
