# SPDX-License-Identifier: ISC
"""Mail that stays on this machine: maildirs and programs."""
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import pytest

from conftest import Makers
from lib.mail import from_token, lf, message, name_of
from lib.mta import unpacked
from lib.wait import until

USER = "nobody"


@pytest.fixture
def place():
    """A directory that the daemon's user reaches; the daemon gives up root for it."""
    top = pathlib.Path(tempfile.mkdtemp(prefix="waypost-local-"))
    top.chmod(0o755)
    m = Makers(top)
    m.boxes = top / "boxes"
    m.boxes.mkdir()
    m.mounted = []
    yield m
    m.close()
    for path in m.mounted:
        subprocess.run(["umount", path], check=True)
    assert not os.path.ismount(m.boxes)
    shutil.rmtree(top)


def daemon(place, gateway, **settings):
    settings.setdefault("queue", {"retry": ["1s"]})
    return place.waypost({"local": gateway, "world": {"url": "smtp://127.0.0.1:1"}}, user=USER,
                         routes=[{"to": ["*@home.test"], "via": ["local"]}], **settings)


def box(place, name, mode=0o700):
    path = place.boxes / name
    path.mkdir()
    shutil.chown(path, USER)
    path.chmod(mode)
    return path


def mails(path):
    return [f.read_bytes() for f in sorted((path / "new").glob("*"))]


def script(place, text):
    path = place.top / "program"
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


def written(place):
    """A directory that programs write to."""
    path = place.top / "written"
    path.mkdir(exist_ok=True)
    path.chmod(0o777)
    return path


def program(place, text, **more):
    return {"url": f"pipe:{script(place, text)}", **more}


# ---- Maildirs ----

def maildir(place, **more):
    return {"url": f"maildir://{place.boxes}/%u", **more}


def test_a_maildir_gets_each_recipients_mail(place):
    anna, otto = box(place, "anna"), box(place, "otto")
    w = daemon(place, maildir(place))
    sent = message(b"one\r\n.two\r\n\r\nthree\r\n")
    mail = w.send(sent, sender="boss@client.test", rcpt=["Anna+Work@home.test", "otto@home.test"])
    w.await_event("delivered", id=mail, count=2)
    for path, rcpt in ((anna, b"Anna+Work@home.test"), (otto, b"otto@home.test")):
        [stored] = mails(path)
        assert stored.startswith(b"Return-Path: <boss@client.test>\nDelivered-To: " + rcpt + b"\nReceived: ")
        assert from_token(stored) == lf(sent)
        assert list((path / "tmp").iterdir()) == [] and list((path / "cur").iterdir()) == []
        [file] = (path / "new").iterdir()
        assert file.stat().st_mode & 0o777 == 0o600 and file.owner() == USER


def test_a_large_mail_goes_into_a_maildir_whole(place):
    anna = box(place, "anna")
    w = daemon(place, maildir(place))
    sent = message(b"".join(b"%07d\r\n" % i for i in range(400000)))
    w.await_event("delivered", id=w.send(sent, rcpt="anna@home.test"))
    assert from_token(mails(anna)[0]) == lf(sent)


def test_dovecot_reads_the_maildir(place, dovecot):
    """Shared by the group: the daemon and Dovecot are different users."""
    uid = int(subprocess.check_output(["id", "-u", USER]))
    for part in (".", "tmp", "new", "cur"):
        path = dovecot.mail / "anna" / part
        path.mkdir(exist_ok=True, parents=True)
        os.chown(path, uid, 40001)
        path.chmod(0o2770)
    for parent in (dovecot.top, dovecot.top.parent, dovecot.top.parent.parent, dovecot.top.parent.parent.parent):
        parent.chmod(parent.stat().st_mode | 0o111)
    w = daemon(place, {"url": f"maildir://{dovecot.mail}/%u"})
    sent = message(b"to be read\r\n", subject="For Dovecot")
    w.await_event("delivered", id=w.send(sent, rcpt="Anna@home.test"))
    [inside] = pathlib.Path(f"/proc/{dovecot.process.pid}/task/{dovecot.process.pid}/children").read_text().split()
    said = subprocess.run(["nsenter", "--target", inside, "--mount", "--pid", "--root", "--wd", "doveadm", "fetch", "-u",
                           "anna", "hdr.subject hdr.delivered-to text", "mailbox", "INBOX"],
                          capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    said = said.stdout
    assert "For Dovecot" in said and "Anna@home.test" in said and name_of(sent) in said and "to be read" in said


def test_who_has_no_mailbox_is_refused_and_the_others_get_theirs(place):
    anna = box(place, "anna")
    sink = place.peer()
    w = place.waypost({"local": maildir(place), "sink": sink.gateway()}, user=USER,
                      routes=[{"to": ["*@home.test"], "via": ["local"]}])
    tricks = ["nobody-here@home.test", "..@home.test", '"../anna"@home.test', '"a/b"@home.test', "-x@home.test"]
    with w.connect() as c:
        c.say("EHLO x")
        taken = [t for t in tricks if c.say(f"MAIL FROM:<me@client.test>").startswith(b"250")
                 and c.say(f"RCPT TO:<{t}>").startswith(b"250") | c.say("RSET").startswith(b"5")]
    assert "nobody-here@home.test" in taken
    mail = w.send(message(), sender="me@client.test", rcpt=["anna@home.test", *taken])
    w.await_event("delivered", id=mail)
    report = sink.await_message(None).data
    for t in taken:
        assert t.encode() in report or t.replace('"', "").encode() in report  # quoted only where it must be
    assert b"Status: 5.1.1" in report and b"no such mailbox here" in report
    assert len(mails(anna)) == 1
    assert sorted(p.name for p in place.boxes.iterdir()) == ["anna"]


def test_mailboxes_are_made_where_that_is_asked_for(place):
    shutil.chown(place.boxes, USER)
    w = daemon(place, maildir(place, create=True))
    w.await_event("delivered", id=w.send(message(), rcpt="new.one@home.test"))
    assert len(mails(place.boxes / "new.one")) == 1


def test_a_file_system_that_is_not_mounted_returns_no_mail(place):
    w = daemon(place, maildir(place))
    mail = w.send(message(), rcpt="anna@home.test")
    w.await_event("deferred", "is its file system mounted", id=mail)
    anna = box(place, "anna")
    w.await_event("delivered", id=mail)
    assert len(mails(anna)) == 1


def test_permission_denied_waits(place):
    path = box(place, "anna")
    shutil.chown(path, "root")
    w = daemon(place, maildir(place))
    mail = w.send(message(), rcpt="anna@home.test")
    w.await_event("deferred", "Permission denied", id=mail)
    shutil.chown(path, USER)
    w.await_event("delivered", id=mail)
    assert len(mails(path)) == 1


def test_a_full_disk_waits_and_leaves_nothing_behind(place):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", place.boxes], check=True)
    place.mounted.append(place.boxes)
    anna = box(place, "anna")
    w = daemon(place, maildir(place))
    sent = message(b"x" * 70 + b"\r\n" * 500000)
    mail = w.send(sent, rcpt="anna@home.test")
    w.await_event("deferred", "No space left", id=mail)
    assert mails(anna) == [] and list((anna / "tmp").iterdir()) == []
    subprocess.run(["mount", "-o", "remount,size=10m", place.boxes], check=True)
    w.await_event("delivered", id=mail, seconds=120)
    assert from_token(mails(anna)[0]) == lf(sent)


def test_nothing_is_written_as_root(place):
    if os.geteuid() != 0:
        pytest.skip("only root can show it")
    box(place, "anna")
    w = place.waypost({"local": maildir(place)}, routes=[{"to": ["*@home.test"], "via": ["local"]}])
    w.await_event("deferred", "not done as root", id=w.send(message(), rcpt="anna@home.test"))
    assert list((place.boxes / "anna").iterdir()) == []


# ---- Programs ----

def test_a_program_gets_the_message_its_words_and_nothing_else(place):
    out = written(place)
    w = daemon(place, program(place, f'cat >{out}/mail; ls -l /proc/self/fd >{out}/fds; id -un >{out}/who\n'
                              f'for a; do echo "$a"; done >{out}/words; env >{out}/env',
                              arguments=["-d", "%u", "a b;$(id)", "%r", "%s", "%e", "100%%"]))
    sent = message(b"text\r\n")
    w.await_event("delivered", id=w.send(sent, sender="", rcpt="Anna+x@home.test"))
    stored = (out / "mail").read_bytes()
    assert stored.startswith(b"Return-Path: <>\nDelivered-To: Anna+x@home.test\n") and from_token(stored) == lf(sent)
    assert (out / "words").read_text().splitlines() == ["-d", "anna", "a b;$(id)", "Anna+x@home.test", "<>", "x", "100%"]
    assert (out / "who").read_text().strip() == USER
    fds = [line.split()[8:] for line in (out / "fds").read_text().splitlines()[1:]]
    assert all(fd[0] in "0123" for fd in fds), fds
    env = dict(line.split("=", 1) for line in (out / "env").read_text().splitlines() if "=" in line)
    assert env["RECIPIENT"] == "Anna+x@home.test" and env["SENDER"] == "" and env["LOCAL"] == "anna"
    assert env["EXTENSION"] == "x" and env["DOMAIN"] == "home.test" and "ASAN_OPTIONS" not in env


def test_procmail_delivers(place):
    tree = unpacked("procmail", ("procmail",))
    anna = box(place, "anna")
    recipe = place.top / "recipe"
    recipe.write_text(f"PATH=/usr/bin:/bin\nMAILDIR={place.boxes}\nLOGFILE={place.top}/none\n:0\n$BOX/\n")
    binary = place.top / "procmail"
    shutil.copy(tree / "usr/bin/procmail", binary)
    w = daemon(place, {"url": f"pipe:{binary}", "arguments": ["-m", "BOX=%u", str(recipe)]})
    sent = message(b"sorted\r\n")
    w.await_event("delivered", id=w.send(sent, rcpt="anna@home.test"))
    [stored] = mails(anna)
    assert from_token(stored).rstrip() == lf(sent).rstrip()


def test_the_sendmail_of_another_program(place):
    sink = place.peer()
    msmtp = script(place, f'exec /usr/bin/msmtp --host=127.0.0.1 --port={sink.port} "$@"')
    w = daemon(place, {"url": f"sendmail:{msmtp}"})
    sent = message(b".dots\r\n.\r\n..\r\n")
    w.await_event("delivered", id=w.send(sent, sender="me@client.test", rcpt="anna@home.test"))
    got = sink.await_message(name_of(sent))
    assert got.sender == "me@client.test" and got.rcpts == ["anna@home.test"]
    assert not got.data.startswith(b"Return-Path") and lf(from_token(got.data)) == lf(sent)


@pytest.mark.parametrize("status, enhanced", [(67, "5.1.1"), (68, "5.1.2"), (65, "5.6.0"), (77, "5.7.0")])
def test_a_status_that_refuses_returns_the_mail(place, status, enhanced):
    sink = place.peer()
    w = place.waypost({"local": program(place, f"cat >/dev/null; echo because it is so; exit {status}"),
                       "sink": sink.gateway()}, user=USER, routes=[{"to": ["*@home.test"], "via": ["local"]}])
    w.send(message(), sender="me@client.test", rcpt="anna@home.test")
    report = sink.await_message(None).data
    assert f"Status: {enhanced}".encode() in report and b"because it is so" in report


@pytest.mark.parametrize("status", [75, 73, 78, 1, 127])
def test_other_statuses_wait(place, status):
    out = written(place)
    w = daemon(place, program(place, f"cat >/dev/null; test -e {out}/well || {{ echo not well; exit {status}; }}"))
    mail = w.send(message(), rcpt="anna@home.test")
    w.await_event("deferred", f"exit status {status}.*not well", id=mail)
    (out / "well").touch()
    w.await_event("delivered", id=mail)


def test_one_recipient_refused_does_not_hinder_the_other(place):
    sink = place.peer()
    w = place.waypost({"local": program(place, 'cat >/dev/null; test "$1" = anna || exit 67', arguments=["%u"]),
                       "sink": sink.gateway()}, user=USER, routes=[{"to": ["*@home.test"], "via": ["local"]}])
    mail = w.send(message(), sender="me@client.test", rcpt=["otto@home.test", "anna@home.test"])
    w.await_event("delivered", id=mail)
    assert b"otto@home.test" in sink.await_message(None).data
    assert len(w.find("delivered", id=mail)) == 1


def test_a_program_that_takes_too_long_is_killed_and_leaves_doubt(place):
    out = written(place)
    w = daemon(place, program(place, f"cat >{out}/mail; test -e {out}/well || sleep 1000", limits={"timeout": "2s"}))
    mail = w.send(message(), rcpt="anna@home.test")
    w.await_event("in-doubt", "it took too long and was killed", id=mail)
    assert subprocess.run(["pgrep", "-f", str(place.top / "program")]).returncode == 1
    (out / "well").touch()
    w.await_event("delivered", id=mail)
    assert "doubt" in w.run("log", mail, check=0).out


def test_a_killed_program_leaves_doubt(place):
    out = written(place)
    w = daemon(place, program(place, f"cat >{out}/mail; test -e {out}/well || kill -KILL $$"))
    mail = w.send(message(), rcpt="anna@home.test")
    w.await_event("in-doubt", "killed by signal 9", id=mail)
    (out / "well").touch()
    w.await_event("delivered", id=mail)
    assert "doubt" in w.run("log", mail, check=0).out


def test_a_flood_of_output_is_bounded(place):
    w = daemon(place, program(place, "cat >/dev/null; head -c 50000000 /dev/zero | tr '\\0' y; exit 75"))
    mail = w.send(message(), rcpt="anna@home.test")
    event = w.await_event("deferred", "exit status 75", id=mail)
    assert len(event["text"]) < 2000


def test_a_program_that_does_not_read_all_is_believed(place):
    w = daemon(place, program(place, "exit 0"))
    w.await_event("delivered", id=w.send(message(b"x" * 70 + b"\r\n" * 300000), rcpt="anna@home.test"))


def test_a_slow_program_holds_nobody_up(place):
    out = written(place)
    sink = place.peer()
    w = place.waypost({"local": program(place, f"cat >/dev/null; touch {out}/begun; until test -e {out}/go; do sleep 0.1; done"),
                       "sink": sink.gateway()}, user=USER, routes=[{"to": ["*@home.test"], "via": ["local"]}])
    slow = w.send(message(), rcpt="anna@home.test")
    until("it runs", (out / "begun").exists)
    w.await_event("relayed", id=w.send(message(), rcpt="b@sink.test"))
    assert w.run("status").returncode == 0 and not w.find("delivered", id=slow)
    (out / "go").touch()
    w.await_event("delivered", id=slow)


def test_a_crash_during_a_run_is_told_and_the_mail_tried_again(place):
    out = written(place)
    w = daemon(place, program(place, f"cat >>{out}/mail; touch {out}/begun; until test -e {out}/go; do sleep 0.1; done"))
    mail = w.send(message(), rcpt="anna@home.test")
    until("it runs", (out / "begun").exists)
    w.kill()
    (out / "go").touch()
    w.start()
    w.await_event("delivered", id=mail)
    assert "in doubt" in w.run("log", mail, check=0).out


# ---- As gateways ----

def test_it_is_looked_at_like_other_gateways(place):
    box(place, "anna")
    w = daemon(place, maildir(place))
    assert "local" in w.run("gateway", "list", check=0).out
    assert f"maildir {place.boxes}/%u" in w.run("gateway", "show", "local", check=0).out
    assert "can take mail" in w.run("gateway", "test", "local", check=0).out
    w.run("gateway", "test", "local", "--to", "anna@home.test", check=0)
    assert len(mails(place.boxes / "anna")) == 1
    assert "local" in w.run("route", "explain", "--to", "anna@home.test", check=0).out
    # Mail in general never comes here.
    assert "only the mail that a route sends there" in w.run("route", "explain", "--to", "b@else.test", check=0).out
    place.boxes.rename(place.top / "away")
    done = w.run("gateway", "test", "local")
    assert done.returncode == 75 and "No such file or directory" in done.out + done.err
    (place.top / "away").rename(place.boxes)


def test_mistakes_in_the_configuration_are_told(place):
    w = place.waypost({}, start=False)
    for gateway, said in (({"url": "maildir://mail"}, "absolute path"),
                          ({"url": "maildir:///mail/%x"}, "stands for nothing"),
                          ({"url": "pipe:/bin/true", "arguments": ["%q"]}, "stands for nothing"),
                          ({"url": "pipe:/bin/true", "tls": "off"}, "not for what is on this machine"),
                          ({"url": "maildir:///mail/%u", "run_as": "x"}, "only for a program"),
                          ({"url": "smtp://host.test", "create": True}, "only for a maildir")):
        w.conf["gateways"] = {"local": gateway}
        w.write()
        done = w.run("config", "check")
        assert done.returncode != 0
        assert re.search(said, done.out + done.err), done.out + done.err
