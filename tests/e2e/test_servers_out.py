# SPDX-License-Identifier: ISC
"""Every kind of content arrives at every kind of real server exactly as it was handed in."""
import random
import smtplib

import pytest

from lib.mail import from_token, lf, message, name_of, parse
from lib.waypost import stuff

SERVERS = ["postfix", "exim", "opensmtpd", "lmtp", "submission"]
KIB, MIB = 1 << 10, 1 << 20
SIZES = [0, 1, 999, 4 * KIB, 64 * KIB, MIB, 10 * MIB, 50 * MIB]


class Net:
    """One daemon with a gateway for each server, chosen by the recipient's domain."""


@pytest.fixture(scope="module")
def net(make_once, postfix, exim, opensmtpd, dovecot, ca):
    n = Net()
    n.sink = make_once.peer()
    n.lmtp_sink = make_once.peer(lmtp=True)
    gateways = {"postfix": postfix.gateway(), "exim": exim.gateway(), "opensmtpd": opensmtpd.gateway(),
                "lmtp": dovecot.gateway(), "submission": dovecot.submission(ca), "sink": n.sink.gateway(),
                "lmtpsink": n.lmtp_sink.gateway(),
                "chunks": {}, "plain": {}}
    n.chunks = make_once.peer(ehlo=["CHUNKING", "PIPELINING", "8BITMIME", "SIZE 104857600"])
    n.plain = make_once.peer(ehlo=[])
    gateways["chunks"], gateways["plain"] = n.chunks.gateway(), n.plain.gateway()
    routes = [{"to": [f"*@{name}.test"], "via": [name]} for name in gateways] + [{"via": ["sink"]}]
    n.waypost = make_once.waypost(gateways, routes=routes, dns={"hosts": "/etc/hosts", "servers": ["127.0.0.1:1"]})
    n.box = {"postfix": postfix, "exim": exim, "opensmtpd": opensmtpd, "lmtp": dovecot, "submission": postfix}
    return n


def through(net, server, sent, options=(), rcpt=None):
    rcpt = rcpt or f"box@{server}.test"
    with smtplib.SMTP("127.0.0.1", net.waypost.port, timeout=120) as client:
        client.ehlo()
        client.mail("a@client.test", list(options))
        assert client.rcpt(rcpt)[0] == 250
        assert client.docmd("DATA")[0] == 354
        client.send(stuff(sent) + b".\r\n")
        code, text = client.getreply()
        assert code == 250, text
    stored = net.box[server].await_message(name_of(sent))
    want = lf(sent)
    # Comparing whole messages by == would print them when it fails.
    assert len(stored) == len(want)
    at = next((i for i in range(len(want)) if stored[i] != want[i]), None) if stored != want else None
    assert at is None, f"differs at {at}: {stored[at:at + 40]!r} instead of {want[at:at + 40]!r}"


def text_of(size, seed=1):
    """Lines of all lengths, many beginning with dots; exactly `size` octets and one line end."""
    rng = random.Random(seed * 1000003 + size)
    letters = b"abcdefghijklmnopqrstuvwxyz  .,-=ABCDEFGHIJ0123456789"
    block = bytearray()
    while len(block) < min(size, MIB):
        block += rng.choice((b"", b"", b".", b"..", b"...")) + bytes(rng.choices(letters, k=rng.randrange(76))) + b"\r\n"
    body = (bytes(block) * (size // max(len(block), 1) + 1))[:size]
    return body.rstrip(b"\r\n").ljust(size, b"x") + b"\r\n" if size else b""


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("server", SERVERS)
def test_size(net, server, size):
    through(net, server, message(text_of(size)))


@pytest.mark.parametrize("server", SERVERS)
def test_every_octet_but_nul_cr_lf(net, server):
    line = bytes(b for b in range(1, 256) if b not in b"\r\n")
    through(net, server, message((line + b"\r\n") * 20), options=["BODY=8BITMIME"])


@pytest.mark.parametrize("server", SERVERS)
def test_dots_across_every_buffer_boundary(net, server):
    rng = random.Random(7)
    body = b"".join(b"." * rng.randrange(1, 4) + b"x" * rng.randrange(3) + b"\r\n" for _ in range(60000))
    through(net, server, message(body + b".\r\n"))


@pytest.mark.parametrize("server", ["postfix", "exim", "lmtp"])
@pytest.mark.parametrize("length", [998, 5000, 70000])
def test_long_line(net, server, length):
    through(net, server, message(b"x" * length + b"\r\n.\r\n" + b"." * length + b"\r\n"))


@pytest.mark.parametrize("peer", ["sink", "lmtpsink", "chunks", "plain"])
def test_line_of_one_mebibyte(net, peer):
    sent = message(b"." * MIB + b"\r\n.\r\n\r\n" + b"y" * (MIB + 17) + b"\r\n", rcpt=f"b@{peer}.test")
    with net.waypost.connect() as c:
        c.say("EHLO x")
        assert c.hand_in(sent, rcpt=f"b@{peer}.test").startswith(b"250")
    sink = {"sink": net.sink, "lmtpsink": net.lmtp_sink, "chunks": net.chunks, "plain": net.plain}[peer]
    assert from_token(sink.await_message(name_of(sent)).data) == sent


@pytest.mark.parametrize("peer", ["sink", "chunks"])
def test_last_line_without_end_gets_one(net, peer):
    """BDAT can carry it; on the way out it is a line like any other."""
    sent = message(b"no end")
    with net.waypost.connect() as c:
        c.say("EHLO x")
        c.say("MAIL FROM:<a@client.test>")
        c.say(f"RCPT TO:<b@{peer}.test>")
        assert c.say(b"BDAT %d LAST\r\n" % len(sent) + sent).startswith(b"250")
    sink = {"sink": net.sink, "chunks": net.chunks}[peer]
    assert from_token(sink.await_message(name_of(sent)).data) in (sent, sent + b"\r\n")


@pytest.mark.parametrize("server", ["postfix", "exim"])
def test_utf8_addresses(net, server):
    sent = message("Grüße\r\n".encode(), subject="\u00fc")
    with net.waypost.connect() as c:
        c.say("EHLO x")
        assert c.say("MAIL FROM:<jos\u00e9@client.test> SMTPUTF8 BODY=8BITMIME").startswith(b"250")
        assert c.say(f"RCPT TO:<m\u00fcller@{server}.test>").startswith(b"250")
        c.say("DATA")
        c.send(stuff(sent) + b".\r\n")
        assert c.reply().startswith(b"250")
    assert net.box[server].await_message(name_of(sent)) == lf(sent)


def test_utf8_addresses_return_from_a_server_that_cannot(net):
    sent = message("Grüße\r\n".encode(), subject="\u00fc")
    with net.waypost.connect() as c:
        c.say("EHLO x")
        c.say("MAIL FROM:<a@client.test> SMTPUTF8")
        c.say("RCPT TO:<m\u00fcller@opensmtpd.test>")
        c.say("DATA")
        c.send(stuff(sent) + b".\r\n")
        assert c.reply().startswith(b"250")
    dsn = net.sink.wait("a report", lambda: [m for m in net.sink.messages if m.rcpts == ["a@client.test"]
                                             and name_of(sent).encode() in m.data])[0]
    status = [p for p in parse(dsn.data).walk() if p.get_content_type() == "message/delivery-status"
              or p.get_content_type() == "message/global-delivery-status"]
    assert status and b"5.6.7" in status[0].as_bytes()


def test_nul_is_refused(net):
    sent = message(b"before \0 after\r\n")
    with net.waypost.connect() as c:
        c.say("EHLO x")
        assert c.hand_in(sent).startswith(b"5")
    assert net.sink.named(name_of(sent)) == []


def test_many_recipients_in_one_transaction(net):
    sent = message(b"to many\r\n")
    rcpts = [f"r{i}@sink.test" for i in range(100)]
    with net.waypost.connect() as c:
        c.say("EHLO x")
        assert c.hand_in(sent, rcpt=rcpts).startswith(b"250")
    m = net.sink.await_message(name_of(sent))
    assert sorted(m.rcpts) == sorted(rcpts)
    assert b"r1@" not in m.data  # nobody is shown whom else it went to


def test_1000_recipients_go_in_transactions_of_100(net):
    sent = message(b"to a thousand\r\n")
    rcpts = {f"r{i}@sink.test" for i in range(1000)}
    with net.waypost.connect() as c:
        c.say("EHLO x")
        assert c.hand_in(sent, rcpt=sorted(rcpts)).startswith(b"250")
    net.sink.wait("all of them", lambda: sum(len(m.rcpts) for m in net.sink.named(name_of(sent))) >= 1000)
    parts = net.sink.named(name_of(sent))
    assert all(len(m.rcpts) <= 100 for m in parts)
    assert sorted(r for m in parts for r in m.rcpts) == sorted(rcpts)


def test_lmtp_takes_one_reply_for_each_recipient(net):
    """One refused, one told to come again, one taken: three outcomes of one message."""
    sent = message(b"three\r\n")
    replies = iter(["250 2.0.0 kept", "550 5.1.1 nobody", "250 2.0.0 kept"])
    net.lmtp_sink.on["."] = lambda s, m: next(replies) if m.name == name_of(sent) else None
    with net.waypost.connect() as c:
        c.say("EHLO x")
        assert c.hand_in(sent, rcpt=["a@lmtpsink.test", "b@lmtpsink.test", "c@lmtpsink.test"]).startswith(b"250")
    dsn = net.sink.wait("a report", lambda: [m for m in net.sink.messages if m.rcpts == ["a@client.test"]
                                             and name_of(sent).encode() in m.data])[0]
    net.lmtp_sink.on.clear()
    failed = net.lmtp_sink.named(name_of(sent))[0].rcpts[1]
    assert dsn.data.count(b"Final-Recipient:") == 1 and failed.encode() in dsn.data
