# SPDX-License-Identifier: ISC
"""Removed mail can be brought back, for a while."""
import pytest

from lib.mail import message, name_of
from lib.wait import until


@pytest.fixture
def site(make):
    peer = make.peer()
    peer.on["RCPT"] = "450 4.2.0 later"
    return make.waypost({"isp": peer.gateway()}, queue={"retry": ["1h"]}), peer


def ids(w, *words):
    said = w.json(*words)
    return {m["id"] for m in (said if isinstance(said, list) else [said])}


def waiting(w, **how):
    ident = w.send(message(), **how)
    w.await_event("deferred", id=ident)
    return ident


def test_dropped_mail_is_listed_and_comes_back(site):
    w, peer = site
    ident, other = waiting(w), waiting(w)
    assert "waypost queue restore" in w.run("queue", "drop", ident, "--reason", "by mistake", check=0).out
    assert ids(w, "queue", "list") == {other} and ids(w, "queue", "deleted") == {ident}
    assert "kept until" in w.run("queue", "deleted", check=0).out
    row = w.json("queue", "show", ident)
    assert row["state"] == "deleted" and row["kept_until_ms"] - row["deleted_ms"] == 7 * 86400 * 1000
    assert w.json("status")["queue"]["messages"] == 1
    assert "dropped by uid" in w.run("log", ident, check=0).out
    assert ident in ids(w, "log", "--folder", "deleted") and ident not in ids(w, "log", "--folder", "outbox")
    assert "it was dropped before" in w.run("queue", "drop", ident).err
    assert "not in the queue" in w.run("queue", "retry", ident).err
    assert "not among the deleted" in w.run("queue", "restore", other).err
    peer.on.clear()
    w.run("queue", "retry", "all", check=0)
    peer.await_message()
    w.run("queue", "restore", ident, check=0)
    peer.await_message(count=2)
    assert [e["event"] for e in w.json("log", ident)["events"]][2:4] == ["delete", "restore"]
    until("the log knows", lambda: ident in ids(w, "log", "--folder", "sent"))
    assert ids(w, "queue", "deleted") == set()
    assert "nothing deleted" in w.run("queue", "deleted", check=0).out


def test_the_bin_outlives_kills_and_each_mail_leaves_once(site):
    w, peer = site
    sent = message()
    ident = w.send(sent, rcpt=["a@sink.test", "b@sink.test"])
    w.await_event("deferred", id=ident)
    w.run("queue", "hold", ident, "--reason", "ask Bob", check=0)
    w.run("queue", "drop", ident, check=0)
    w.kill()
    w.start()
    assert ids(w, "queue", "deleted") == {ident} and w.queue() == []
    w.run("queue", "restore", ident, check=0)
    w.kill()
    w.start()
    # As it was: held, with both recipients.
    (row,) = w.queue()
    assert row["state"] == "held" and "ask Bob" in row["hold_reason"] and len(row["recipients"]) == 2
    peer.on.clear()
    w.run("queue", "release", ident, check=0)
    until("it went", lambda: w.queue() == [])
    assert sorted(r for m in peer.named(name_of(sent)) for r in m.rcpts) == ["a@sink.test", "b@sink.test"]


def test_its_content_is_there_as_long(site, tmp_path):
    w, _ = site
    sent = message(b"0123456789abcdef\r\n" * 30000)  # in a file of its own
    ident = w.send(sent)
    w.await_event("deferred", id=ident)
    w.run("queue", "drop", ident, check=0)
    w.kill()
    w.start()
    w.run("queue", "export", ident, "--to", str(tmp_path / "out"), check=0)
    assert name_of(sent) in (tmp_path / "out" / f"{ident}.eml").read_text()
    assert "for good" in w.run("queue", "drop", ident, "--for-good", check=0).out
    assert ids(w, "queue", "deleted") == set()
    assert w.run("queue", "export", ident, "--to", str(tmp_path / "out")).returncode == 65
    until("its space is given back", lambda: not list((w.dir / "spool" / "bodies").glob("[0-9]*")))


def test_for_good_and_without_a_bin(site):
    w, _ = site
    first, second = waiting(w), waiting(w)
    w.run("queue", "drop", first, "--for-good", check=0)
    w.run("queue", "drop", second, check=0)
    assert ids(w, "queue", "deleted") == {second}
    w.conf["queue"]["keep_deleted"] = "never"
    w.write()
    w.run("reload", check=0)
    until("the bin is empty", lambda: ids(w, "queue", "deleted") == set())
    third = waiting(w)
    assert "for good" in w.run("queue", "drop", third, check=0).out
    assert ids(w, "queue", "deleted") == set() and w.run("queue", "restore", third).returncode == 65
