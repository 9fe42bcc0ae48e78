"""The program run many times a second: tests/inject/server.c forks it, so that libtorch is
loaded once. `Server.run` is subprocess.run for it, with kills and failing calls."""

import os
import pathlib
import subprocess
import tempfile
import types

KINDS = ("allocate", "open", "read", "write", "flush", "rename", "close", "folder", "look")


class Server:
    """One at a time; a context manager."""

    def __init__(self, build):
        self.folder = tempfile.TemporaryDirectory(prefix="diffens-server-")
        self.process = subprocess.Popen(
            [pathlib.Path(build) / "tests/inject/diffens-server"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()
        self.folder.cleanup()

    def run(self, *arguments, cwd=".", fault="", seconds=300, **environment):
        """Its returncode, stdout and stderr, and how often each of KINDS was called. It is
        killed after so many seconds."""
        streams = [pathlib.Path(self.folder.name) / name for name in ("out", "err")]
        variables = [f"{name}={value}" for name, value in environment.items()]
        texts = [cwd, *streams, fault, seconds, len(variables), *variables, "diffens",
                 *arguments]
        request = b"".join(os.fsencode(str(t) if not isinstance(t, bytes) else t) + b"\0"
                           for t in (len(texts), *texts))
        self.process.stdin.write(request)
        self.process.stdin.flush()
        status, *calls = map(int, self.process.stdout.readline().split())
        out, err = (s.read_bytes().decode(errors="backslashreplace") for s in streams)
        return types.SimpleNamespace(returncode=status, stdout=out, stderr=err,
                                     calls=dict(zip(KINDS, calls)))
