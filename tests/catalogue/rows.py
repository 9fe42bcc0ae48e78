"""What a row of the catalogue is: a name, an exit status, a pattern for the error line, and
the inputs that are to end so. In commands `@` is the row's folder, where the files are and
the program runs."""

import json
import os
import pathlib
import typing

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEMO = ROOT / "models/demo"
DEMO_FILES = {os.path.relpath(os.path.join(place, name), DEMO)
              for place, _, names in os.walk(DEMO, followlinks=True) for name in names}


templates = {} # runs to copy, by name: made by the test


class Row(typing.NamedTuple):
    name: str
    status: int
    pattern: str
    tries: list  # (command, files or a function that makes them, environment)
    begun: bool = False  # found out when the run was under way: it has left its directory


def commands(name, pattern, *given, status=2, files=(), **environment):
    """The same refusal for each of these command lines."""
    return Row(name, status, pattern, [(c, dict(files), environment) for c in given])


def inputs(name, command, pattern, *given, status=3, begun=False):
    """The same refusal for each of these inputs: bytes by file name, or a function that is
    given the folder."""
    return Row(name, status, pattern, [(command, files, {}) for files in given], begun)


def contents(name, command, pattern, *given, file="w", status=3):
    """The same for the bytes of one file."""
    return inputs(name, command, pattern, *({file: data} for data in given), status=status)


def text(value):
    return json.dumps(value).encode()


def demo_with(changes, links=()):
    """The demo ensemble as `e`, with other bytes (or a function of the old ones) under some
    names; None: without that file. `links` go elsewhere."""
    def make(folder):
        for name in DEMO_FILES - changes.keys():
            link = folder / "e" / name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to((DEMO / name).resolve())
        for name, data in changes.items():
            if data is not None:
                place = folder / "e" / name
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(data((DEMO / name).read_bytes()) if callable(data) else data)
        for name, target in dict(links).items():
            (folder / "e" / name).unlink(missing_ok=True)
            (folder / "e" / name).symlink_to(target)
    return make


def edited(*keys, **values):
    """JSON with keys removed and values changed."""
    def change(old):
        document = json.loads(old)
        for key in keys:
            del document[key]
        return text(document | values)
    return change
