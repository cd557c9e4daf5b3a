# SPDX-License-Identifier: ISC
"""A spool with flipped bytes, cut files, and a disk that cannot be read."""
import random
import re
import shutil

import pytest
from ledger import await_idle, note
from lib.mail import message, name_of
from lib.wait import until

BODY = b"0123456789" * 20 + b"\r\n"


@pytest.fixture(scope="module")
def waiting(tmp_path_factory):
    """A spool with mail of all kinds in it, to be copied: its directory and {token: (rcpt, data)}."""
    from conftest import Makers
    make = Makers(tmp_path_factory.mktemp("waiting"))
    sink = make.sink(start=False)
    w = make.waypost(sink)
    mails = {}
    for n in range(40):
        rcpt = f"r{n}@sink.test"
        data = message(BODY * (n * 3) if n % 10 else BODY * 1500, rcpt=rcpt)
        w.send(data, rcpt=rcpt)
        mails[name_of(data)] = (rcpt, len(data))
    w.kill()
    w.start()
    assert w.stop() == 0
    yield w.dir / "spool", mails
    make.close()


def copied(make, waiting, sink):
    w = make.waypost(sink, start=False)
    shutil.copytree(waiting[0], w.dir / "spool")
    return w


def used(spool):
    """The first segment and how much of it is written."""
    seg = sorted((spool / "seg").glob("*.wps"))[0]
    data = seg.read_bytes()
    return seg, len(data.rstrip(b"\0"))


def flip(path, at):
    with open(path, "r+b") as f:
        f.seek(at)
        old = f.read(1)[0]
        f.seek(at)
        f.write(bytes([old ^ (1 << random.randrange(8))]))


def judge_delivery(sink, mails):
    """Whatever went out went whole, to whom it was for, once."""
    for token, found in sink.copies().items():
        assert len(found) == 1, (token, found)
        assert (found[0].rcpts, found[0].size) == mails[token], (token, found, mails[token])


@pytest.mark.parametrize("seed", range(12))
def test_flipped_bits_in_a_segment(make, waiting, seed):
    """Named with file and offset; all other mail goes out."""
    random.seed(seed)
    sink = make.sink()
    w = copied(make, waiting, sink)
    seg, length = used(w.dir / "spool")
    at = sorted(random.randrange(80 if seed else 0, length) for _ in range(1 + seed % 3))
    for a in at:
        flip(seg, a)
    checked = w.run("spool", "check")
    # A flip in the padding or behind a header hurts nothing.
    if checked.returncode != 0:
        assert re.search(rf"segment 0*{int(seg.stem)}\b|{seg.name}", checked.out), checked.out
        assert re.search(r"\bbytes? \d+|offset \d+|header", checked.out), checked.out
    w.start(wait=False)
    until("it is ready or has ended", lambda: w.find("ready") or not w.alive())
    if w.alive():
        until("the queue is empty or held", lambda: not [m for m in w.queue() if not m.get("held")], 30, step=0.1)
        judge_delivery(sink, waiting[1])
        missing = len(waiting[1]) - len(sink.copies())
        assert not missing or w.find("damaged") or w.queue(), w.tail()
        assert missing <= 3 * len(at), (missing, at, checked.out, w.tail())
        assert w.stop() == 0
    else:
        assert w._gone() > 0
        said = w.find("cannot-start")
        assert said and "spool" in said[0]["text"], w.tail()


@pytest.mark.parametrize("seed", range(4))
def test_cut_segment(make, waiting, seed):
    random.seed(seed)
    sink = make.sink()
    w = copied(make, waiting, sink)
    seg, length = used(w.dir / "spool")
    at = random.randrange(length // 2, length)
    with open(seg, "r+b") as f:
        f.truncate(at)
    checked = w.run("spool", "check")
    w.start(wait=False)
    until("it is ready or has ended", lambda: w.find("ready") or not w.alive())
    if not w.alive():
        assert w._gone() > 0 and w.find("cannot-start"), w.tail()
        return
    await_idle(w)
    judge_delivery(sink, waiting[1])
    assert len(sink.copies()) >= 3, checked.out
    assert w.stop() == 0


def test_lost_and_flipped_body_file(make, waiting):
    """Nothing but the whole body is ever sent."""
    sink = make.sink()
    w = copied(make, waiting, sink)
    bodies = sorted((w.dir / "spool" / "bodies").iterdir())
    assert len(bodies) == 4
    bodies[0].unlink()
    flip(bodies[1], 100_000)
    with open(bodies[2], "r+b") as f:
        f.truncate(1000)
    checked = w.run("spool", "check")
    assert checked.returncode != 0
    for b in bodies[:3]:
        assert b.name in checked.out, checked.out
    w.start()
    until("the others have gone", lambda: len(sink.copies()) >= 37, 30)
    w.stop()
    judge_delivery(sink, waiting[1])
    assert len(sink.copies()) == 37


def test_rebuild_brings_the_history_back(make, waiting):
    sink = make.sink()
    w = copied(make, waiting, sink)
    for f in (w.dir / "spool").glob("index.db*"):
        f.unlink()
    (w.dir / "spool" / "index.db").write_bytes(random.randbytes(50_000))
    w.start(wait=False)
    until("it is ready or has ended", lambda: w.find("ready") or not w.alive())
    if w.alive():
        w.stop()
    else:
        w._gone()
        assert "rebuild" in w.find("cannot-start")[0]["text"], w.tail()
    done = w.run("spool", "rebuild")
    assert done.returncode == 0, done.out + done.err
    w.start()
    await_idle(w)
    known = w.json("log", "--max", "1000")
    assert len(known) >= 40, len(known)
    judge_delivery(sink, waiting[1])
    assert w.stop() == 0


@pytest.mark.parametrize("more", ["", "+"], ids=["once", "from-then-on"])
def test_read_error_at_start(make, waiting, more):
    """Never an empty journal: it refuses to start, and the next start finds everything."""
    refused = 0
    for n in range(1, 8):
        sink = make.sink()
        w = copied(make, waiting, sink)
        log = w.dir / "strace"
        w.wrap = ["strace", "-f", "-qq", "-o", str(log), "-P", str(sorted((w.dir / "spool" / "seg").glob("*.wps"))[0]),
                  "-e", "trace=pread64", "-e", f"inject=pread64:error=EIO:when={n}{more}"]
        w.start(wait=False)
        until("it is ready or has ended", lambda: w.find("ready") or not w.alive(), 30)
        came = "INJECTED" in log.read_text()
        if w.alive():
            w.stop()
        else:
            status = w._gone()
            assert 0 < status < 128, (status, w.tail())
            assert came and re.search("read|input/output", w.find("cannot-start")[0]["text"], re.I), w.tail()
            refused += 1
        if came:
            w.wrap = []
            w.start()
            until(f"all 40 have gone ({n}{more})", lambda: len(sink.copies()) == 40, 30)
            judge_delivery(sink, waiting[1])
            await_idle(w)
            assert w.stop() == 0
        else:
            break
    note(f"reading the journal fails at start at 1{more}..{n - (not came)}{more}: {refused} starts refused, 0 lost")
