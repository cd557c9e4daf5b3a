# SPDX-License-Identifier: ISC
"""Listeners in mode `proxy`: mail passes through while its client waits, and the client hears what the next server says.
Nothing is ever queued."""
import signal
import smtplib
import ssl
import subprocess
import threading

import pytest

from lib.mail import message, name_of
from lib.peer import CLOSE, RESET, SILENCE
from lib.wait import free_port, until


def proxy(**more):
    port = free_port()
    return port, {"through": {"address": [f"127.0.0.1:{port}"], "mode": "proxy", **more}}


@pytest.fixture
def through(make):
    """A maker of daemons with one listener in mode proxy, which is `w.port`."""
    def build(gateways, listener=None, **settings):
        port, listeners = proxy(**(listener or {}))
        w = make.waypost(gateways, start=False, listeners=listeners, **settings)
        w.port = port
        return w.start()
    return build


def nothing_waits(w):
    assert w.queue() == [], w.tail()


def kept(w, state, count=1):
    """The newest messages of the log in that state."""
    def look():
        found = w.json("log")
        found = found if isinstance(found, list) else [found]
        return [m for m in found if m["state"] == state]
    return until(f"{count} in the log as {state}", lambda: len(look()) >= count and look(), 30)


def big(size):
    return message((b"0123456789" * 7 + b"\r\n") * (size // 72))


def begin(w, rcpt=None, sender="a@client.test"):
    c = w.connect()
    c.say("EHLO client.test")
    assert c.say(f"MAIL FROM:<{sender}>").startswith(b"250 ")
    return c, c.say(f"RCPT TO:<{rcpt}>") if rcpt else None


# ---- The next server's own words ----

def test_the_250_is_the_next_servers(make, through):
    peer = make.peer()
    peer.on["RCPT"] = "250 2.1.5 fine with peer"
    peer.on["."] = "250 2.0.0 queued as PEER77"
    w = through({"up": peer.gateway()})
    sent = message()
    with w.connect() as c:
        assert b"DSN" not in c.say("EHLO client.test")
        assert c.say("MAIL FROM:<a@client.test>").startswith(b"250 ")
        assert c.say("RCPT TO:<b@sink.test>") == b"250 2.1.5 fine with peer\r\n"
        assert c.say("DATA").startswith(b"354")
        assert c.say(sent + b".\r\n") == b"250 2.0.0 queued as PEER77\r\n"
    got = peer.await_message(name_of(sent))
    assert got.rcpts == ["b@sink.test"] and got.data.startswith(b"Received: from client.test")
    assert got.data.endswith(sent)
    nothing_waits(w)
    m = kept(w, "relayed")[0]
    assert m["gateway"] == "up"
    shown = w.run("log", m["id"], check=0).out
    assert "passed through from 127.0.0.1 at listener through, not kept" in shown and "PEER77" in shown
    assert "on disk" not in shown
    assert w.json("status")["since_start"]["passed"] == 1
    assert "1 message passed through" in w.run("status", check=0).out


@pytest.mark.parametrize("text", [
    "550 5.1.1 no such user", "450 4.2.0 greylisted, come again in 5 minutes",
    "550-5.7.1 this is the first line\r\n550-5.7.1 and the second\r\n550 5.7.1 see https://peer.test/why"])
def test_a_refused_recipient(make, through, text):
    peer = make.peer()
    peer.on["RCPT"] = lambda s, line: text if b"nobody" in line else None
    w = through({"up": peer.gateway()})
    sent = message()
    c, reply = begin(w, "nobody@sink.test")
    with c:
        assert reply == text.encode() + b"\r\n"
        assert c.say("RCPT TO:<b@sink.test>").startswith(b"250 2.1.5 ok")
        assert c.say("RCPT TO:<nobody@sink.test>") == text.encode() + b"\r\n"
        assert c.say("RCPT TO:<c@sink.test>").startswith(b"250 ")
        assert c.say("RCPT TO:<d@sink.test>").startswith(b"250 ")
        # Lost in between, all that were taken are asked again, and nobody else.
        peer.sessions[-1].sock.shutdown(2)
        assert c.say("RCPT TO:<nobody@sink.test>") == text.encode() + b"\r\n"
        assert c.say("RCPT TO:<e@sink.test>").startswith(b"250 ")
        c.say("DATA")
        assert c.say(sent + b".\r\n").startswith(b"250 2.0.0 kept")
    assert peer.await_message(name_of(sent)).rcpts == [f"{x}@sink.test" for x in "bcde"]
    nothing_waits(w)


def test_a_refused_sender_is_told_with_the_first_recipient(make, through):
    peer = make.peer()
    peer.on["MAIL"] = "553 5.1.8 this sender is not known here"
    w = through({"up": peer.gateway()})
    c, reply = begin(w, "b@sink.test")
    with c:
        assert reply == b"553 5.1.8 this sender is not known here\r\n"


def test_a_refusal_at_the_end(make, through):
    peer = make.peer()
    peer.on["."] = "554-5.6.0 not liked\r\n554 5.6.0 (content)"
    w = through({"up": peer.gateway()})
    c, reply = begin(w, "b@sink.test")
    with c:
        c.say("DATA")
        assert c.say(message() + b".\r\n") == b"554-5.6.0 not liked\r\n554 5.6.0 (content)\r\n"
        # The session goes on.
        peer.on.clear()
        assert c.hand_in(message()).startswith(b"250 2.0.0 kept")
    nothing_waits(w)
    assert kept(w, "relayed")
    shown = w.run("log", kept(w, "returned")[0]["id"], check=0).out
    assert "to b@sink.test: refused" in shown and "its client was told" in shown


def test_a_used_up_allowance_is_told_or_goes_another_way(make, through):
    full, other = make.peer(), make.peer()
    full.on["."] = "550 5.4.5 Daily user sending quota exceeded."
    w = through({"full": full.gateway(priority="high")})
    c, _ = begin(w, "b@sink.test")
    with c:
        c.say("DATA")
        assert c.say(message() + b".\r\n") == b"550 5.4.5 Daily user sending quota exceeded.\r\n"
    nothing_waits(w)
    w = through({"full": full.gateway(priority="high"), "other": other.gateway()})
    sent = message()
    assert w.send(sent) and len(other.named(name_of(sent))) == 1
    w.await_event("next-way", "full")
    # And full rests: the next does not ask it.
    count = len(full.messages)
    w.send(message())
    assert len(full.messages) == count


# ---- Fail-over ----

@pytest.mark.parametrize("how", ["refused", "greeting", "closed", "auth"])
def test_the_next_gateway_takes_over_within_the_session(make, through, how):
    bad, good = make.peer(), make.peer()
    more = {}
    if how == "refused":
        bad.stop()
    elif how == "greeting":
        bad.on["banner"] = "421 4.3.2 not now"
    elif how == "closed":
        bad.on["EHLO"] = CLOSE
    elif how == "auth":
        bad.ehlo.append("AUTH PLAIN")
        bad.on["AUTH"] = "535 5.7.8 wrong password"
        more = {"user": "u", "password": "p", "auth_in_clear": True}
    w = through({"bad": bad.gateway(priority="high", **more), "good": good.gateway()})
    sent = message()
    w.send(sent)
    assert good.await_message(name_of(sent))
    nothing_waits(w)
    m = kept(w, "relayed")[0]
    assert m["gateway"] == "good" and "bad:" in w.run("log", m["id"], check=0).out


@pytest.mark.parametrize("where", ["RCPT", "DATA"])
def test_recipients_that_were_taken_are_asked_again_elsewhere(make, through, where):
    bad, good = make.peer(), make.peer()
    bad.on[where] = lambda s, line: CLOSE if where == "DATA" or b"c@" in line else None
    w = through({"bad": bad.gateway(priority="high"), "good": good.gateway()})
    sent = message()
    reply = w.send(sent, rcpt=["b@sink.test", "c@sink.test"])
    assert reply and good.await_message(name_of(sent)).rcpts == ["b@sink.test", "c@sink.test"]
    assert not bad.messages


def test_who_was_taken_and_is_refused_elsewhere_is_told_to_come_again(make, through):
    bad, good = make.peer(), make.peer()
    bad.on["DATA"] = RESET
    good.on["RCPT"] = "550 5.1.1 not here"
    w = through({"bad": bad.gateway(priority="high"), "good": good.gateway()})
    c, reply = begin(w, "b@sink.test")
    with c:
        assert reply.startswith(b"250 ")
        c.say("DATA")
        r = c.say(message() + b".\r\n")
        assert r[:3] in (b"451", b"550"), r
    nothing_waits(w)
    assert not good.messages


def test_without_a_way_left_the_client_hears_why(make, through):
    bad = make.peer()
    bad.stop()
    w = through({"bad": bad.gateway()})
    for _ in range(2):
        c, reply = begin(w, "b@sink.test")
        with c:
            assert reply.startswith(b"451 4.4.") and b"refused" in reply and b"bad" in reply, reply
    nothing_waits(w)


def test_a_connection_that_ended_while_the_client_was_slow_is_made_anew(make, through):
    peer = make.peer()
    w = through({"up": peer.gateway()})
    sent = message()
    c, _ = begin(w, "b@sink.test")
    with c:
        first = peer.sessions[-1]
        first.sock.shutdown(2)
        peer.wait("the connection is gone", lambda: first not in peer.open)
        assert c.say("RCPT TO:<c@sink.test>").startswith(b"250 ")
        c.say("DATA")
        assert c.say(sent + b".\r\n").startswith(b"250 2.0.0 kept")
    assert peer.await_message(name_of(sent)).rcpts == ["b@sink.test", "c@sink.test"]
    assert len(peer.sessions) == 2


# ---- Doubt ----

@pytest.mark.parametrize("how", [CLOSE, RESET])
def test_lost_after_the_dot_is_in_doubt_and_goes_nowhere_else(make, through, how):
    peer, other = make.peer(), make.peer()
    peer.on["."] = how
    w = through({"up": peer.gateway(priority="high"), "other": other.gateway()})
    c, _ = begin(w, "b@sink.test")
    with c:
        c.say("DATA")
        reply = c.say(message() + b".\r\n")
        assert reply.startswith(b"451 4.4.2 in doubt"), reply
    w.await_event("in-doubt", "up .*it may have the message")
    assert len(peer.messages) == 1 and not other.messages
    nothing_waits(w)
    assert kept(w, "returned")[0]["class"] == "doubt"


# ---- Clients that leave, big ones, many ----

def test_a_client_that_leaves_frees_the_connection(make, through):
    peer = make.peer()
    w = through({"up": peer.gateway(limits={"connections": 1})})
    for _ in range(3):
        c, reply = begin(w, "b@sink.test")
        assert reply.startswith(b"250 ")
        c.send(b"DATA\r\nSubject: half\r\n\r\nha")
        c.sock.close()
    sent = message()
    w.send(sent)  # there is but one connection
    assert len(peer.messages) == 1
    nothing_waits(w)
    shown = w.run("log", kept(w, "dropped", 3)[0]["id"], check=0).out
    assert "dropped by its client, which left" in shown


def test_a_client_that_leaves_while_the_server_thinks(make, through):
    peer = make.peer()
    peer.on["RCPT"] = SILENCE
    w = through({"up": peer.gateway(limits={"connections": 1})})
    c, _ = begin(w)
    c.send(b"RCPT TO:<b@sink.test>\r\n")
    peer.wait("it was asked", lambda: peer.sessions and any(b"RCPT" in x for x in peer.sessions[-1].commands))
    c.sock.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER: RST
    c.sock.close()
    peer.wait("the connection ended", lambda: not peer.open)
    peer.on.clear()
    w.send(message())


@pytest.mark.parametrize("size", [300_000, 20_000_000])
def test_big_bodies(make, through, size):
    peer = make.peer()
    w = through({"up": peer.gateway()})
    sent = big(size)
    w.send(sent)
    assert peer.await_message(name_of(sent)).data.endswith(sent)
    nothing_waits(w)
    until("no file is left", lambda: not [f for f in (w.dir / "spool/bodies").iterdir() if "spare" not in f.name
                                          and f.name.startswith("tmp-")], 30)


def test_many_clients_at_once_share_the_connections(make, through):
    peer = make.peer()
    w = through({"up": peer.gateway(limits={"connections": 3})})
    sent, faults = [message() for _ in range(40)], []

    def send(part):
        try:
            with smtplib.SMTP("127.0.0.1", w.port, timeout=60) as s:
                for m in part:
                    s.sendmail("a@client.test", ["b@sink.test", "c@sink.test"], m)
        except Exception as e:  # noqa: BLE001: told below
            faults.append(e)

    threads = [threading.Thread(target=send, args=(sent[i::8],)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not faults
    assert all(len(peer.named(name_of(m))) == 1 for m in sent)
    assert len(peer.sessions) < 40  # connections are used again
    nothing_waits(w)


# ---- Ways ----

def test_one_way_at_a_time(make, through):
    one, two = make.peer(), make.peer()
    w = through({"one": one.gateway(), "two": two.gateway()},
                routes=[{"to": ["*@two.test"], "via": ["two"]}, {"via": ["one"]}])
    sent = message()
    c, reply = begin(w, "b@one.test")
    with c:
        assert reply.startswith(b"250 ")
        reply = c.say("RCPT TO:<b@two.test>")
        assert reply.startswith(b"451 4.5.3") and b"one way at a time" in reply
        assert c.say("RCPT TO:<c@one.test>").startswith(b"250 ")
        c.say("DATA")
        assert c.say(sent + b".\r\n").startswith(b"250 ")
        assert c.hand_in(sent, rcpt="b@two.test").startswith(b"250 ")
    assert one.await_message(name_of(sent)).rcpts == ["b@one.test", "c@one.test"]
    assert two.await_message(name_of(sent)).rcpts == ["b@two.test"]


def test_the_gateway_picked_by_hand(make, through):
    one, two = make.peer(), make.peer()
    w = through({"one": one.gateway(priority="high"), "two": two.gateway()})
    for command, peer in ((["use", "two"], two), (["next"], one), (["use", "two"], two), (["auto"], one)):
        w.run("gateway", *command, check=0)
        sent = message()
        w.send(sent)
        assert len(peer.named(name_of(sent))) == 1, command


def test_allowances_are_spent_and_never_overrun(make, through):
    one, two = make.peer(), make.peer()
    w = through({"one": one.gateway(priority="high", limits={"recipients_per_day": 3}), "two": two.gateway()})
    for _ in range(2):
        w.send(message())
    c, reply = begin(w, "b@sink.test")
    with c:
        assert reply.startswith(b"250 ")
        assert c.say("RCPT TO:<c@sink.test>").startswith(b"451 ")
        c.say("DATA")
        assert c.say(message() + b".\r\n").startswith(b"250 ")
    assert sum(len(m.rcpts) for m in one.kept) == 3
    w.send(message())
    assert sum(len(m.rcpts) for m in one.kept) == 3 and len(two.kept) == 1


def test_health_learns_from_what_passes(make, through):
    bad, good = make.peer(), make.peer()
    bad.stop()
    w = through({"bad": bad.gateway(priority="high"), "good": good.gateway()})
    w.send(message())
    w.await_event("resting", "bad")
    states = {g["name"]: g["state"] for g in w.json("gateway", "list")["gateways"]}
    assert states["bad"] in ("resting", "probing") and states["good"] == "up"


def test_octets_are_charged_before_the_message_goes(make, through):
    one = make.peer()
    w = through({"one": one.gateway(limits={"bytes_per_day": "100KiB"})})
    w.send(big(40_000))
    c, reply = begin(w, "b@sink.test")
    with c:
        assert reply.startswith(b"250 ")
        c.say("DATA")
        assert c.say(big(80_000) + b".\r\n").startswith(b"451 4.4.0 the allowance of gateway one")
    assert len(one.messages) == 1
    until("the refused one is given back",
          lambda: w.json("gateway", "show", "one")["gateways"][0]["quotas"][0]["used"] < 60_000)
    w.send(big(40_000))


def test_room_at_the_gateway_is_waited_for(make, through):
    peer = make.peer()
    w = through({"up": peer.gateway(limits={"connections": 1})})
    first, reply = begin(w, "b@sink.test")
    assert reply.startswith(b"250 ")
    second, _ = begin(w)
    second.send(b"RCPT TO:<c@sink.test>\r\n")
    # Nothing tells that it waits; it has no answer while the first holds the connection.
    second.sock.settimeout(1)
    with pytest.raises(TimeoutError):
        second.sock.recv(1)
    second.sock.settimeout(60)
    with first, second:
        first.say("DATA")
        assert first.say(message() + b".\r\n").startswith(b"250 ")
        assert second.reply().startswith(b"250 ")
        second.say("DATA")
        assert second.say(message() + b".\r\n").startswith(b"250 ")


def test_lmtp_takes_one_recipient_at_a_time(make, through):
    peer = make.peer(lmtp=True)
    w = through({"up": peer.gateway()})
    sent = message()
    c, reply = begin(w, "b@sink.test")
    with c:
        assert reply.startswith(b"250 ")
        assert c.say("RCPT TO:<c@sink.test>").startswith(b"451 4.5.3 ")
        c.say("DATA")
        assert c.say(sent + b".\r\n").startswith(b"250 2.0.0 kept")
    assert peer.await_message(name_of(sent)).rcpts == ["b@sink.test"]
    w.send(message())
    kept(w, "delivered")


# ---- Real servers, real clients ----

def test_through_to_postfix_with_swaks(through, postfix):
    w = through({"up": postfix.gateway()})
    done = subprocess.run(["swaks", "--server", f"127.0.0.1:{w.port}", "--from", "a@client.test", "--to",
                           "someone@sink.test", "--header", "Subject: by swaks", "--body", "one two"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "250 2.0.0 Ok: queued as" in done.stdout, done.stdout
    done = subprocess.run(["swaks", "--server", f"127.0.0.1:{w.port}", "--from", "a@client.test", "--to",
                           "bad..@-"], capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    nothing_waits(w)


def test_tls_and_login_to_the_next_server_and_from_the_client(make, through, certificate, ca, tmp_path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    peer = make.peer(tls=context)
    peer.ehlo.append("AUTH PLAIN")
    peer.on["AUTH"] = "235 2.7.0 welcome"
    users = tmp_path / "users"
    hashed = subprocess.run(["openssl", "passwd", "-6", "secret"], capture_output=True, text=True, check=True)
    users.write_text(f"anna:{hashed.stdout.strip()}\n")
    users.chmod(0o600)
    w = through({"up": {"url": f"smtp+starttls://localhost:{peer.port}", "user": "me", "password": "pw",
                        "ca": str(ca)}},
                listener={"auth": "required", "users": str(users), "tls": "required"})
    sent = message()
    with smtplib.SMTP("127.0.0.1", w.port, timeout=60) as s:
        s.starttls(context=ssl._create_unverified_context())
        s.login("anna", "secret")
        s.sendmail("a@client.test", "b@sink.test", sent)
    got = peer.await_message(name_of(sent))
    assert got.session.tls and any(b"AUTH" in x for x in got.session.commands)


# ---- Life of the daemon ----

def test_kill_9_in_the_middle_leaves_nothing_queued(make, through):
    peer = make.peer()
    peer.on["."] = SILENCE
    w = through({"up": peer.gateway()})
    c, _ = begin(w, "b@sink.test")
    with c:
        c.say("DATA")
        c.send(big(600_000) + b".\r\n")
        peer.await_message()
        w.kill()
    peer.on.clear()
    w.start()
    nothing_waits(w)
    w.send(message())
    assert len(peer.messages) == 2


def test_reload_and_an_orderly_end(make, through):
    peer = make.peer()
    w = through({"up": peer.gateway()})
    sent = message()
    c, _ = begin(w, "b@sink.test")
    with c:
        w.run("reload", check=0)
        c.say("DATA")
        assert c.say(sent + b".\r\n").startswith(b"250 ")
        # Over once more, and the end comes in the middle: it may still be finished.
        assert c.say("MAIL FROM:<a@client.test>").startswith(b"250")
        assert c.say("RCPT TO:<b@sink.test>").startswith(b"250")
        w.process.send_signal(signal.SIGTERM)
        w.await_event("stopping")
        c.say("DATA")
        assert c.say(message() + b".\r\n").startswith(b"250 ")
    assert w._gone() == 0
    w.start()
    nothing_waits(w)
    assert len(kept(w, "relayed", 2)) == 2


def test_a_listener_changes_its_mode_with_a_reload(make, through):
    peer = make.peer()
    peer.on["."] = "250 2.0.0 PEER"
    w = through({"up": peer.gateway()})
    with w.connect() as c:
        c.say("EHLO client.test")
        assert b"PEER" in c.hand_in(message())
    w.conf["listeners"]["through"]["mode"] = "queue"
    w.write()
    w.run("reload", check=0)
    with w.connect() as c:
        c.say("EHLO client.test")
        assert b"on disk" in c.hand_in(message())
