"""README.md says of the options what --help says."""

import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_option_tables_are_up_to_date(build):
    result = subprocess.run([ROOT / "scripts/readme-options", "--check"],
                            env={**os.environ, "DIFFENS_BUILD": str(build)})
    assert result.returncode == 0, "run scripts/readme-options"
