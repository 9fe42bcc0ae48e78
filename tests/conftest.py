"""What the parity tests share: where the build is, the --full option, and the table of
observed differences, which is printed at the end and left in the build directory."""

import fcntl
import json
import os
import pathlib
import sys

# Tiny networks gain nothing from threads, and on a busy machine lose much. Set before
# PyTorch is imported; the programs under test inherit it.
if "--full" not in sys.argv:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
ROWS = []


def build_dir():
    return pathlib.Path(os.environ.get("DIFFENS_BUILD", ROOT / "build")).resolve()


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true",
                     help="networks at the size of the published checkpoints, too")


def pytest_configure(config):
    config.addinivalue_line("markers", "full: at full size; runs with --full only")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--full"):
        return
    for item in items:
        if "full" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="full size: needs --full"))


@pytest.fixture(scope="session")
def build():
    """The build directory: $DIFFENS_BUILD, else build/."""
    return build_dir()


@pytest.fixture
def driver(build):
    """driver("nets_driver") is the path of that program, wherever CMake has put it."""
    def find(name):
        for path in (build / "tests" / name, build / name):
            if path.is_file():
                return path
        pytest.fail(f"{name} is not in {build}: build it, or set DIFFENS_BUILD")
    return find


@pytest.fixture
def observe():
    """observe(area, case, quantity, value, limit): a row of the table."""
    def add(area, case, quantity, value, limit):
        ROWS.append({"area": area, "case": case, "quantity": quantity,
                     "observed": float(value), "limit": float(limit)})
    return add


def table(rows):
    lines = ["| area | case | quantity | observed | limit |", "| --- | --- | --- | --- | --- |"]
    lines += ["| {area} | {case} | {quantity} | {observed:.2g} | {limit:.2g} |".format(**row)
              for row in rows]
    return "\n".join(lines) + "\n"


def merged(path, rows):
    """Rows of an earlier session stay until the same case is observed again."""
    def key(row):
        return row["area"], row["case"], row["quantity"]
    old = json.loads(path.read_text()) if path.is_file() else []
    new = {key(row) for row in rows}
    return sorted([row for row in old if key(row) not in new] + rows, key=key)


def pytest_terminal_summary(terminalreporter):
    if not ROWS:
        return
    folder = build_dir() / "parity"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock: # scripts/test runs several at a time
        fcntl.flock(lock, fcntl.LOCK_EX)
        rows = merged(folder / "observed.json", ROWS)
        (folder / "observed.json").write_text(json.dumps(rows, indent=1) + "\n")
        (folder / "observed.md").write_text(table(rows))
    terminalreporter.section(f"observed ({folder / 'observed.md'})")
    terminalreporter.write(table(ROWS))
