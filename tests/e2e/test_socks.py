# SPDX-License-Identifier: ISC
"""The way to a gateway: through a real SOCKS5 proxy (microsocks), from a source address, through an interface, to pinned
addresses. The daemon knows no name here; whoever looks one up is the proxy."""
import shutil
import socket
import subprocess

import pytest

from lib.mail import from_token, message, name_of
from lib.wait import free_port, until

SOON = {"retry": ["1s"]}


class Proxy:
    def __init__(self, *login):
        self.port = free_port()
        self.argv = [shutil.which("microsocks"), "-i", "127.0.0.1", "-p", str(self.port), *login]
        self.process = None
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        until("the proxy listens", self.listens)

    def listens(self):
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
        self.process = None


@pytest.fixture
def proxy():
    if shutil.which("microsocks") is None:
        pytest.skip("microsocks is not installed (packaging/install-deps)")
    proxies = []

    def new(*login):
        proxies.append(Proxy(*login))
        return proxies[-1]
    yield new
    for p in proxies:
        p.stop()


def nameless(tmp_path):
    hosts = tmp_path / "no-hosts"
    hosts.write_text("")
    return {"hosts": str(hosts), "servers": ["127.0.0.1:1"]}


def by_name(peer, **more):
    return {"url": f"smtp://localhost:{peer.port}", "tls": "off", **more}


def test_mail_goes_through_a_proxy_that_looks_the_name_up(make, proxy, tmp_path):
    p, way = make.peer(), proxy()
    w = make.waypost({"far": by_name(p, socks=f"socks5://127.0.0.1:{way.port}")}, dns=nameless(tmp_path), queue=SOON)
    for _ in range(3):
        sent = message()
        mail = w.send(sent)
        assert from_token(p.await_message(name_of(sent)).data) == sent
    until("the timeline names the proxy", lambda: f"SOCKS proxy 127.0.0.1:{way.port}" in w.run("log", mail).out)


def test_a_large_mail_goes_through_a_proxy_with_a_login(make, proxy, tmp_path):
    p, way = make.peer(), proxy("-u", "me", "-P", "secret")
    w = make.waypost({"far": by_name(p, socks=f"socks5://me@127.0.0.1:{way.port}", socks_password="secret")},
                     dns=nameless(tmp_path), queue=SOON)
    sent = message(body=b"0123456789abcdef\r\n" * 200_000)
    w.send(sent)
    assert from_token(p.await_message(name_of(sent)).data) == sent


def test_a_proxy_that_refuses_the_login_moves_mail_on(make, proxy, tmp_path):
    p, second, way = make.peer(), make.peer(), proxy("-u", "me", "-P", "secret")
    w = make.waypost({"far": by_name(p, socks=f"socks5://me@127.0.0.1:{way.port}", socks_password="wrong", priority="high"),
                      "near": second.gateway(priority="low")}, dns=nameless(tmp_path), queue=SOON)
    sent = message()
    w.send(sent)
    second.await_message(name_of(sent))
    assert p.messages == []
    w.await_event("resting", "far rests .*refuses the user or the password")


def test_mail_waits_for_a_proxy_that_is_away(make, proxy, tmp_path):
    p, way = make.peer(), proxy()
    way.stop()
    w = make.waypost({"far": by_name(p, socks=f"socks5://127.0.0.1:{way.port}")}, dns=nameless(tmp_path), queue=SOON)
    sent = message()
    w.send(sent)
    w.await_event("resting", "SOCKS proxy: connection refused")
    way.start()
    p.await_message(name_of(sent))


def test_pinned_addresses_source_and_interface(make, tmp_path):
    p = make.peer()
    w = make.waypost({"gate": {"url": f"smtp://gate.test:{p.port}", "tls": "off", "addresses": ["127.0.0.1"],
                               "source": "127.0.0.9", "interface": "lo"}}, dns=nameless(tmp_path), queue=SOON)
    sent = message()
    w.send(sent)
    session = p.await_message(name_of(sent)).session
    assert session.sock.getpeername()[0] == "127.0.0.9"
