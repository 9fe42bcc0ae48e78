"""--dry-run says what a run does, and does none of it."""

import json


def test_plan(diffens, tiny, tmp_path):
    command = ["blend", "--ensemble", tiny[0], "--prompt", "x", "--steps", 2, "--size", "64x64",
               "--gamma", "0,1", "--layer", "all", "--out", tmp_path / "run"]
    text = diffens(*command, "--dry-run", "--log", tmp_path / "log").stdout
    plan = json.loads(diffens(*command, "--dry-run", "--json").stdout)
    assert not list(tmp_path.iterdir())
    for words in ("diffuser a, ", "vqgan, ", "1 case x 2 models: 2 pictures of 64 x 64",
                  "1 case x 6 results: 6 pictures", "8 runs of a UNet", "KiB", "GiB free"):
        assert words in text
    assert all(len(line) < 80 for line in text.splitlines() if "directory" not in line)

    result = json.loads(diffens(*command, "--json").stdout)
    names = [path.rsplit("/run/", 1)[1] for path in plan["pictures"]]
    assert sorted(names) == sorted(str(p.relative_to(tmp_path / "run"))
                                   for p in (tmp_path / "run").rglob("*.png")
                                   if not p.name.startswith("figure"))
    assert result["state"] == "complete" and plan["unet_runs"] == 8
    assert [load["role"] for load in plan["loads"]] == ["diffuser", "diffuser", "vqgan"]

    assert "another run" in diffens(*command, "--dry-run", status=3).stderr
    diffens(*command, "--dry-run", "--force")
    again = diffens(*command, "--dry-run", "--resume").stdout
    assert "loads      nothing" in again and "8 of them are there already" in again
    (tmp_path / "run/images/000_b.png").unlink()
    again = json.loads(diffens(*command, "--dry-run", "--resume", "--json").stdout)
    assert again["reused"] == 7 and again["unet_runs"] == 4
    assert [load["name"] for load in again["loads"]] == ["b"]
    assert diffens(*command[:-1], tmp_path / "no/run", "--dry-run", status=4).stdout == ""
