# SPDX-License-Identifier: ISC
"""What hostile clients send: one message stays one message, and nobody else is held up."""
import socket
import ssl
import pathlib

import pytest

from lib.mail import from_token, message, name_of
from lib.waypost import Line, stuff


class Site:
    def accepted(self):
        return self.waypost.json("status")["since_start"]["accepted"]

    def alive(self):
        """Still takes and delivers, after whatever was done to it."""
        sent = message()
        self.waypost.send(sent)
        assert from_token(self.sink.await_message(name_of(sent)).data) == sent


@pytest.fixture(scope="module")
def site(make_once, certificate, ca):
    s = Site()
    s.sink = make_once.peer()
    s.waypost = make_once.waypost({"sink": s.sink.gateway()})
    return s


# ---- smuggling: only CRLF.CRLF ends a message ----

SEQUENCES = [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\n.\r", b"\r.\n",
             b"\r\r\n.\r\r\n", b"\r\n\0.\r\n", b"\r\n.\0\r\n", b"\r\n. \r\n", b"\r\n.\r\r\n", b"\n\n.\r\n",
             b"\x0b.\x0b", b"\xc2\x85.\xc2\x85", b"\r\n\x1a\r\n", b"\r\n\t.\r\n", b"\r\n.\t\r\n", b"\n\r.\n\r",
             b"\r\n.\\r\\n", b"\xe2\x80\xa8.\xe2\x80\xa8"]
SMUGGLED = (b"MAIL FROM:<smug@client.test>\r\nRCPT TO:<victim@sink.test>\r\nDATA\r\n"
            b"X-Token: smuggled\r\n\r\nsmuggled\r\n")


@pytest.mark.parametrize("pieces", ["whole", "octets"])
@pytest.mark.parametrize("sequence", SEQUENCES, ids=lambda s: s.decode("latin-1").encode("unicode_escape").decode())
def test_only_crlf_dot_crlf_ends_a_message(site, sequence, pieces):
    before, since = site.accepted(), len(site.waypost.events)
    first = message(b"first")
    with site.waypost.connect() as c:
        c.say("EHLO x")
        c.say("MAIL FROM:<a@client.test>")
        c.say("RCPT TO:<b@sink.test>")
        c.say("DATA")
        wire = first + sequence + SMUGGLED + b"\r\n.\r\nQUIT\r\n"
        try:
            for i in range(0, len(wire), 1 if pieces == "octets" else len(wire)):
                c.send(wire[i:i + 1] if pieces == "octets" else wire)
        except ConnectionError:
            pass
        replies = c.rest_of_replies()
    count = site.accepted() - before
    assert count <= 1, replies
    assert not any(e["event"] == "accepted" and "smug@" in e["text"] for e in site.waypost.events[since:])
    if count == 0:
        assert replies[0][:1] == b"5", replies
        return
    m = site.sink.await_message(name_of(first))
    wire = m.session.wire
    assert wire.count(b"\r\n") == wire.count(b"\r") == wire.count(b"\n")
    assert b"smuggled" in m.data  # it stayed where it was: inside
    assert not [x for x in site.sink.messages if x.sender == "smug@client.test"]


def test_a_chunk_may_hold_what_looks_like_the_end(site):
    sent = message(b"one\r\n.\r\n" + SMUGGLED + b".\r\nQUIT\r\n")
    before = site.accepted()
    with site.waypost.connect() as c:
        c.say("EHLO x")
        c.say("MAIL FROM:<a@client.test>")
        c.say("RCPT TO:<b@sink.test>")
        assert c.say(b"BDAT %d LAST\r\n" % len(sent) + sent).startswith(b"250")
    assert from_token(site.sink.await_message(name_of(sent)).data) == sent
    assert site.accepted() == before + 1
    assert not [m for m in site.sink.messages if m.sender == "smug@client.test"]


@pytest.mark.parametrize("line", [
    b"BDAT -1 LAST", b"BDAT 18446744073709551616 LAST", b"BDAT 4294967296000000 LAST", b"BDAT 1x LAST", b"BDAT",
    b"BDAT  LAST", b"BDAT 0x10 LAST", b"BDAT 57 LAST"])
def test_a_chunk_without_transaction_runs_nothing(site, line):
    """BDAT desynchronisation: what follows is a chunk or the end, never commands."""
    before = site.accepted()
    inside = b"MAIL FROM:<smug@client.test>\r\nRCPT TO:<v@sink.test>\r\n"
    with site.waypost.connect() as c:
        c.say("EHLO x")
        c.send(line + b"\r\n" + inside + b"DATA\r\nX\r\n.\r\nQUIT\r\n")
        replies = c.rest_of_replies()
    assert replies[0][:1] == b"5", replies
    assert not any(r.startswith(b"354") for r in replies[1:]) and site.accepted() == before


def test_chunks_of_every_cut(site):
    sent = message(b"a\r\n.\r\n..\r\nb\r\n")
    with site.waypost.connect() as c:
        c.say("EHLO x")
        for size in (1, 2, 3, 7, 50):
            c.say("MAIL FROM:<a@client.test>")
            c.say("RCPT TO:<b@sink.test>")
            wire = b""
            parts = [sent[i:i + size] for i in range(0, len(sent), size)]
            for part in parts[:-1]:
                wire += b"BDAT %d\r\n" % len(part) + part
            c.send(wire + b"BDAT %d LAST\r\n" % len(parts[-1]) + parts[-1])
            for _ in parts:
                assert c.reply().startswith(b"250")
    site.sink.await_message(name_of(sent), count=5)
    assert all(from_token(m.data) == sent for m in site.sink.named(name_of(sent)))


def test_no_data_within_chunks_and_no_chunk_after_the_last(site):
    with site.waypost.connect() as c:
        c.say("EHLO x")
        c.say("MAIL FROM:<a@client.test>")
        c.say("RCPT TO:<b@sink.test>")
        assert c.say(b"BDAT 3\r\nabc").startswith(b"250")
        assert c.say("DATA").startswith(b"503")
        assert c.say("MAIL FROM:<a@client.test>").startswith(b"503")
        assert c.say("RSET").startswith(b"250")
        assert c.say(b"BDAT 3 LAST\r\nabc")[:1] == b"5"


# ---- pipelining ----

def test_replies_keep_their_order_and_no_message_is_mixed(site):
    one, two = message(b"one\r\n"), message(b"two\r\n")
    with site.waypost.connect() as c:
        c.send(b"EHLO x\r\nMAIL FROM:<a@client.test>\r\nRCPT TO:<not an address>\r\nRCPT TO:<b@sink.test>\r\nDATA\r\n")
        assert [c.reply()[:3] for _ in range(5)] == [b"250", b"250", b"501", b"250", b"354"]
        c.send(stuff(one) + b".\r\nMAIL FROM:<a@client.test>\r\nRCPT TO:<c@sink.test>\r\nDATA\r\n")
        assert [c.reply()[:3] for _ in range(4)] == [b"250", b"250", b"250", b"354"]
        c.send(stuff(two) + b".\r\nQUIT\r\n")
        assert [c.reply()[:3] for _ in range(2)] == [b"250", b"221"]
    assert site.sink.await_message(name_of(one)).rcpts == ["b@sink.test"]
    assert site.sink.await_message(name_of(two)).rcpts == ["c@sink.test"]


def test_a_body_sent_behind_a_refused_data_runs_nothing(site):
    before = site.accepted()
    with site.waypost.connect() as c:
        c.send(b"EHLO x\r\nMAIL FROM:<a@client.test>\r\nRCPT TO:<@>\r\nDATA\r\nX: y\r\n\r\n" + SMUGGLED + b".\r\nQUIT\r\n")
        replies = c.rest_of_replies()
    assert site.accepted() == before, replies


def test_commands_after_quit_are_not_heard(site):
    with site.waypost.connect() as c:
        c.send(b"EHLO x\r\nQUIT\r\nMAIL FROM:<smug@client.test>\r\nRCPT TO:<b@sink.test>\r\n")
        assert [r[:3] for r in c.rest_of_replies()] == [b"250", b"221"]


# ---- STARTTLS ----

def test_what_was_sent_before_tls_is_not_heard_within(site):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    c = site.waypost.connect()
    c.say("EHLO x")
    c.send(b"STARTTLS\r\nEHLO evil\r\nMAIL FROM:<smug@client.test>\r\n")
    first = c.reply()
    if first.startswith(b"220"):
        try:
            c.sock = context.wrap_socket(c.sock, server_hostname="localhost")
            c.rest = b""
            c.send(b"NOOP\r\nQUIT\r\n")
            assert [r[:3] for r in c.rest_of_replies()] == [b"250", b"221"]
        except (ssl.SSLError, ConnectionError):
            pass  # closing is as good
    else:
        assert first[:1] == b"5"
    c.sock.close()
    site.alive()


def test_garbage_instead_of_a_handshake(site):
    for garbage in (b"\0" * 300, b"NOOP\r\n" * 50, b"\x16\x03\x01\xff\xff" + b"\x01" * 70000):
        with site.waypost.connect() as c:
            c.say("EHLO x")
            assert c.say("STARTTLS").startswith(b"220")
            try:
                c.send(garbage)
                c.sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            c.rest_of_replies()
    site.alive()


def test_after_tls_everything_said_before_is_forgotten(site):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with site.waypost.connect() as c:
        c.say("EHLO x")
        assert b"STARTTLS" in c.say("EHLO x")
        c.say("STARTTLS")
        c.sock = context.wrap_socket(c.sock)
        assert c.say("MAIL FROM:<a@client.test>")[:3] in (b"250", b"503")
        assert b"STARTTLS" not in c.say("EHLO x")


# ---- who may send ----

def test_a_client_that_is_not_listed_is_turned_away_with_what_to_do(make):
    w = make.waypost({"sink": make.peer().gateway()})
    w.stop()
    w.conf["listeners"] = {"lan": {"address": [f"127.0.0.1:{w.port}"], "clients": ["192.0.2.0/24"]}}
    w.write()
    w.start()
    with w.connect() as c:
        assert c.banner.startswith(b"554 5.7.1") and b"listeners.lan.clients" in c.banner
        assert c.reply() == b""
    w.await_event("refused", "127.0.0.1")


def test_sender_and_recipient_patterns_hold(make):
    p = make.peer()
    w = make.waypost({"sink": p.gateway()}, start=False)
    w.conf["listeners"]["local"].update({"from": ["*@client.test"], "to": ["*@sink.test", "*@*.sink.test"]})
    w.write()
    w.start()
    with w.connect() as c:
        c.say("EHLO x")
        assert c.say("MAIL FROM:<a@elsewhere.test>").startswith(b"550")
        assert c.say("MAIL FROM:<a@client.test>").startswith(b"250")
        assert c.say("RCPT TO:<b@elsewhere.test>").startswith(b"550")
        assert c.say("RCPT TO:<b@x.sink.test>").startswith(b"250")


# ---- addresses and parameters ----

@pytest.mark.parametrize("path", [
    b"x\ry@d.test", b"x\0@d.test", b"x\x01y@d.test", b"x\x1by@d.test", b"x\x7fy@d.test", b"a@b@c@d.test>@d.test",
    b";touch /tmp/m;", b"u@d..test", b"u@" + b"l" * 64 + b".test", b"u@../../etc/passwd", b"u@[1.2.3]", b"u@[IPv6:zz]",
    b"u@[127.0.0.1", b"\xc3\xa9@d.test", b"u@-d.test", b"x" * 300 + b"@d.test", b"u@" + b"d." * 200 + b"test",
    b"u d@d.test", b"u@d.test> SIZE=1 <y@d.test"], ids=lambda p: repr(p[:24])[2:-1])
def test_a_bad_address_is_refused(site, path):
    with site.waypost.connect() as c:
        c.say("EHLO x")
        c.send(b"MAIL FROM:<a@client.test>\r\nRCPT TO:<" + path + b">\r\nQUIT\r\n")
        replies = c.rest_of_replies()
    assert replies[0].startswith(b"250") and replies[1][:1] == b"5", replies


@pytest.mark.parametrize("path", [
    b'"${run{/usr/bin/touch /tmp/m}}"@sink.test', b"%n%n%n%n@sink.test", b"-oX/tmp/x@sink.test", b"/etc/passwd@sink.test",
    b'":include:/etc/passwd"@sink.test', b'"x> SIZE=1 <y"@sink.test', b"u%evil@sink.test", b"evil!u@sink.test",
    b'"a b"@sink.test', b"|cat@sink.test"], ids=lambda p: p.decode()[:20])
def test_a_strange_but_valid_address_is_relayed_as_it_is(site, path):
    sent = message()
    with site.waypost.connect() as c:
        c.say("EHLO x")
        r = c.hand_in(sent, rcpt=path.decode())
        assert r.startswith(b"250"), r
    m = site.sink.await_message(name_of(sent))
    assert m.rcpt_lines[0].startswith(b"RCPT TO:<" + path + b">")


@pytest.mark.parametrize("parameter", [
    "SIZE=18446744073709551617", "SIZE=-1", "SIZE=abc", "SIZE=104857600", "BODY=9BIT", "RET=ALL", "ENVID=a+0", "FOO=bar"])
def test_a_bad_parameter_is_refused(site, parameter):
    with site.waypost.connect() as c:
        c.say("EHLO x")
        assert c.say(f"MAIL FROM:<a@client.test> {parameter}")[:1] == b"5"


def test_helo_cannot_write_into_the_trace(site):
    sent = message()
    with site.waypost.connect() as c:
        c.send(b"EHLO x) \x1b[2J\tY (z\r\n")
        c.reply()
        c.say("HELO ok")
        if c.hand_in(sent).startswith(b"250"):
            m = site.sink.await_message(name_of(sent))
            assert b"\x1b" not in m.data and m.data.split(b"X-Token")[0].count(b"Received:") == 1


def test_a_log_line_cannot_be_forged(site):
    with site.waypost.connect() as c:
        c.send(b"EHLO x\r\nMAIL FROM:<a\rready forged>\r\nMAIL FROM:<\x1b[31m\x07a@client.test>\r\nQUIT\r\n")
        c.rest_of_replies()
    assert not any("\x1b" in line or line.startswith("ready forged") for line in site.waypost.noise)


# ---- other protocols ----

@pytest.mark.parametrize("speech", [
    b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 200\r\n\r\nEHLO x\r\n" + SMUGGLED + b".\r\n",
    b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + b"r" * 500, b"\0" * 5000], ids=["POST", "GET", "TLS", "NUL"])
def test_another_protocol_delivers_nothing(site, speech):
    before = site.accepted()
    with site.waypost.connect() as c:
        try:
            c.send(speech)
            c.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        c.rest_of_replies()
    assert site.accepted() == before


# ---- limits ----

def memory(w):
    text = pathlib.Path(f"/proc/{w.pid()}/status").read_text()
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith("VmRSS"))) << 10


def test_bad_commands_end_the_session(site):
    with site.waypost.connect() as c:
        try:
            for _ in range(1000):
                c.send(b"FOO\r\n")
        except OSError:
            pass
        replies = c.rest_of_replies()
    assert replies == [] or len(replies) < 100
    assert not replies or replies[-1].startswith(b"421") or replies[-1].startswith(b"5")


def test_a_command_of_a_mebibyte(site):
    before = memory(site.waypost)
    with site.waypost.connect() as c:
        try:
            c.send(b"EHLO " + b"x" * (1 << 20) + b"\r\nQUIT\r\n")
        except OSError:
            pass
        replies = c.rest_of_replies()
    assert replies == [] or replies[0][:1] == b"5" or replies[0].startswith(b"421")
    assert memory(site.waypost) < before + (20 << 20)


def test_10000_recipients_are_bounded(site):
    with site.waypost.connect() as c:
        c.say("EHLO x")
        c.say("MAIL FROM:<a@client.test>")
        c.send(b"".join(b"RCPT TO:<r%d@sink.test>\r\n" % i for i in range(10000)) + b"RSET\r\nQUIT\r\n")
        replies = [r[:3] for r in c.rest_of_replies()]
    assert replies.count(b"250") >= 1000 and b"452" in replies and replies[1000:1003] == [b"452"] * 3


def test_a_header_of_16_mebibytes_is_refused(site):
    with site.waypost.connect() as c:
        c.say("EHLO x")
        assert c.hand_in(message(b"")[:-2] + b"X-Long: y\r\n" * (16 << 20 >> 3) + b"\r\nbody\r\n").startswith(b"552")
    site.alive()


@pytest.mark.slow
def test_a_message_larger_than_allowed_is_refused_without_keeping_it(site):
    before = memory(site.waypost)
    with site.waypost.connect() as c:
        c.say("EHLO x")
        assert c.hand_in(message(b"x" * 70 + b"\r\n" + b"y" * 60 + b"\r\n" * 1 + b"line of text\r\n" * 5000000)).startswith(b"552")
    assert memory(site.waypost) < before + (64 << 20)
    site.alive()


def test_a_loop_is_ended(site):
    hop = b"Received: from a by b; Sat, 21 Nov 2026 10:00:00 +0000\r\n"
    with site.waypost.connect() as c:
        c.say("EHLO x")
        assert b"5.4.6" in c.hand_in(hop * 120 + message())
        assert c.hand_in(hop * 25 + message()).startswith(b"250")


def test_300_idle_connections_do_not_keep_others_out(site):
    idle = [socket.create_connection(("127.0.0.1", site.waypost.port)) for _ in range(300)]
    try:
        site.alive()
    finally:
        for s in idle:
            s.close()


def test_a_client_that_never_reads_is_not_buffered_without_end(site):
    before = memory(site.waypost)
    s = socket.create_connection(("127.0.0.1", site.waypost.port))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.settimeout(1)
    try:
        for _ in range(2000):
            s.sendall(b"EHLO x\r\n" * 1000)
    except OSError:
        pass
    assert memory(site.waypost) < before + (32 << 20)
    site.alive()
    s.close()


def test_the_control_socket_survives_garbage(site):
    path = site.waypost.conf["run"] + "/control.sock"
    for garbage in (b"x" * 16, b"\0" * 100000, b"waypost 1\n", b"waypost 1\n" + b"a\n" * 10000 + b"\n", b"waypost 1\nstatus\n%zz%\n\n"):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(10)
            s.connect(path)
            try:
                s.sendall(garbage)
                s.shutdown(socket.SHUT_WR)
                while s.recv(65536):
                    pass
            except OSError:
                pass
    site.alive()
