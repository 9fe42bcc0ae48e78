"""Runs in which one call into the C library fails, or all calls of its kind from then on,
and whether they end as they should and can be gone on with: what
tests/pipeline/test_faults.py and scripts/stress-faults share."""

import shutil

from killing import contents, differences, save_parents
from serving import KINDS

# How a run may end when a call of that kind fails; 0 where it can do without.
STATUSES = {"allocate": {5}, "open": {3, 4}, "read": {3}, "write": {4}, "flush": {4},
            "rename": {4}, "close": {4}, "folder": {4}, "look": {3, 4}}


HANGS = 600  # seconds after which a run counts as one that does not end


def commands(ensemble, folder):
    """The commands at their smallest, as argument lists without --out; merge joins shards
    that are made here."""
    parents = save_parents(folder / "parents.npy", cases=1, size=32)
    (folder / "p.txt").write_text("a cat\na dog\n")
    common = ["--ensemble", ensemble, "--threads", 1]
    drawing = ["--prompts", folder / "p.txt", "--steps", 1, "--size", "64x64", *common]
    return {
        "generate": ["generate", *drawing, "--models", "a"],
        "blend": ["blend", *common, "--images", parents, "--vq-size", "32x32"],
        "optimize": ["optimize", *common, "--images", parents, "--vq-size", "32x32", "--epochs",
                     2, "--crops", "1x1", "--save-every", 1, "--checkpoint-every", 0],
        "merge": ["merge", folder / "shard0", folder / "shard1"]}


def prepare(server, work, folder):
    """Runs that nothing disturbs; returns how often each makes each kind of call."""
    for i in range(2):
        made = server.run(*work["generate"], "--shard", f"{i}/2", "--out", folder / f"shard{i}",
                          seconds=HANGS)
        assert made.returncode == 0, made.stderr
    calls = {}
    for name, arguments in work.items():
        result = server.run(*arguments, "--out", folder / name, seconds=HANGS)
        assert result.returncode == 0, result.stderr
        calls |= {(name, kind): result.calls[kind] for kind in KINDS if result.calls[kind]}
    return calls


def choose(calls, count):
    """`count` points (command, kind, call, how), as many of each command and kind as they
    have calls for, evenly spread over them."""
    share, left, rest = {}, count, sorted(calls, key=lambda key: (calls[key], key))
    for i, key in enumerate(rest):
        share[key] = min(calls[key], left // (len(rest) - i))
        left -= share[key]
    points = [(*key, 1 + k * calls[key] // number) for key, number in share.items()
              for k in range(number)]
    return [(*point, ("once", "onward")[i % 2]) for i, point in enumerate(points)]


def judge(server, arguments, out, reference, kind, call, how):
    """Runs with that fault and goes on without it; what is wrong, in words, or None."""
    command = [*arguments, "--out", out]
    result = server.run(*command, fault=f"{kind} {call} {how}", seconds=HANGS)
    errors = sum(line.startswith("diffens: error: ") for line in result.stderr.splitlines())
    if result.returncode not in STATUSES[kind] | {0}:
        return f"exit status {result.returncode}: {result.stderr[-500:]}"
    if errors != (result.returncode != 0) and (kind, how) != ("write", "onward"):
        return f"{errors} error lines: {result.stderr[-500:]}"
    left = [path.name for path in out.rglob(".*")] if out.exists() else []
    if left:
        return f"left {left}"
    whole = contents(reference)
    for path in out.rglob("*") if out.exists() else []:
        name = str(path.relative_to(out))
        if path.suffix in (".png", ".html") and path.read_bytes() != whole.get(name):
            return f"{name} is not whole"
        if path.suffix == ".csv" and not whole[name].startswith(path.read_bytes()):
            return f"{name} is not the table's beginning"
    again = server.run(*command, *([] if command[0] == "merge" else ["--resume"]),
                       seconds=HANGS)
    if again.returncode != 0:
        return f"going on: exit status {again.returncode}: {again.stderr[-500:]}"
    wrong = differences(out, reference)
    return f"going on: differs in {wrong}" if wrong else None


def stress(server, ensemble, folder, count, say=lambda line: None):
    """Tries `count` points; returns what is wrong, a line each."""
    work = commands(ensemble, folder)
    points = choose(prepare(server, work, folder), count)
    bad = []
    for i, (name, kind, call, how) in enumerate(points):
        out = folder / f"{name}-{i}"
        wrong = judge(server, work[name], out, folder / name, kind, call, how)
        if wrong:
            bad.append(f"{name}: {kind} {call} {how}: {wrong}")
        shutil.rmtree(out, ignore_errors=True)
        if wrong or (i + 1) % 100 == 0:
            say(bad[-1] if wrong else f"{i + 1} of {len(points)} points")
    return bad


def hiccups(server, ensemble, folder):
    """Reads and writes that are short and interrupted, and opens that are, change nothing."""
    for name, arguments in commands(ensemble, folder).items():
        result = server.run(*arguments, "--out", folder / f"{name}-hiccup", fault="hiccup",
                            seconds=HANGS)
        assert result.returncode == 0, result.stderr
        assert differences(folder / f"{name}-hiccup", folder / name) == []
