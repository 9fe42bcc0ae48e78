"""Every tensor operation of a tiny run fails once, and every place in it is one where it is asked
to stop: an error, nothing left behind."""

import subprocess


def test_every_operation_may_fail(driver, tiny):
    folder = tiny[0].parent
    result = subprocess.run(
        [driver("inject_driver"), folder / "a", folder / "vqgan/model.safetensors"],
        capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    loads, samples, stops, blends = map(int, result.stdout.split())
    print(f"operations made to fail: {loads} loading, {samples} sampling, {blends} blending; "
          f"{stops} stops")
    assert loads > 200 and samples > 500 and stops > 100 and blends > 200
