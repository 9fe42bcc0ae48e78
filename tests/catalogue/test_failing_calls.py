"""Calls into the C library that fail while input is read and nothing is made yet: the k-th
allocation, opening, reading, look, once or from then on. One error line of the right kind,
and nothing is left behind."""

import io

import pytest
import torch
import torch_files as f
from faulting import STATUSES
from places import dictionary, npy, png
from rows import DEMO, text
from serving import Server
from test_catalogue import prepare, tree
from weight_files import GOOD, indexed, one

MOST = 60  # calls of a kind that fail in turn, of a command that makes more
DRAW = f"generate --ensemble {DEMO} --models plain --out @/out --dry-run "
MIX = f"blend --ensemble {DEMO} --pair plain,poster --out @/out --dry-run "


def saved(zipped):
    stream = io.BytesIO()
    torch.save({"state_dict": {"a": torch.ones(3, 2).T, "b": torch.zeros(1)}}, stream,
               _use_new_zipfile_serialization=zipped)
    return stream.getvalue()


READERS = {
    "safetensors": ("models check @/w", {"w": one()}),
    "zip": ("models check @/w", {"w": saved(True)}),
    "unknown globals": ("models check @/w", {"w": f.checkpoint(f.dict_of(
        a=f.tensor(), b=f.called("os", "system", f.text("touch ran"))))}),
    "legacy": ("models check @/w", {"w": saved(False)}),
    "legacy by hand": ("models check @/w", {"w": f.legacy(GOOD)}),
    "index": ("models check @/w.index.json", indexed({"a": "x.safetensors"}, x=one())),
    "prompts": (DRAW + "--prompts @/p.json", {"p.json": text(
        {"prompts": [["a", "b", "c"], ["d", "e", "f"]], "negative": ["x", "y"],
         "names": ["n", "m"], "seeds": [1, None]})}),
    "lines": (DRAW + "--prompts @/p.txt", {"p.txt": "one\n\ntwo caf\u00e9 \u0130I\u0307".encode()}),
    "settings": (DRAW + "--config @/c.json --prompt x", {"c.json": text(
        {"steps": 3, "models": ["plain", "poster"], "limit": ["prompt=100"]})}),
    "ensemble": (MIX + "--prompt x", {}),
    "image tensor": (MIX.replace("plain,poster", "model0,model1") + "--images @/in.npy", {"in.npy": npy(dictionary((1, 3, 64, 64, 3)),
                                                               bytes(3 * 64 * 64 * 3))}),
    "pictures": (MIX + "--images @/in", {f"in/a/{m}.png": png(64, 64)
                                         for m in ("plain", "poster")}),
}


@pytest.fixture(scope="module")
def server(build):
    with Server(build) as made:
        yield made


@pytest.mark.parametrize("name", READERS)
def test_readers(server, tmp_path, name):
    command, files = READERS[name]
    prepare(tmp_path, files)
    words = [word.replace("@", str(tmp_path)) for word in command.split()]
    before = tree(tmp_path)
    whole = server.run(*words, cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    wrong = []
    for kind, calls in whole.calls.items():
        for i in range(min(calls, MOST)):
            at, how = 1 + i * calls // min(calls, MOST), ("once", "onward")[i % 2]
            result = server.run(*words, cwd=tmp_path, fault=f"{kind} {at} {how}")
            errors = sum(line.startswith("diffens: error: ") for line in result.stderr.splitlines())
            if (result.returncode not in STATUSES[kind] | {0}
                    or errors != (result.returncode != 0)
                    and (kind, how) != ("write", "onward") or tree(tmp_path) != before):
                wrong.append((kind, at, how, result.returncode, result.stderr[-300:]))
    assert wrong == []
