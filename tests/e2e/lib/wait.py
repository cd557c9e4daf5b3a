# SPDX-License-Identifier: ISC
"""Waiting for something to become true, with a deadline and never longer than needed."""
import os
import pathlib
import socket
import time

PATIENCE = float(os.environ.get("E2E_PATIENCE", "30"))


def until(what, check, seconds=PATIENCE, step=0.01):
    """Returns the first true value of check(); for states that send no event (files of others)."""
    end = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"after {seconds:g} s still not: {what}")
        time.sleep(step)
        step = min(step * 1.3, 0.1)


def _ports():
    """Below those the kernel gives to connections: else one of these may have the port when it is needed, or a connection
    to a closed port meets itself. A block belongs to one process, by a name that ends with it."""
    top = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for block in range(10000, min(top, 32000) - PORTS + 1, PORTS):
        mine = socket.socket(socket.AF_UNIX)
        try:
            mine.bind(f"\0waypost-test-ports-{block}")
        except OSError:
            mine.close()
            continue
        _blocks.append(mine)
        yield from range(block, block + PORTS)


PORTS = 500
_blocks, _given = [], _ports()


def free_port():
    """One that nobody listens at, nor will; each is given once."""
    for port in _given:
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass
    raise AssertionError("no free ports are left below those of the kernel")


def answers(port, banner=b"220", host="127.0.0.1"):
    try:
        with socket.create_connection((host, port), timeout=5) as s:
            return s.recv(512).startswith(banner)
    except OSError:
        return False
