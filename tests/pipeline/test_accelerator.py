"""Whole commands on the test device (tests/device): the same pictures as on the CPU, nothing
left behind, no waiting inside a step, and what happens when memory runs out or the device
breaks."""

import json
import os
import subprocess
import types

import numpy
import pytest
import safetensors.numpy

DEVICE = ["--device", "privateuseone"]


@pytest.fixture
def on_device(driver, tmp_path):
    """on_device("generate", ..., BYTES=N) runs the program on the test device; settings are
    TEST_DEVICE_* variables, `counts` is what the device counted."""
    def run(*arguments, status=0, **settings):
        report = tmp_path / "report.json"
        environment = {f"TEST_DEVICE_{key}": str(value) for key, value in settings.items()}
        result = subprocess.run(
            [driver("diffens-on-test-device"), *map(str, arguments), *DEVICE],
            env=os.environ | environment | {"TEST_DEVICE_REPORT": str(report)},
            stdin=subprocess.DEVNULL, capture_output=True, text=True)
        assert result.returncode == status, result.stderr
        return types.SimpleNamespace(stdout=result.stdout, stderr=result.stderr,
                                     **json.loads(report.read_text()))
    return run


def generate(ensemble, out, *arguments, models="a", prompt="a cat", steps=1):
    return ["generate", "--ensemble", ensemble, "--models", models, "--prompt", prompt,
            "--steps", steps, "--size", "64x64", "--dtype", "fp32", "--out", out, *arguments]


def tensor(run):
    return numpy.load(run / "images.npy").astype(int)


def losses(run):
    rows = (run / "optimize/000_losses.csv").read_text().splitlines()[1:]
    return numpy.array([[float(x) for x in row.split(",")] for row in rows])


def test_it_draws_and_blends_as_the_cpu(diffens, on_device, tiny, tmp_path):
    arguments = ["blend", "--ensemble", tiny[0], "--prompt", "a cat", "--steps", 3, "--size",
                 "64x64", "--dtype", "fp32"]
    diffens(*arguments, "--out", tmp_path / "cpu")
    assert on_device(*arguments, "--out", tmp_path / "device").live == 0
    assert numpy.abs(tensor(tmp_path / "cpu") - tensor(tmp_path / "device")).max() <= 1


def test_it_optimizes_as_the_cpu_and_waits_once_an_epoch(diffens, on_device, critical,
                                                         tmp_path):
    numpy.save(tmp_path / "parents.npy",
               numpy.random.default_rng(1).integers(0, 256, (1, 2, 64, 64, 3), numpy.uint8))

    def arguments(epochs, out):
        return ["optimize", "--ensemble", critical, "--images", tmp_path / "parents.npy",
                "--epochs", epochs, "--save-every", 0, "--out", tmp_path / out]
    diffens(*arguments(6, "cpu"))
    few, many = on_device(*arguments(2, "few")), on_device(*arguments(6, "many"))
    numpy.testing.assert_allclose(losses(tmp_path / "many"), losses(tmp_path / "cpu"),
                                  rtol=1e-3)
    assert many.to_host - few.to_host <= 4 and many.waits - few.waits <= 4
    assert many.live == 0


@pytest.mark.parametrize("scheduler", ["pndm", "dpm++2m", "unipc", "heun", "euler-a"])
def test_no_step_waits(on_device, tiny, tmp_path, scheduler):
    few, many = [on_device(*generate(tiny[0], tmp_path / str(steps), "--scheduler", scheduler,
                                     steps=steps)) for steps in (2, 5)]
    assert many.kernels > few.kernels
    assert many.to_host == few.to_host and many.waits == few.waits
    noise = 3 if scheduler == "euler-a" else 0  # comes from the CPU's generator
    assert many.to_device - few.to_device == noise


def test_models_leave_nothing_behind(on_device, tiny, tmp_path, pytestconfig):
    """A hundred of them with --full."""
    folder, count = tiny[0].parent, 100 if pytestconfig.getoption("--full") else 20
    (tmp_path / "ensemble.json").write_text(json.dumps({
        "name": "many", "vqgan": {"path": "none.safetensors", "size": [64, 64]},
        "diffusers": [{"name": f"m{i}", "path": str(folder / "ab"[i % 2]), "prompt": "{}"}
                      for i in range(count)]}))

    def peak(models):
        run = on_device(*generate(tmp_path / "ensemble.json", tmp_path / f"run{len(models)}",
                                  "--batch", 1, models=",".join(models)))
        assert run.live_at_empty_cache == [0] * len(models)
        return run.peak
    largest = max(peak(["m0"]), peak(["m0", "m1"]))
    assert peak([f"m{i}" for i in range(count)]) == largest


def test_parts_leave_when_they_have_done_their_work(on_device, tiny, tmp_path):
    """The text encoder before the UNet comes, unless its prompts would take more memory than
    it does, and the UNet before the last pictures are decoded; pictures are the same."""
    def weights(part):
        path, = (tiny[0].parent / "a" / part).glob("*.safetensors")
        return safetensors.numpy.load_file(path)

    def draw(name, count):
        prompts = tmp_path / f"{name}.json"
        prompts.write_text(json.dumps([f"cat {n // 2}" for n in range(count)]))
        command = generate(tiny[0], tmp_path / name, "--batch", 1, "--prompts", prompts)
        at = command.index("--prompt")
        return on_device(*command[:at], *command[at + 2:])
    each = 77 * weights("text_encoder")["final_layer_norm.weight"].nbytes
    encoder = sum(w.nbytes for w in weights("text_encoder").values())
    decoder = sum(w.nbytes for key, w in weights("vae").items() if key.startswith("decoder."))
    one, few, some, many = (draw(name, count) for name, count in (
        ("one", 1), ("few", 2), ("some", 8), ("many", 2 * (encoder // each))))
    assert few.peak - one.peak > decoder
    assert some.peak - few.peak == 3 * each  # of four texts in eight cases
    assert many.peak - few.peak == encoder
    for more, fewer in (("few", "one"), ("some", "few"), ("many", "some")):
        count = len(tensor(tmp_path / fewer))
        assert (tensor(tmp_path / more)[:count] == tensor(tmp_path / fewer)).all()


@pytest.fixture
def any_failure(driver, tmp_path, pytestconfig):
    """any_failure(command, points): [(status, run)] with one allocation failing, here and
    there or with --full everywhere; tmp_path / "all-is-well" is the run without."""
    def run(command, points):
        points = 0 if pytestconfig.getoption("--full") else points
        result = subprocess.run([driver("memory_driver"), str(points), *map(str, command),
                                 *DEVICE], cwd=tmp_path, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        rows = [line.split() for line in result.stdout.splitlines() if line.count(" ") == 2]
        assert len(rows) >= points
        assert {status for _, status, _ in rows} <= {"0", "5"}, result.stderr
        return [(int(status), tmp_path / folder) for _, status, folder in rows]
    return run


def test_any_allocation_of_generate_may_fail(any_failure, tiny, tmp_path):
    rows = any_failure(generate(tiny[0], "unused")[:-2], 50)
    for status, run in rows:
        if status == 0:
            assert numpy.abs(tensor(run) - tensor(tmp_path / "all-is-well")).max() <= 1
    assert [status for status, _ in rows].count(0) >= len(rows) - 1


def test_any_allocation_of_optimize_may_fail(any_failure, critical, tmp_path):
    """But for those of the steps themselves, after which the state would be another."""
    numpy.save(tmp_path / "parents.npy",
               numpy.random.default_rng(1).integers(0, 256, (1, 2, 64, 64, 3), numpy.uint8))
    rows = any_failure(["optimize", "--ensemble", critical, "--images",
                        tmp_path / "parents.npy", "--epochs", 2, "--crops", "1x1,2x0.5"], 20)
    for status, run in rows:
        if status == 0:
            numpy.testing.assert_allclose(losses(run), losses(tmp_path / "all-is-well"),
                                          rtol=1e-3)
    assert [status for status, _ in rows].count(0) >= len(rows) * 0.8


def test_less_and_less_memory(on_device, tiny, tmp_path):
    """Batches, slices, one part at a time; in the end a line that says what is missing."""
    prompts = tmp_path / "p.json"
    prompts.write_text(json.dumps(["a cat", "a hill", "the sea"]))

    def arguments(out):
        command = generate(tiny[0], tmp_path / out, "--batch", 3, "--prompts", prompts)
        at = command.index("--prompt")
        return command[:at] + command[at + 2:]
    plenty = on_device(*arguments("plenty"))
    batch = on_device(*arguments("batch"), BYTES=plenty.peak - 1)
    assert "batches of 1" in batch.stderr
    parts = on_device(*arguments("parts"), BYTES=batch.peak * 4 // 5)
    assert "in slices" in parts.stderr and "one part of a at a time" in parts.stderr
    for out in ("batch", "parts"):
        assert numpy.abs(tensor(tmp_path / out) - tensor(tmp_path / "plenty")).max() <= 1
    nothing = on_device(*arguments("nothing"), BYTES=2 << 20, status=5)
    assert "out of memory" in nothing.stderr and "MB free of 2" in nothing.stderr
    assert "--dtype fp16" in nothing.stderr


def test_optimize_encodes_fewer_crops_in_less_memory(on_device, critical, tmp_path):
    numpy.save(tmp_path / "parents.npy",
               numpy.random.default_rng(1).integers(0, 256, (1, 2, 64, 64, 3), numpy.uint8))

    def arguments(out, *more):
        return ["optimize", "--ensemble", critical, "--images", tmp_path / "parents.npy",
                "--crops", "1x1,199x0.5", "--epochs", 2, "--save-every", 0, *more,
                "--out", tmp_path / out]
    plenty = on_device(*arguments("plenty"))
    few = on_device(*arguments("few", "--crop-batch", 10))
    between = (plenty.peak + few.peak) // 2
    assert few.peak < between < plenty.peak
    scarce = on_device(*arguments("scarce"), BYTES=between)
    assert few.peak <= scarce.peak <= between and scarce.live == 0
    numpy.testing.assert_allclose(losses(tmp_path / "scarce"), losses(tmp_path / "plenty"),
                                  rtol=1e-3)


def test_pictures_stay_when_memory_ends(on_device, tiny, tmp_path):
    """The first model's pictures are there, although the second never got its memory."""
    command = generate(tiny[0], tmp_path / "run", models="a,b")
    alone = on_device(*generate(tiny[0], tmp_path / "alone"))
    result = on_device(*command, FAIL_FROM=alone.allocations + 10, status=5)
    assert "out of memory" in result.stderr and result.live == 0
    assert (tmp_path / "run/images/000_a.png").read_bytes() == (
        tmp_path / "alone/images/000_a.png").read_bytes()


def test_a_library_that_finds_no_memory_says_so_in_its_own_words(on_device, tiny, tmp_path):
    well = on_device(*generate(tiny[0], tmp_path / "well"))
    result = on_device(*generate(tiny[0], tmp_path / "run"),
                       NO_ENGINE_AT=well.kernels // 2)
    assert len(result.live_at_empty_cache) > len(well.live_at_empty_cache)
    numpy.testing.assert_array_equal(tensor(tmp_path / "run"), tensor(tmp_path / "well"))


def test_what_is_not_deterministic_is_refused(on_device, critical, tmp_path):
    """The gradient of a warped crop, on CUDA."""
    command = ["optimize", "--ensemble", critical, "--epochs", 1, "--augment", "affine",
               "--out", tmp_path / "run"]
    on_device(*command)
    result = on_device(*command, "--deterministic", "--force", status=7)
    assert "found no deterministic way to compute it on privateuseone" in result.stderr


def test_a_driver_that_is_too_old_is_named(on_device, tiny, tmp_path):
    result = on_device(*generate(tiny[0], tmp_path / "run"), NONE=1, status=7)
    assert "expected cpu, the only device that libtorch finds here: The driver on your " \
        "system is too old (found version 1)" in result.stderr
    assert "Warning" not in result.stderr
    assert not (tmp_path / "run").exists()


def test_a_broken_device_is_left_alone(on_device, tiny, tmp_path):
    well = on_device(*generate(tiny[0], tmp_path / "well"))
    result = on_device(*generate(tiny[0], tmp_path / "run"), BREAK_AT=well.kernels // 2,
                       status=7)
    assert "illegal memory access" in result.stderr
    assert result.calls_after_break == 0
