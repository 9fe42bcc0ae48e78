"""scripts/fetch-models against a replica of the servers: what it picks, what it puts where,
and what it does when they break off, lie or refuse."""

import hashlib
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from ensembles import TINY_CLIP, save_diffuser, save_vqgan
from hub import COMMIT, Hub, Server
from perceptual_references import NARROW, build_clip, build_lpips, save_clip, save_perceptual

ROOT = pathlib.Path(__file__).resolve().parents[2]
SD15 = "stable-diffusion-v1-5/stable-diffusion-v1-5"
CLIP = "openai/clip-vit-base-patch32"
UNET = "unet/diffusion_pytorch_model.safetensors"


def noise(seed, size):
    return random.Random(seed).randbytes(size)


def diffuser(seed, weights):
    small = {name: f"{name} {seed}".encode() for name in (
        "model_index.json", "scheduler/scheduler_config.json", "tokenizer/vocab.json",
        "tokenizer/merges.txt", "text_encoder/config.json", "unet/config.json",
        "vae/config.json", "README.md", "safety_checker/config.json")}
    return small | {name: noise(seed + name, 30000) for name in weights}


class World:
    def __init__(self, folder):
        self.folder = folder
        self.store, self.plain = Server(), Server()
        self.hub = Hub(self.store)
        self.hub.add(SD15, diffuser("sd", [
            "text_encoder/model.safetensors", UNET, "vae/diffusion_pytorch_model.safetensors",
            "unet/diffusion_pytorch_model.fp16.safetensors",
            "unet/diffusion_pytorch_model.bin", "v1-5-pruned.ckpt"]))
        self.hub.add("prompthero/openjourney", diffuser("oj", [
            "text_encoder/pytorch_model.bin", "unet/diffusion_pytorch_model.bin",
            "vae/diffusion_pytorch_model.bin"]))
        shards = [f"unet/diffusion_pytorch_model-0000{i}-of-00002.safetensors" for i in (1, 2)]
        self.hub.add("nitrosocke/Ghibli-Diffusion", diffuser("gh", [
            "text_encoder/model.safetensors", "vae/diffusion_pytorch_model.safetensors",
            "unet/diffusion_pytorch_model.safetensors.index.json", *shards]))
        self.hub.add(CLIP, {"config.json": b"{}", "preprocessor_config.json": b"{ }",
                            "pytorch_model.bin": noise("clip", 5000)})
        self.plain.files |= {
            "/taming/files/?p=/ckpts/last.ckpt&dl=1": noise("ckpt", 9000),
            "/vgg/vgg16-397923af.pth": noise("vgg", 4000), "/lpips/vgg.pth": noise("heads", 700)}

    def run(self, *arguments, status=0, token=None, **settings):
        process = subprocess.run(self.command(*arguments), env=self.environment(token),
                                 capture_output=True, text=True, timeout=300, **settings)
        assert process.returncode == status, process.stderr
        return process

    def command(self, *arguments):
        return [sys.executable, ROOT / "scripts/fetch-models", *arguments, "--to",
                self.folder, "--retry-wait", "0.01"]

    def environment(self, token=None):
        clean = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()}
        clean.pop("HF_TOKEN", None)
        return clean | {"HF_ENDPOINT": self.hub.url + "/",
                        "DIFFENS_TAMING_URL": f"{self.plain.url}/taming",
                        "DIFFENS_VGG_URL": f"{self.plain.url}/vgg",
                        "DIFFENS_LPIPS_URL": f"{self.plain.url}/lpips",
                        **({"HF_TOKEN": token} if token else {})}

    def file(self, name):
        return self.hub.repositories[SD15][name]

    def stored(self, name):
        """Where the store keeps a file."""
        return "/" + hashlib.sha256(self.file(name)).hexdigest()

    def close(self):
        for server in (self.hub, self.store, self.plain):
            server.close()


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path / "paper")
    yield world
    world.close()


def below(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_layout_and_checksums(world):
    world.run("paper", "--only", "sd15,openjourney,ghibli,clip,vqgan")
    names = below(world.folder)
    assert [n for n in names if n.startswith("sd15/unet")] == ["sd15/unet/config.json",
                                                               f"sd15/{UNET}"]
    assert "openjourney/text_encoder/pytorch_model.bin" in names
    assert len([n for n in names if n.startswith("ghibli/unet")]) == 4
    assert {"clip/pytorch_model.bin", "ensemble.json"} <= set(names)
    assert [n for n in names if n.startswith("vqgan")] == ["vqgan/last.ckpt"]
    assert not [n for n in names if "safety" in n or "README" in n or "partial" in n]
    assert (world.folder / "sd15" / UNET).read_bytes() == world.file(UNET)
    sums = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=world.folder,
                          capture_output=True, text=True)
    assert sums.returncode == 0 and sums.stdout.count(": OK") == len(names) - 3  # lock, sums
    for diffuser in json.loads((world.folder / "ensemble.json").read_text())["diffusers"]:
        assert (world.folder / diffuser["path"] / "model_index.json").exists()


def test_half_precision_where_there_is_some(world):
    world.run("paper", "--only", "sd15", "--fp16")
    assert "sd15/unet/diffusion_pytorch_model.fp16.safetensors" in below(world.folder)
    assert "sd15/vae/diffusion_pytorch_model.safetensors" in below(world.folder)


def files_of(folder):
    return {name: (folder / name).read_bytes() for name in below(folder)}


def as_pickles(folder):
    """Every .safetensors as the .bin that older repositories hold."""
    for path in folder.rglob("*.safetensors"):
        stem = "pytorch_model" if path.stem == "model" else path.stem
        torch.save(load_file(path), path.with_name(stem + ".bin"))
        path.unlink()


def fill_with_networks(world, folder):
    """Tiny networks in the place of the published ones, as the reference packages save
    them; returns the hashes of the files whose own are pinned."""
    for i, repository in enumerate((SD15, "prompthero/openjourney",
                                    "nitrosocke/Ghibli-Diffusion")):
        save_diffuser(folder / str(i), seed=100 * i)
        if i == 1:
            as_pickles(folder / str(i))
        world.hub.add(repository, files_of(folder / str(i)))
    save_clip(folder / "clip", build_clip(TINY_CLIP), mean=[0.5, 0.45, 0.4],
              std=[0.27, 0.26, 0.28])
    as_pickles(folder / "clip")
    world.hub.add(CLIP, files_of(folder / "clip"))
    vqgan = save_vqgan(folder / "vqgan").state_dict()
    torch.save({"epoch": 12, "global_step": 470000, "state_dict": vqgan |
                {"loss.discriminator.main.0.bias": torch.zeros(64)}}, folder / "last.ckpt")
    save_perceptual(folder / "lpips", build_lpips(NARROW, seed=43))
    vgg = load_file(folder / "lpips/vgg16.safetensors")
    torch.save(vgg | {"classifier.0.bias": torch.zeros(8)}, folder / "vgg16.pth")
    torch.save(load_file(folder / "lpips/lpips.safetensors"), folder / "vgg.pth")
    places = {"/taming/files/?p=/ckpts/last.ckpt&dl=1": "last.ckpt",
              "/vgg/vgg16-397923af.pth": "vgg16.pth", "/lpips/vgg.pth": "vgg.pth"}
    world.plain.files |= {p: (folder / name).read_bytes() for p, name in places.items()}
    return {pin: hashlib.sha256((folder / name).read_bytes()).hexdigest()
            for pin, name in (("VGG_SHA256", "vgg16.pth"), ("HEADS_SHA256", "vgg.pth"))}


# fetch-models with other hashes pinned, which it lets no user do.
PINNED = """import json, os, runpy, sys
sys.argv, pins = sys.argv[2:], json.loads(sys.argv[1])
sys.path.insert(0, os.path.dirname(sys.argv[0]) + "/fetch")
import sources
for name in pins:
    assert getattr(sources, name)
    setattr(sources, name, pins[name])
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_what_is_fetched_loads(world, build, tmp_path):
    pins = fill_with_networks(world, tmp_path / "published")
    python, *command = world.command("paper")
    command[0] = str(command[0])
    fetched = subprocess.run([python, "-c", PINNED, json.dumps(pins), *command], text=True,
                             env=world.environment(), capture_output=True, timeout=300)
    assert fetched.returncode == 0, fetched.stderr
    assert f"{world.folder}: complete" in fetched.stdout
    checked = subprocess.run([build / "diffens", "models", "check", world.folder, "--json"],
                             text=True, capture_output=True, timeout=300)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    found = json.loads(checked.stdout)
    assert found["complete"] and not found["problems"]
    sums = (world.folder / "SHA256SUMS").read_text().splitlines()
    assert found["checksums"] == len(sums) == len(below(world.folder)) - 3
    drawn = subprocess.run([build / "diffens", "optimize", "--ensemble", world.folder /
                            "ensemble.json", "--size", "64x64", "--vq-size", "64x64",
                            "--steps", "1", "--epochs", "1", "--crops", "1x1", "--device",
                            "cpu", "-q", "--out", tmp_path / "run"], text=True,
                           capture_output=True, timeout=300)
    assert drawn.returncode == 0, drawn.stderr


def test_a_second_run_fetches_nothing(world):
    world.run("paper", "--only", "sd15")
    world.store.seen.clear()
    assert "0 files to fetch" in world.run("paper", "--only", "sd15").stdout
    assert "0 files to fetch" in world.run("paper", "--only", "sd15", "--verify").stdout
    assert not world.store.seen
    spoilt = bytearray(world.file(UNET))
    spoilt[100] ^= 1
    (world.folder / "sd15" / UNET).write_bytes(spoilt)
    world.run("paper", "--only", "sd15", "--verify")
    assert (world.folder / "sd15" / UNET).read_bytes() == world.file(UNET)


def test_dry_run_and_list_write_nothing(world):
    plan = world.run("paper", "--dry-run", "--only", "sd15,vqgan").stdout
    assert UNET in plan and "free" in plan and "to fetch" in plan
    assert world.hub.url in world.run("--list").stdout
    assert not world.folder.exists() and not world.store.seen


def test_a_cut_connection_is_gone_on_from(world):
    world.store.cuts[world.stored(UNET)] = 2
    world.run("paper", "--only", "sd15")
    assert (world.folder / "sd15" / UNET).read_bytes() == world.file(UNET)
    ranges = [h.get("Range") for h in world.store.requests(world.stored(UNET))]
    assert ranges == [None, "bytes=15000-", "bytes=22500-"]


def test_a_cut_connection_without_ranges_starts_over(world):
    world.store.cuts[world.stored(UNET)] = 1
    world.store.ranges = False
    world.run("paper", "--only", "sd15")
    assert (world.folder / "sd15" / UNET).read_bytes() == world.file(UNET)


def test_a_cut_is_noticed_without_a_length(world):
    world.store.cuts[world.stored(UNET)] = 1
    world.store.lengths = False
    world.run("paper", "--only", "sd15")
    assert (world.folder / "sd15" / UNET).read_bytes() == world.file(UNET)


def test_it_gives_up_and_goes_on_later(world):
    place = world.stored(UNET)
    world.store.statuses[place] = [503]
    refused = world.run("paper", "--only", "sd15", status=3)
    assert "503" in refused.stderr and "run the same command" in refused.stderr
    world.store.statuses[place] = []
    world.run("paper", "--only", "sd15")
    assert (world.folder / "sd15" / UNET).read_bytes() == world.file(UNET)


def test_busy_servers_are_asked_again(world):
    world.hub.statuses[f"/api/models/{SD15}?blobs=true"] = [429, 500, None]
    world.run("paper", "--only", "sd15")


def test_a_wrong_checksum_keeps_nothing(world):
    lie = bytearray(world.file(UNET))
    lie[7] ^= 0xff
    world.store.files[world.stored(UNET)] = bytes(lie)
    refused = world.run("paper", "--only", "sd15", status=3)
    assert "found SHA-256" in refused.stderr and "expected" in refused.stderr
    assert not [n for n in below(world.folder) if n.startswith(f"sd15/{UNET}")]
    assert len(world.store.requests(world.stored(UNET))) == 2


def test_a_wrong_small_file_is_noticed(world):
    listing = world.hub.listing
    world.hub.listing = lambda files: listing(
        {**files, "vae/config.json": files["vae/config.json"][::-1]})
    refused = world.run("paper", "--only", "sd15", status=3)
    assert "vae/config.json" in refused.stderr and "git hash" in refused.stderr


def test_the_answers_header_is_enough(world):
    """Mirrors of the hub may list names alone."""
    world.hub.listing_sums = False
    world.store.files[world.stored(UNET)] = noise("lie", 30000)
    assert "found SHA-256" in world.run("paper", "--only", "sd15", status=3).stderr


def test_pinned_checksums(world):
    refused = world.run("paper", "--only", "lpips", status=3)
    assert "vgg16-397923af.pth" in refused.stderr and "expected 397923af" in refused.stderr


def test_the_token_stays_with_its_host(world):
    world.hub.gated[SD15] = "hf_secret"
    refused = world.run("paper", "--only", "sd15", status=3)
    assert "401" in refused.stderr and "HF_TOKEN" in refused.stderr
    world.hub.seen.clear()
    world.run("paper", "--only", "sd15,vqgan", token="hf_secret")
    assert all(h.get("Authorization") == "Bearer hf_secret" for _, h in world.hub.seen)
    for server in (world.store, world.plain):
        assert server.seen and not [h for _, h in server.seen if "Authorization" in h]


def test_missing_models_and_files(world):
    del world.hub.repositories[CLIP]
    assert "404" in world.run("paper", "--only", "clip", status=3).stderr
    del world.hub.repositories[SD15]["unet/config.json"]
    assert "unet/config.json" in world.run("paper", "--only", "sd15", status=3).stderr
    files = world.hub.repositories["prompthero/openjourney"]
    del files["vae/diffusion_pytorch_model.bin"]
    assert "no weights of vae" in world.run("paper", "--only", "openjourney",
                                            status=3).stderr


@pytest.mark.parametrize("status, words", [(403, "HF_TOKEN"), (404, "no such"), (410, "410")])
def test_refusals_are_not_retried(world, status, words):
    place = f"/{SD15}/resolve/{COMMIT}/unet/config.json"
    world.hub.statuses[place] = [status]
    assert words in world.run("paper", "--only", "sd15", status=3).stderr
    assert len(world.hub.requests(place)) == 1


def test_a_kill_loses_nothing(world):
    big = noise("big", 40 << 20)
    world.hub.add(SD15, world.hub.repositories[SD15] | {UNET: big})
    partial = world.folder / "sd15" / (UNET + ".partial")
    world.store.cuts[world.stored(UNET)] = 100  # each attempt brings a half of the rest
    process = subprocess.Popen([*world.command("paper", "--only", "sd15")[:-1], "30"],
                               env=world.environment(), stderr=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not (partial.exists() and partial.stat().st_size == len(big) // 2):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (world.folder / "sd15" / UNET).exists()
    world.store.cuts.clear()
    world.run("paper", "--only", "sd15")
    assert (world.folder / "sd15" / UNET).read_bytes() == big
    assert world.store.requests(world.stored(UNET))[-1]["Range"] == f"bytes={len(big) // 2}-"


def test_a_part_of_another_file_is_not_gone_on_from(world):
    world.store.cuts[world.stored(UNET)] = 100
    world.store.statuses[world.stored(UNET)] = [None, 503]
    world.run("paper", "--only", "sd15", status=3)
    world.store.statuses.clear()
    world.store.cuts.clear()
    world.hub.add(SD15, world.hub.repositories[SD15] | {UNET: noise("newer", 30000)})
    world.run("paper", "--only", "sd15")
    assert (world.folder / "sd15" / UNET).read_bytes() == noise("newer", 30000)


def test_too_little_space(world):
    huge = world.hub.listing

    def listing(files):
        answer = huge(files)
        for file in answer["siblings"]:
            file["size"] = file["size"] if "lfs" not in file else 1 << 60
            if "lfs" in file:
                file["lfs"]["size"] = 1 << 60
        return answer
    world.hub.listing = listing
    refused = world.run("paper", "--only", "sd15", status=4)
    assert "free, expected" in refused.stderr and not world.store.seen


def test_a_full_disk_is_said_in_words(world):
    """RLIMIT_FSIZE stands for a disk that fills up in the middle."""
    import resource

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
    refused = world.run("paper", "--only", "sd15", status=4, preexec_fn=limit)
    assert "cannot write" in refused.stderr and ".partial" in refused.stderr
    world.run("paper", "--only", "sd15")


def test_two_at_once(world):
    import fcntl
    world.folder.mkdir()
    with open(world.folder / ".fetch.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another fetch-models" in world.run("paper", "--only", "clip",
                                                   status=8).stderr


def test_usage(world):
    assert "expected" in world.run(status=2).stderr
    assert "sd15" in world.run("paper", "--only", "sd14", status=2).stderr
    assert "has not\nbeen run against the real ones" in world.run("--help").stdout
