"""What the scripts of this folder share: where things are, processes that compute in turns,
the machine's rate of matrix multiplication, and how ratios are printed. Importing it goes on
in the Python of .venv. Leaves what is compared to them."""

import importlib.machinery
import importlib.util
import os
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEMO = ROOT / "models/demo"
PYTHON = ROOT / ".venv/bin/python"
if pathlib.Path(sys.prefix) != PYTHON.parents[1] and PYTHON.exists():
    os.execv(PYTHON, [str(PYTHON), *sys.argv])
sys.path[:0] = [str(ROOT / "tests/pipeline"), str(ROOT / "tests/parity")]


def script(name):
    """Another script of this folder, as a module."""
    path = pathlib.Path(__file__).with_name(name)
    loader = importlib.machinery.SourceFileLoader(f"bench_{name}", str(path))
    module = importlib.util.module_from_spec(
        importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


def use_threads(count):
    """Here and in processes that are started."""
    os.environ["OMP_NUM_THREADS"] = str(count)
    import torch
    torch.set_num_threads(count)


def matmul_rate(side=2048):
    """Floating-point operations a second."""
    import torch
    a, b = torch.rand(side, side), torch.rand(side, side)
    best = 1e9
    for _ in range(3):
        start = time.perf_counter()
        torch.mm(a, b)
        best = min(best, time.perf_counter() - start)
    return 2 * side ** 3 / best


def spread(values):
    """Median and range."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


class Served:
    """A program that computes when a line comes in, and answers with numbers."""

    def __init__(self, *command):
        self.process = subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def run(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"bench: {self.process.args[0]} failed")
        return [float(word) for word in answer.split()]

    def close(self):
        self.process.stdin.close()
        if self.process.wait() != 0:
            sys.exit(f"bench: {self.process.args[0]} failed")


def network(options, kind, folder):
    """One of our networks: answers with seconds, those of the processor, and floating-point
    operations. The folder holds its weights, config.json and `inputs`."""
    return Served(options.build / "tests/nets_driver", kind, folder / "config.json",
                  next(folder.glob("*.safetensors")), folder / "inputs", folder / "outputs",
                  "--threads", options.threads, "--serve")


# Prints the seconds, the peak in KiB and the exit status of one process. A small one starts it:
# what the parent holds would count as the peak of the child.
PROCESS = """
import os, subprocess, sys, time
start, null = time.perf_counter(), subprocess.DEVNULL
child = subprocess.Popen(sys.argv[1:], stdout=null, stderr=null)
_, status, usage = os.wait4(child.pid, 0)
print(time.perf_counter() - start, usage.ru_maxrss, status)
"""


def process(command):
    """Seconds and peak bytes of one process."""
    answer = subprocess.run([sys.executable, "-c", PROCESS, *map(str, command)], check=True,
                            stdout=subprocess.PIPE,
                            env={**os.environ, "PYTHONPATH": str(ROOT / "tests/parity")})
    seconds, peak, status = map(float, answer.stdout.split())
    if status != 0:
        sys.exit(f"bench: {command[0]} failed")
    return seconds, int(peak) * 1024
