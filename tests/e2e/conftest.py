# SPDX-License-Identifier: ISC
"""Fixtures. Real servers are started once for all tests, and only those that are asked for."""
import pathlib
import shutil
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from lib import mta  # noqa: E402
from lib.peer import Peer  # noqa: E402
from lib.waypost import Waypost  # noqa: E402


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if call.when == "call":
        item.passed = outcome.get_result().passed


@pytest.fixture(autouse=True)
def spools_go(request, tmp_path):
    """A spool takes 128 MiB; only those of failed tests are kept."""
    yield
    if getattr(request.node, "passed", False):
        for spool in tmp_path.glob("waypost*/spool"):
            shutil.rmtree(spool, ignore_errors=True)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """Key and certificate of localhost in one file; its own authority."""
    top = tmp_path_factory.mktemp("tls")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", top / "key.pem",
                    "-out", top / "cert.pem", "-days", "3", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True, capture_output=True)
    both = top / "both.pem"
    both.write_text((top / "key.pem").read_text() + (top / "cert.pem").read_text())
    both.chmod(0o600)
    return both


@pytest.fixture(scope="session")
def ca(certificate):
    return certificate.parent / "cert.pem"


def _server(kind, tmp_path_factory, *args):
    server = kind(tmp_path_factory.mktemp(kind.name) / "mta", *args)
    return server.start()


@pytest.fixture(scope="session")
def _postfix(tmp_path_factory):
    server = _server(mta.Postfix, tmp_path_factory)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postfix(_postfix):
    return _postfix.await_ready()


@pytest.fixture(scope="session")
def exim(tmp_path_factory):
    server = _server(mta.Exim, tmp_path_factory)
    yield server.await_ready()
    server.stop()


@pytest.fixture(scope="session")
def opensmtpd(tmp_path_factory):
    server = _server(mta.OpenSmtpd, tmp_path_factory)
    yield server.await_ready()
    server.stop()


@pytest.fixture(scope="session")
def dovecot(tmp_path_factory, _postfix, certificate):
    server = _server(mta.Dovecot, tmp_path_factory, _postfix, certificate)
    yield server.await_ready()
    server.stop()


class Makers:
    """Makes daemons and peers, and ends them in the right order."""

    def __init__(self, top):
        self.top, self.wayposts, self.peers = top, [], []

    def waypost(self, gateways=None, start=True, **settings):
        w = Waypost(self.top / f"waypost{len(self.wayposts) + 1}", gateways, **settings)
        self.wayposts.append(w)
        return w.start() if start else w

    def peer(self, **how):
        p = Peer(**how)
        self.peers.append(p)
        return p

    def close(self):
        try:
            for w in self.wayposts:
                w.close()
        finally:
            for w in self.wayposts:
                if w.process is not None:
                    w.process.kill()
            for p in self.peers:
                p.stop()


@pytest.fixture
def make(tmp_path):
    m = Makers(tmp_path)
    yield m
    m.close()


@pytest.fixture(scope="module")
def make_once(tmp_path_factory):
    """The same for a whole file."""
    m = Makers(tmp_path_factory.mktemp("module"))
    yield m
    m.close()
