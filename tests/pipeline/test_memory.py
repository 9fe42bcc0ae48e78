"""Host memory: one diffuser at a time, and no growth with the number of cases."""

import json

from diffusers import UNet2DConditionModel

from ensembles import save_diffuser

MB = 1 << 20


def test_three_diffusers_need_no_more_than_one(diffens, tmp_path):
    """With weights of some 100 MB each, so that a second one in memory would show."""
    for seed, name in enumerate("abc"):
        save_diffuser(tmp_path / name, seed=seed)
        unet = UNet2DConditionModel(
            layers_per_block=1, block_out_channels=[256, 512, 512], cross_attention_dim=32,
            norm_num_groups=8, sample_size=16,
            down_block_types=["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
            up_block_types=["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"])
        unet.save_pretrained(tmp_path / name / "unet")
        weights = tmp_path / name / "unet/diffusion_pytorch_model.safetensors"
        assert weights.stat().st_size > 100 * MB
    (tmp_path / "ensemble.json").write_text(json.dumps({
        "name": "large", "diffusers": [{"name": n, "path": n, "prompt": "{}"} for n in "abc"],
        "vqgan": {"path": "none.safetensors", "size": [64, 64]}}))

    def peak(models):
        return diffens("generate", "--ensemble", tmp_path / "ensemble.json", "--models",
                       models, "--prompt", "x", "--steps", 1, "--size", "64x64", "--out",
                       tmp_path / f"run-{models}").peak
    one, three = peak("a"), peak("a,b,c")
    print(f"one diffuser {one / MB:.0f} MB, three {three / MB:.0f} MB")
    assert three <= 1.05 * one


def test_memory_does_not_grow_with_cases(diffens, tiny, tmp_path):
    def peak(cases):
        (tmp_path / "p.json").write_text(json.dumps(["a cat"] * cases))
        return diffens("blend", "--ensemble", tiny[0], "--prompts", tmp_path / "p.json",
                       "--steps", 1, "--size", "64x64", "--gamma", "0.5", "--out",
                       tmp_path / f"run-{cases}").peak
    few, many = peak(2), peak(64)
    print(f"2 cases {few / MB:.0f} MB, 64 cases {many / MB:.0f} MB")
    assert abs(many - few) <= 20 * MB
