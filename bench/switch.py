#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""How long a change of network takes: from the kernel's event (the address is there) to the first octet at the gateway
of the new place, with mail waiting. Two places in network namespaces, COUNT moves to and fro; needs root.

    bench/switch.py [COUNT]        WAYPOST=build/waypost
"""
import pathlib
import socket
import statistics
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "e2e"))
from conftest import Makers  # noqa: E402
from lib.mail import message, name_of  # noqa: E402
from lib.netns import missing  # noqa: E402
from lib.peer import Session  # noqa: E402
from lib.wait import until  # noqa: E402
from test_networks import World  # noqa: E402

first = {}
plain_more = Session.more


def more(session):
    """The first octets of a connection, with their moment."""
    got = plain_more(session)
    first.setdefault(session, time.monotonic())
    return got


class News:
    """The moment the kernel says that there is an address: the same event the daemon hears."""

    def __init__(self, space):
        with space:
            self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
            self.socket.bind((0, 0x10))  # RTMGRP_IPV4_IFADDR
        self.at = None
        self.thread = threading.Thread(target=self.hear, daemon=True)
        self.thread.start()

    def hear(self):
        self.socket.recv(4096)
        self.at = time.monotonic()
        self.socket.close()


def main():
    why = missing()
    if why:
        sys.exit(f"switch: {why}")
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    Session.more = more
    make = Makers(pathlib.Path(tempfile.mkdtemp(prefix="switch")))
    world = World(make)
    taken = []
    try:
        w = world.daemon()
        for i in range(count):
            at_home = i % 2 == 0
            server = world.isp if at_home else world.company
            world.away()
            until("offline", lambda: w.json("network")["offline"])
            name = world.send(w)
            time.sleep(0.2)
            news = News(world.laptop)
            link, address = ("wlan0", "192.168.178.20/24") if at_home else ("eth0", "10.20.3.4/16")
            world.laptop.ip("addr", "add", address, "dev", link)
            got = server.await_message(name)
            news.thread.join()
            taken.append((first[got.session] - news.at) * 1000)
    finally:
        make.close()
        world.close()
    print(f"switch: {count} moves, median {statistics.median(taken):.1f} ms, least {min(taken):.1f}, "
          f"most {max(taken):.1f} ms from the address to the first octet")


main()
