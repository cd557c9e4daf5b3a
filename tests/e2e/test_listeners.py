# SPDX-License-Identifier: ISC
"""Who may hand mail in, from where and to whom, and what a listener says of itself."""
import json
import os
import signal
import socket

import pytest

from lib.mail import message
from lib.names import Names
from lib.wait import PATIENCE, free_port, until


def listener(**more):
    port = free_port()
    return port, {"address": [f"127.0.0.1:{port}"], **more}


def banner(port, source):
    """What the listener says first to a client from that address."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE, (source, 0)) as s:
        return s.recv(1000)


def hand_in(waypost, port, **how):
    with waypost.connect(port) as c:
        c.say("EHLO client.test")
        reply = c.hand_in(message(), **how)
        assert c.say("NOOP").startswith(b"250")
        return reply


def test_denied_clients(make):
    sink = make.peer()
    port, lan = listener(clients=["127.0.0.0/8"], deny=["127.0.0.5", "127.0.9.0/24"])
    w = make.waypost({"sink": sink.gateway()}, listeners={"lan": lan})
    for source in ("127.0.0.5", "127.0.9.1"):
        assert banner(port, source) == f"554 5.7.1 client {source} is denied here (listeners.lan.deny)\r\n".encode()
        w.await_event("refused", f"client {source} is denied at lan")
    assert banner(port, "127.0.0.6").startswith(b"220 ")
    lan["deny"] = ["127.0.0.6"]
    w.conf["listeners"] = {"lan": lan}
    w.write()
    w.run("reload", check=0)
    assert banner(port, "127.0.0.6").startswith(b"554 5.7.1")
    assert banner(port, "127.0.0.5").startswith(b"220 ")


def test_refused_recipients(make):
    sink = make.peer()
    port, lan = listener(refuse_to=["everybody@sink.test", "closed.test", ".internal.test"])
    w = make.waypost({"sink": sink.gateway()}, listeners={"lan": lan})
    for rcpt in ("everybody@sink.test", "Everybody@SINK.test", "x@closed.test", "x@a.internal.test"):
        assert hand_in(w, port, rcpt=rcpt) == \
            b"550 5.7.1 no mail to this recipient is taken here (listeners.lan.refuse_to)\r\n"
    # The others of the same message get it.
    with w.connect(port) as c:
        c.say("EHLO client.test")
        c.say("MAIL FROM:<a@client.test>")
        assert c.say("RCPT TO:<x@closed.test>").startswith(b"550 5.7.1")
        assert c.say("RCPT TO:<b@sink.test>").startswith(b"250")
        assert c.say("DATA").startswith(b"354")
        assert c.say(b"Subject: x\r\n\r\nx\r\n.\r\n").startswith(b"250")
    assert sink.await_message().rcpts == ["b@sink.test"]


@pytest.fixture
def names(tmp_path):
    n = Names(tmp_path / "names", {"good.test": "@ MX 10 mx\nmx A 127.0.0.2\nhost A 127.0.0.3\nv6 AAAA ::2\n"
                                                "text TXT nothing\nnull MX 0 .\n"}, broken=["broken.test"]).start()
    yield n
    n.stop()


def test_sender_domain(make, names):
    sink = make.peer()
    strict, one = listener(sender_domain="check")
    easy, two = listener()
    w = make.waypost({"sink": sink.gateway()}, listeners={"strict": one, "easy": two},
                     dns={"servers": [names.server()]})
    for sender in ("a@good.test", "a@host.good.test", "a@v6.good.test", "", "a@[127.0.0.1]", "a@broken.test"):
        assert hand_in(w, strict, sender=sender).startswith(b"250"), sender
    for sender, code, why in (("a@none.good.test", b"550 5.1.8", b"does not exist"),
                              ("a@text.good.test", b"550 5.1.8", b"has neither MX nor address"),
                              ("a@null.good.test", b"550 5.7.27", b"takes no mail (null MX)")):
        reply = hand_in(w, strict, sender=sender)
        assert reply.startswith(code) and why in reply and b"(listeners.strict.sender_domain)" in reply
        assert hand_in(w, easy, sender=sender).startswith(b"250")
    # When DNS is gone nobody is refused.
    names.stop()
    assert hand_in(w, strict, sender="a@other.good.test").startswith(b"250")
    sink.await_message(count=10)


def test_counts(make):
    sink = make.peer()
    port, lan = listener(clients=["127.0.0.0/8"], deny=["127.0.0.5"], refuse_to=["no@sink.test"], connections=9)
    other, quiet = listener()
    w = make.waypost({"sink": sink.gateway()}, listeners={"lan": lan, "quiet": quiet})

    def counts(name="lan"):
        return next(c for c in w.json("listener", "list")["listeners"] if c["name"] == name)

    assert counts() == {"name": "lan", "addresses": [f"127.0.0.1:{port}"], "open": 0, "connections": 0, "turned_away": 0,
                        "messages": 0, "refused": 0, "limit": 9, "limit_per_client": 200}
    banner(port, "127.0.0.5")
    with w.connect(port) as c:
        c.say("EHLO client.test")
        assert c.hand_in(message()).startswith(b"250")
        assert c.hand_in(message(), rcpt="no@sink.test").startswith(b"550")
        until("the one turned away is gone", lambda: counts()["open"] == 1)
        assert counts()["messages"] == 1
        assert c.say("RSET").startswith(b"250")
        assert c.hand_in(b"Subject: x\n\nx\r\n").startswith(b"550 5.6.11")
        w.await_event("refused", "message from client 127.0.0.1")
        c.say("QUIT")
        assert c.line() == b""
    w.run("reload", check=0)
    seen = counts()
    assert [seen[k] for k in ("open", "connections", "turned_away", "messages", "refused")] == [0, 2, 1, 1, 2]
    assert counts("quiet")["connections"] == 0
    w.run("sendmail", "b@sink.test", input=b"Subject: x\n\nx\n", check=0)
    assert counts("submit")["messages"] == 1
    assert w.json("status")["listeners"] == w.json("listener", "list")["listeners"]
    shown = w.run("listener", "list", check=0).out
    assert "LISTENER" in shown and f"127.0.0.1:{port}" in shown and "0/9" in shown


def test_timeout(make):
    port, lan = listener(timeout="4s")
    w = make.waypost({"sink": make.peer().gateway()}, listeners={"lan": lan})
    with w.connect(port) as idle, w.connect(port) as mute:
        for command in ("EHLO client.test", "MAIL FROM:<a@client.test>", "RCPT TO:<b@sink.test>", "DATA"):
            mute.say(command)
        mute.send(b"Subject: ne")
        assert idle.reply() == b"421 4.4.2 no command came for 4 seconds; goodbye\r\n"
        assert mute.reply() == b"421 4.4.2 no part of the message came for 4 seconds; goodbye\r\n"
        assert idle.line() == mute.line() == b""


def events(path):
    """What the log file says; a line that is being written is not yet one."""
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]] if path.exists() else []


def said(path, event, text=""):
    return [e for e in events(path) if e["event"] == event and text in e["text"]]


def test_log_file(make, tmp_path):
    log, other = tmp_path / "waypost.log", tmp_path / "other.log"
    w = make.waypost({"sink": make.peer().gateway()}, start=False,
                     log={"format": "json", "level": "info", "file": str(log)})
    w.start(wait=False)
    until("ready", lambda: said(log, "ready"))
    assert log.stat().st_mode & 0o137 == 0
    first = w.send(message())
    until("the message", lambda: [e for e in said(log, "relayed") if e["id"] == first])
    # Moved away, it goes on being written until the signal; nothing is lost in between.
    log.rename(tmp_path / "waypost.log.1")
    second = w.send(message())
    until("the second", lambda: [e for e in said(tmp_path / "waypost.log.1", "relayed") if e["id"] == second])
    os.kill(w.pid(), signal.SIGHUP)
    until("the reload", lambda: said(log, "reloaded"))
    w.send(message())
    until("the third", lambda: said(log, "relayed"))
    # A file that cannot be: everything stays as it was.
    w.conf["log"]["file"] = str(tmp_path / "no" / "where")
    w.write()
    done = w.run("reload")
    assert done.returncode != 0 and "cannot log to" in done.out + done.err
    w.conf["log"].update(file=str(other), level="debug")
    w.write()
    count = len(said(log, "relayed"))
    w.send(message())
    until("still the old one", lambda: len(said(log, "relayed")) == count + 1)
    w.run("reload", check=0)
    w.send(message())
    until("the other file, and debug", lambda: said(other, "relayed") and said(other, "closed"))
    assert len(said(log, "relayed")) == count + 1 and w.find("relayed") == []


def test_log_file_that_cannot_be(make, tmp_path):
    w = make.waypost({}, start=False, log={"format": "json", "file": str(tmp_path / "no" / "log")})
    w.start(wait=False)
    w.await_event("cannot-start", "cannot log to .*/no/log")
    assert w.process.wait(PATIENCE) == 69
    w.process = None
