# SPDX-License-Identifier: ISC
"""Copies of sent mail in files."""
import email
import email.policy

import pytest

from lib.mail import message, name_of
from lib.wait import until


class Site:
    def __init__(self, make, **archive):
        self.peer = make.peer()
        self.peer.on["RCPT"] = lambda s, line: "550 5.1.1 nobody" if b"nobody" in line else None
        self.waypost = make.waypost({"isp": self.peer.gateway()}, start=False, queue={"retry": ["1s"]})
        self.dir = self.waypost.dir / "archive"
        self.waypost.conf["archive"] = {"directory": str(self.dir), **archive}
        self.waypost.write()
        self.waypost.start()

    def files(self):
        return sorted(self.dir.glob("*/*.eml"))

    def of(self, ident):
        return [f for f in self.files() if f.name.endswith(f"-{ident}.eml")]

    def await_copy(self, ident):
        until(f"a copy of {ident}", lambda: self.of(ident))
        (found,) = self.of(ident)
        return found


@pytest.fixture
def site(make):
    return Site(make)


def status(w):
    return w.json("status")["archive"]


@pytest.mark.parametrize("size", [10, 3_000_000])
def test_a_copy_is_the_message_with_what_became_of_it(site, size):
    w = site.waypost
    sent = message(body=b"0123456789abcdef\r\n" * (size // 18 + 1))
    sent = b"Bcc: secret@sink.test\r\n" + sent
    ident = w.send(sent, rcpt=["b@sink.test", "nobody@sink.test"])
    copy = site.await_copy(ident)
    assert copy.stat().st_mode & 0o777 == 0o600 and copy.parent.stat().st_mode & 0o777 == 0o700
    octets = copy.read_bytes()
    assert octets.endswith(sent)
    mail = email.message_from_bytes(octets, policy=email.policy.default)
    assert mail["X-Waypost-Id"] == ident and mail["X-Waypost-Gateway"] == "isp"
    assert mail["X-Waypost-Sender"] == "<a@client.test>" and mail["Bcc"] == "secret@sink.test"
    assert sorted(mail.get_all("X-Waypost-Recipient")) == ["<b@sink.test> relayed", "<nobody@sink.test> failed"]
    until("it is counted", lambda: status(w)["copies"] == 1)
    assert status(w)["bytes"] == len(octets) and status(w)["missed"] == 0
    assert "archive   " in w.run("status", check=0).out


def test_only_what_was_sent_and_only_once(site):
    w = site.waypost
    failed = w.send(message(), rcpt="nobody@sink.test", sender="")
    site.peer.on["RCPT"] = "450 4.2.0 later"
    dropped = w.send(message())
    w.await_event("deferred", id=dropped)
    w.run("queue", "drop", dropped, "--for-good", check=0)
    site.peer.on.clear()
    later = w.send(message())
    site.await_copy(later)
    w.stop()
    w.start()
    assert len(site.files()) == 1 and not site.of(failed) and not site.of(dropped)


def test_senders_may_be_chosen(make):
    s = Site(make, senders=["*@kept.test"])
    s.waypost.send(message(), sender="a@client.test")
    kept = s.waypost.send(message(), sender="a@kept.test")
    s.await_copy(kept)
    assert len(s.files()) == 1


def test_trouble_with_the_archive_never_stops_mail(site):
    w = site.waypost
    # Something else stands where the directory should be.
    site.dir.rmdir() if site.dir.exists() else None
    site.dir.write_text("in the way")
    for _ in range(3):
        w.send(message())
    site.peer.await_message(count=3)
    until("it is said", lambda: status(w)["missed"] == 3)
    assert status(w)["failure"]
    out = w.run("status", check=0).out
    assert "3 MISSING" in out and "ARCHIVE FAILS" in out
    assert len(w.find("archive")) == 1  # not with each copy
    site.dir.unlink()
    site.await_copy(w.send(message()))
    assert status(w)["failure"] is None
    w.await_event("archive", "written again")


def test_the_oldest_copies_go_when_it_is_too_much(make):
    s = Site(make, max_size="1MiB")
    old = s.dir / "2020-01-01"
    other = s.dir / "2020-01-01" / "note.txt"
    until("it is made", s.dir.exists)
    ids = [s.waypost.send(message(body=b"0123456789abcdef\r\n" * 16000)) for _ in range(6)]
    s.await_copy(ids[-1])
    assert sum(f.stat().st_size for f in s.files()) <= 1 << 20
    assert not s.of(ids[0])
    # What is older than archive.keep goes at the start; what is no copy stays.
    old.mkdir()
    (old / "080000-AAAAAA.eml").write_text("old")
    other.write_text("mine")
    s.waypost.stop()
    s.waypost.start()
    until("the old day is gone", lambda: not (old / "080000-AAAAAA.eml").exists())
    assert other.exists() and s.of(ids[-1])


def test_copies_under_way_are_written_at_an_orderly_end(site):
    w = site.waypost
    ids = [w.send(message(body=b"0123456789abcdef\r\n" * 5000)) for _ in range(20)]
    site.peer.await_message(count=20)
    until("all left", lambda: w.queue() == [])
    w.stop()
    assert len(site.files()) == 20 and all(site.of(i) for i in ids)
    assert not list(site.dir.glob("*/*.new"))
