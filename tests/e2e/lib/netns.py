# SPDX-License-Identifier: ISC
"""Network namespaces: machines with links of their own, in one kernel.

    laptop, office = Netns("laptop"), Netns("office")
    laptop.cable("eth0", office, "lan0")       # a veth pair, both ends up
    laptop.ip("addr", "add", "10.20.3.4/16", "dev", "eth0")
    with laptop:
        ...                                    # sockets and processes made by this thread are there
"""
import ctypes
import os
import pathlib
import subprocess

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_count = 0


def _setns(fd):
    if _libc.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def missing():
    """Why there are none here; None when there are."""
    name = f"wp{os.getpid()}try"
    for command in (["ip", "netns", "add", name], ["ip", "-n", name, "link", "add", "a0", "type", "veth"],
                    ["ip", "netns", "del", name]):
        try:
            done = subprocess.run(command, capture_output=True)
        except OSError as e:
            return f"no iproute2: {e}"
        if done.returncode != 0:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
            return f"no network namespaces: {done.stderr.decode().strip()}"
    return None


class Netns:
    def __init__(self, name):
        global _count
        _count += 1
        self.name = f"wp{os.getpid()}n{_count}{name}"
        subprocess.run(["ip", "netns", "add", self.name], check=True, capture_output=True)
        self.fd = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        self.before = []
        self.ip("link", "set", "lo", "up")
        with self:  # addresses of IPv6 are there at once, and none come by themselves
            for key, value in (("all/accept_dad", "0"), ("default/accept_dad", "0"), ("default/accept_ra", "0")):
                try:
                    pathlib.Path(f"/proc/sys/net/ipv6/conf/{key}").write_text(value)
                except OSError:
                    pass  # no IPv6 here

    def __enter__(self):
        here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        _setns(self.fd)
        self.before.append(here)
        return self

    def __exit__(self, *_):
        here = self.before.pop()
        _setns(here)
        os.close(here)

    def ip(self, *words):
        done = subprocess.run(["ip", "-n", self.name, *words], capture_output=True, text=True)
        assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"
        return done.stdout

    def cable(self, mine, other, its):
        subprocess.run(["ip", "link", "add", mine, "netns", self.name, "type", "veth",
                        "peer", "name", its, "netns", other.name], check=True, capture_output=True)
        self.ip("link", "set", mine, "up")
        other.ip("link", "set", its, "up")

    def close(self):
        os.close(self.fd)
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True)
