# SPDX-License-Identifier: ISC
"""No space, no inodes: refused with reason, nothing lost, and over when the space is back."""
import re

from disk import Ext4, Tmpfs
from ledger import await_idle, judge, note
from lib.mail import message
from lib.wait import until

SPACE = re.compile(rb"^452 4\.3\.1 .*(space|disk)", re.I)


def refused(w):
    """The reply to MAIL when it is a refusal."""
    with w.connect() as line:
        line.say("EHLO client.test")
        r = line.say("MAIL FROM:<a@client.test> SIZE=1000")
        return r if r.startswith(b"4") else None


def await_drained_and_accepting(w):
    until("it accepts again", lambda: not refused(w), 30)
    w.send(message())


def test_full_disk_by_our_own_mail(make, root, tmp_path):
    disk = Ext4(tmp_path / "disk", 400)
    try:
        sink = make.sink(start=False)
        w = make.waypost(sink, spool=str(disk.path / "spool"))
        load = make.load(w, clients=3, sizes=(3000, 200_000, 400_000))
        reply = until("it refuses before the body", lambda: refused(w), 60)
        assert SPACE.match(reply), reply
        load.ending.wait(1.5)  # the refused go on trying
        load.stop()
        status = w.json("status")
        assert not status["accepting"] and re.search("space|disk", status["not_accepting_because"]), status
        assert "NOT ACCEPTING" in w.run("status", check=0).out
        assert set(r[:9] for r in load.replies()) == {"452 4.3.1"}, load.replies()
        waiting = status["queue"]["messages"]
        assert waiting >= len(load.acked()) > 100
        w.kill()  # also a start must go well
        w.start()
        assert w.json("status")["queue"]["messages"] >= len(load.acked())
        sink.start()
        judge(load, sink, w)
        await_drained_and_accepting(w)
        note(f"full disk: {len(load.acked())} accepted, {len(load.of('refused'))} refused with 452 4.3.1, 0 lost")
        assert w.stop() == 0
        w.run("spool", "check", check=0)
    finally:
        make.close()
        disk.unmount()


def test_disk_filled_by_somebody_else(make, root, tmp_path):
    """Not one byte is left, and yet what is delivered is recorded."""
    disk = Ext4(tmp_path / "disk", 400)
    try:
        sink = make.sink(start=False)
        w = make.waypost(sink, spool=str(disk.path / "spool"))
        load = make.load(w, sizes=(300, 3000, 300_000))
        load.await_acked(100)
        other = disk.fill()
        until("it refuses before the body", lambda: refused(w))
        load.stop()
        sink.start()
        doubled = judge(load, sink, w, history=False)  # the index has no space, either
        assert not doubled
        assert w.alive() and not w.json("status")["accepting"]
        other.unlink()
        await_drained_and_accepting(w)
        await_idle(w)
        for mail in (load.acked()[0], load.acked()[-1]):
            assert "relayed" in w.run("log", mail.id, check=0).out
        assert w.stop() == 0
        w.run("spool", "check", check=0)
    finally:
        make.close()
        disk.unmount()


def test_no_inodes(make, root, tmp_path):
    """Large bodies have files of their own; when there can be none, the small ones still go."""
    disk = Tmpfs(tmp_path / "disk", 1000, inodes=40)
    try:
        sink = make.sink(start=False)
        w = make.waypost(sink, spool=str(disk.path / "spool"))
        load = make.load(w, clients=2, sizes=(400_000,))
        until("it refuses", lambda: load.of("refused"))
        load.stop()
        assert set(r[:9] for r in load.replies()) == {"452 4.3.1"}, load.replies()
        w.send(message())
        sink.start()
        await_idle(w)
        assert {m.token for m in load.acked()} <= set(sink.copies())
        w.send(message(b"y" * 70 + b"\r\n" + (b"z" * 70 + b"\r\n") * 6000))
        assert w.stop() == 0
    finally:
        make.close()
        disk.unmount()
