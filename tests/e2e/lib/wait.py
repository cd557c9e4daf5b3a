# SPDX-License-Identifier: ISC
"""Waiting for something to become true, with a deadline and never longer than needed."""
import os
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


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def answers(port, banner=b"220", host="127.0.0.1"):
    try:
        with socket.create_connection((host, port), timeout=5) as s:
            return s.recv(512).startswith(banner)
    except OSError:
        return False
