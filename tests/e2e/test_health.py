# SPDX-License-Identifier: ISC
"""Real upstreams that are cut off and come back while mail flows: a firewall that refuses, one that swallows, a server
that is stopped. Nothing is lost, nothing is doubled, and the mail goes back to where it belongs."""
import os
import pathlib
import shutil
import signal
import subprocess
import time

import pytest

from lib import mta
from lib.mail import message, name_of
from lib.netns import Netns, missing
from lib.wait import answers, until

WHY_NOT = missing() or (None if shutil.which("nft") else "no nft")
pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=WHY_NOT or "")


def nft(rules):
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)


def cut(port, verdict):
    """Packets of clients to this port meet a firewall; the server's go through."""
    nft(f"table inet cut {{ chain out {{ type filter hook output priority 0; tcp dport {port} {verdict};\n }}\n}}\n")


def mend():
    nft("delete table inet cut")


class World:
    def __init__(self, space, make, tmp_path):
        self.space = space
        self.exim = mta.Exim(tmp_path / "exim").start()
        self.postfix = mta.Postfix(tmp_path / "postfix").start()
        self.exim.await_ready()
        self.postfix.await_ready()
        self.waypost = make.waypost(
            {"exim": self.exim.gateway(health={"failures": 2}),
             "postfix": self.postfix.gateway(priority="low")},
            queue={"retry": ["1s"], "doubt_wait": "5s"})
        self.sent = []

    def send(self, count):
        for _ in range(count):
            sent = message()
            self.sent.append(name_of(sent))
            self.waypost.send(sent)

    def arrived(self):
        found = {}
        for server in (self.exim, self.postfix):
            for name, copies in server.messages().items():
                found.setdefault(name, []).extend((server.name, c) for c in copies)
        return found

    def check_all(self):
        until("all has arrived", lambda: len(self.arrived()) == len(self.sent), 90)
        until("nothing waits", lambda: not self.waypost.queue(), 60)
        found = self.arrived()
        doubled = [n for n in found if len(found[n]) != 1]
        assert not doubled and set(found) == set(self.sent)
        return found

    def back_at_exim(self):
        before = len(self.exim.messages())

        def back():
            self.send(1)
            time.sleep(0.2)
            return len(self.exim.messages()) > before
        until("mail goes through exim again", back, 60)

    def pids(self):
        done = subprocess.run(["ip", "netns", "pids", self.space.name], capture_output=True, text=True, check=True)
        return [int(pid) for pid in done.stdout.split()]

    def kill_exim(self):
        """At once; whoever changes its user outlives its parent."""
        for pid in self.pids():
            try:
                if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == "exim4":
                    os.kill(pid, signal.SIGKILL)
            except OSError:
                pass  # it ended by itself
        self.exim.stop()

    def stop(self):
        self.kill_exim()
        self.postfix.stop()


@pytest.fixture
def world(make, tmp_path):
    space = Netns("health")
    with space:
        w = World(space, make, tmp_path)
        yield w
        w.waypost.stop()
        w.stop()
    space.close()


@pytest.mark.parametrize("verdict", ["reject with tcp reset", "reject with icmpx type admin-prohibited", "drop"])
def test_firewall_comes_and_goes_under_load(world, verdict):
    world.send(20)
    assert until("exim has them", lambda: len(world.exim.messages()) == 20)
    cut(world.exim.port, verdict)
    for _ in range(15):
        world.send(4)
        time.sleep(0.1)
    if verdict != "drop":  # a silent one is only known after its time
        until("mail goes the other way", lambda: len(world.postfix.messages()) > 0)
    mend()
    world.back_at_exim()
    found = world.check_all()
    assert any(copies[0][0] == "exim" for copies in found.values())


def test_server_is_stopped_and_started(world):
    world.send(10)
    until("exim has them", lambda: len(world.exim.messages()) == 10)
    world.kill_exim()
    until("exim is gone", lambda: not answers(world.exim.port))
    world.send(20)
    # What was in doubt at that moment may only be asked of exim again.
    until("mail goes the other way", lambda: len(world.postfix.messages()) >= 18)
    assert world.waypost.find("resting", "exim")
    world.exim.start().await_ready()
    world.back_at_exim()
    world.check_all()
