# SPDX-License-Identifier: ISC
"""Fixtures: daemons and sinks that are gone when the test is, and disks that can be cut or full."""
import os
import pathlib
import sys

import pytest

sys.path[:0] = [str(pathlib.Path(__file__).parents[1] / "e2e"), str(pathlib.Path(__file__).parent)]

from ledger import Load, Sink  # noqa: E402
from lib.waypost import Waypost  # noqa: E402

FAST = {"queue": {"retry": ["1s", "2s"], "doubt_wait": "5m"}, "log": {"format": "json", "level": "info"}}


class Makers:
    def __init__(self, top):
        self.top, self.made, self.loads = top, [], []

    def sink(self, **how):
        s = Sink(self.top / f"ledger{len(self.made)}", **how)
        self.made.append(s)
        return s

    def waypost(self, sink, start=True, **settings):
        w = Waypost(self.top / f"waypost{len(self.made)}", {"out": sink.gateway()}, **{**FAST, **settings})
        self.made.append(w)
        return w.start() if start else w

    def load(self, waypost, **how):
        load = Load(waypost.port, **how)
        self.loads.append(load)
        return load

    def close(self):
        for load in self.loads:
            load.ending.set()
        for one in self.made:
            if isinstance(one, Sink):
                one.stop()
            elif one.alive():
                one.kill()


@pytest.fixture
def make(tmp_path):
    m = Makers(tmp_path)
    yield m
    m.close()


@pytest.fixture
def root():
    if os.geteuid() != 0:
        pytest.skip("needs root: mounts file systems")
