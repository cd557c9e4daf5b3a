# SPDX-License-Identifier: ISC
"""The control socket: who may ask what, and clients that do not behave."""
import fcntl
import json
import os
import pathlib
import pty
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import termios
import time

import pytest

from lib.mail import message
from lib.wait import until
from lib.waypost import BINARY

NOBODY, OTHER = 65534, 65533

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="becomes other users")


@pytest.fixture
def site(make):
    """A daemon that every user can reach; its gateway puts everything off."""
    class Site:
        pass
    s = Site()
    s.sink = make.peer()
    s.sink.on["RCPT"] = lambda session, line: "450 4.2.0 come later"
    # pytest's own directories are closed to others.
    top = pathlib.Path(tempfile.mkdtemp(prefix="waypost-e2e-"))
    top.chmod(0o755)
    s.program = top / "waypost"
    shutil.copy(BINARY, s.program)
    make.top = top
    s.waypost = make.waypost({"isp": s.sink.gateway()})
    s.waypost.file.chmod(0o644)
    s.socket = s.waypost.dir / "run" / "control.sock"

    def as_user(uid, *args, input=None):
        done = subprocess.run([s.program, "--config", s.waypost.file, *args], input=input, user=uid, group=uid,
                              extra_groups=[], capture_output=True, timeout=60, cwd="/", env=s.waypost.env)
        done.out, done.err = done.stdout.decode(), done.stderr.decode()
        return done
    s.as_user = as_user

    def hand_in(uid, subject):
        env = dict(s.waypost.env, WAYPOST_CONFIG=str(s.waypost.file))
        subprocess.run([s.program, "sendmail", "x@y.test"], user=uid, group=uid, extra_groups=[], env=env, cwd="/",
                       input=f"From: a@client.test\nSubject: {subject}\n\nhi\n".encode(), check=True)
        event = s.waypost.await_event("deferred", count=1, since=s.seen)
        s.seen = len(s.waypost.events)
        return event["id"]
    s.seen = 0
    s.hand_in = hand_in
    yield s
    s.waypost.stop()
    shutil.rmtree(top)


# ---- Other users ----

@needs_root
def test_users_see_their_own_mail_only(site):
    mine, theirs = site.hand_in(NOBODY, "mine"), site.hand_in(OTHER, "theirs")
    for args in (["queue"], ["queue", "classic"], ["log"], ["queue", "--json"], ["log", "--json"]):
        out = site.as_user(NOBODY, *args).out
        assert mine in out and theirs not in out, args
    for args in (["queue", "show", theirs], ["log", theirs]):
        done = site.as_user(NOBODY, *args)
        assert done.returncode == 65 and "theirs" not in done.out + done.err
    assert "mine" in site.as_user(NOBODY, "log", mine).out
    assert mine not in site.as_user(NOBODY, "queue", "*@nowhere.test").out
    both = site.waypost.run("queue", check=0).out
    assert mine in both and theirs in both


@needs_root
def test_users_order_their_own_mail_only(site):
    w = site.waypost
    mine, theirs = site.hand_in(NOBODY, "mine"), site.hand_in(OTHER, "theirs")
    for order in ("hold", "release", "drop", "retry"):
        done = site.as_user(NOBODY, "queue", order, theirs)
        assert done.returncode == 65 and "not in the queue" in done.err
    assert site.as_user(NOBODY, "queue", "hold", mine).returncode == 0
    assert site.as_user(NOBODY, "queue", "release", mine).returncode == 0
    w.run("queue", "hold", mine, "--reason", "evidence", check=0)
    for order in ("release", "drop"):
        done = site.as_user(NOBODY, "queue", order, mine)
        assert done.returncode == 65 and "somebody else" in done.err
    w.run("queue", "release", mine, check=0)
    assert site.as_user(NOBODY, "queue", "retry", "all").returncode == 0
    until("the drop", lambda: site.as_user(NOBODY, "queue", "drop", mine).returncode == 0)
    assert [m["id"] for m in w.queue()] == [theirs]


@needs_root
def test_users_learn_little_of_the_daemon(site):
    site.hand_in(NOBODY, "mine")
    site.hand_in(OTHER, "theirs")
    done = site.as_user(NOBODY, "status")
    assert done.returncode == 0 and "1 message" in done.out and "isp" not in done.out
    said = json.loads(site.as_user(NOBODY, "status", "--json").out)
    assert said["queue"]["messages"] == 1 and "gateways" not in said
    for args in (["stop"], ["reload"], ["gateway", "list"], ["route", "explain", "--to", "a@b.test"]):
        done = site.as_user(NOBODY, *args)
        assert done.returncode == 77 and "root" in done.err, args
    assert site.waypost.alive()


@needs_root
def test_users_explain_their_own_mail_only(site):
    mine, theirs = site.hand_in(NOBODY, "mine"), site.hand_in(OTHER, "theirs")
    assert "x@y.test" in site.as_user(NOBODY, "route", "explain", mine).out
    done = site.as_user(NOBODY, "route", "explain", theirs)
    assert done.returncode == 65 and "neither in the queue nor in the history" in done.err
    done = site.as_user(NOBODY, "route", "explain", "--to", "a@b.test")
    assert done.returncode == 77 and "route explain ID" in done.err
    site.waypost.run("queue", "drop", mine, theirs, check=0)
    assert mine in site.as_user(NOBODY, "route", "explain", mine).out  # from the history
    assert site.as_user(NOBODY, "route", "explain", theirs).returncode == 65


@needs_root
def test_a_users_retry_wakes_no_gateway_that_rests(site):
    state = lambda: site.waypost.json("gateway", "show", "isp")["gateways"][0]
    site.sink.stop()
    mine = site.hand_in(NOBODY, "mine")
    for order in ([mine], ["all"]):
        assert site.as_user(NOBODY, "queue", "retry", *order).returncode == 0
    assert state()["trouble"] == 1
    site.waypost.run("queue", "retry", mine, check=0)
    until("it is asked again", lambda: state()["trouble"] > 1)


@needs_root
def test_a_closed_configuration_hinders_nobody_else(site):
    site.waypost.file.chmod(0o600)
    done = site.as_user(NOBODY, "status")
    assert done.returncode == 69 and "/run/waypost" in done.err  # what is built in


# ---- Clients that do not behave ----

def opened(site, data=b""):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(20)
    s.connect(str(site.socket))
    try:
        s.sendall(data)
    except OSError:
        pass  # closed already
    return s


def ended(s):
    """What came until the end."""
    got = b""
    try:
        while piece := s.recv(65536):
            got += piece
    except ConnectionError:
        pass
    s.close()
    return got


@pytest.mark.parametrize("data", [
    b"\x00\xff\x10garbage!!1234"[:16], os.urandom(16), b"\n\n", b"waypost 2\nstatus\n\n", b"waypost 1 x\nstatus\n\n",
    b"waypost 1\n\n", b"waypost 1\n" + b"a\n" * 100 + b"\n", b"x" * (1 << 20), b"waypost 1\n" + b"x" * (1 << 20),
], ids=["octets", "random", "empty", "version", "width", "nothing", "many", "long", "long-argument"])
def test_garbage_closes_that_connection_only(site, data):
    other = opened(site, b"waypost 1\nstat")
    assert ended(opened(site, data)) == b""
    other.sendall(b"us\n-q\n\n")
    assert ended(other) == b"x 0\n"


def test_half_a_request_is_not_waited_for_for_ever(site):
    began = time.monotonic()
    half = [opened(site), opened(site, b"waypost 1\nstatus\n")]
    for s in half:
        assert ended(s) == b""
    assert time.monotonic() - began > 3


def test_operators_find_a_place_beside_silent_users(site):
    silent = [opened(site) for _ in range(199)]
    site.waypost.run("status", "-q", check=0)
    more = [opened(site) for _ in range(10)]
    assert b"too many" in ended(more[-1])
    for s in silent + more:
        s.close()
    until("a place", lambda: site.waypost.run("status", "-q").returncode == 0)


@needs_root
def test_one_user_takes_no_more_than_a_few_places(site):
    script = ("import socket, sys\nheld = []\nfor _ in range(200):\n s = socket.socket(socket.AF_UNIX)\n"
              " s.connect(sys.argv[1])\n held.append(s)\nprint(held[-1].recv(100).decode(), flush=True)\ninput()\n")
    hog = subprocess.Popen(["/usr/bin/env", "python3", "-c", script, str(site.socket)], user=NOBODY, group=NOBODY,
                           extra_groups=[], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/")
    assert b"too many" in hog.stdout.readline()
    assert site.as_user(OTHER, "status", "-q").returncode == 0
    site.waypost.run("status", "-q", check=0)
    hog.communicate(b"\n")


# ---- Following, pipes, terminals ----

def follower(site, *args, **how):
    return subprocess.Popen([site.program, "--config", site.waypost.file, "log", "-f", *args],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=site.waypost.env, **how)


def test_follow_tells_what_comes_and_ends_quietly(site):
    w = site.waypost
    old = w.send(message(subject="before"))
    w.await_event("deferred", id=old)
    every, since, none = (follower(site, *args) for args in ([], ["--since", "1h"], ["--class", "quota"]))
    for f in (every, since, none):
        assert b"SUBJECT" in f.stdout.readline()
    assert old.encode() in since.stdout.readline()
    new = w.send(message(subject="=?utf-8?q?after=C3=A4?="))
    for f in (every, since):
        line = f.stdout.readline()
        while new.encode() not in line:
            line = f.stdout.readline()
        assert "after\u00e4" in line.decode()
    for f in (every, since, none):
        f.send_signal(signal.SIGTERM)
        out, err = f.communicate(timeout=60)
        assert f.returncode == -signal.SIGTERM and err == b""
    assert new.encode() not in out and w.alive()


def test_follow_ends_with_the_daemon(site):
    f = follower(site)
    f.stdout.readline()
    site.waypost.stop()
    _, err = f.communicate(timeout=60)
    assert f.returncode == 69 and b"closed" in err


def test_a_pipe_that_closes_is_no_error(site):
    for i in range(3):
        site.waypost.send(message(subject=f"m{i}"))
    done = subprocess.run(["sh", "-c", f"{site.program} --config {site.waypost.file} log | head -1; "
                           f"{site.program} --config {site.waypost.file} log -f | head -1"],
                          capture_output=True, timeout=60, env=site.waypost.env)
    assert done.stderr == b"" and done.stdout.count(b"ACCEPTED") == 2
    assert site.waypost.alive()


def test_a_terminal_keeps_columns_in_line(site):
    w = site.waypost
    long = "a-very-long-name-of-a-recipient-indeed@a-long-host-name.sink.test"
    w.await_event("deferred", id=w.send(message(), rcpt=long))
    assert long in w.run("queue", check=0).out
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 25, 120, 0, 0))
    subprocess.run([w.binary, "--config", str(w.file), "queue"], stdout=slave, check=True, env=w.env)
    os.close(slave)
    shown = b""
    try:
        while piece := os.read(master, 65536):
            shown += piece
    except OSError:
        pass  # all is read, and nobody writes any more
    os.close(master)
    head, line = shown.decode().splitlines()[:2]
    assert "…" in line and head.index("STATE") == line.index("waiting")
