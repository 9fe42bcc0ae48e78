"""Calls into the C library that fail, one at a time and from one on; scripts/stress-faults
for more."""

from faulting import hiccups, stress
from serving import Server


def test_three_hundred_faults(build, critical, tmp_path):
    with Server(build) as server:
        assert stress(server, critical, tmp_path, 300) == []
        hiccups(server, critical, tmp_path)
