# SPDX-License-Identifier: ISC
"""Each call on the spool's files fails once, the Nth one, while three messages are handed in.

Never a 250 behind a failed sync; no end by a signal; the daemon says what is wrong and what to do;
and what got its 250 is delivered after a clean start.
"""
import pytest
from ledger import await_idle, note
from lib.mail import message, name_of
from lib.wait import until

CASES = [("fdatasync", "EIO", 12), ("pwritev", "EIO", 8), ("pwritev", "ENOSPC", 6),
         ("renameat2,rename,renameat", "EIO", 5), ("ftruncate", "EIO", 4), ("fallocate", "ENOSPC", 4),
         ("pwrite64", "EIO", 4)]
FRESH = ("fallocate", "ftruncate", "renameat2,rename,renameat")  # calls that make a spool; else there is one


def strace(call, error, n, log):
    return ["strace", "-f", "-qq", "-o", str(log), "-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={n}"]


def scenario(w):
    """Three messages, one of them with a file of its own; those that got their 250."""
    kept, replies = set(), []
    for body in (b"one\r\n", (b"x" * 70 + b"\r\n") * 6000, b"three\r\n"):
        data = message(body)
        try:
            with w.connect(timeout=20) as line:
                line.say("EHLO client.test")
                r = line.hand_in(data)
        except OSError:
            r = b""
        replies.append(r)
        if r.startswith(b"250"):
            kept.add(name_of(data))
    return kept, replies


def one(make, sink, call, error, n):
    """Whether the fault came at all, and what was said."""
    w = make.waypost(sink, start=False)
    log = w.dir / "strace"
    if call not in FRESH:
        w.start()
        w.stop()
    w.wrap = strace(call, error, n, log)
    seen = len(w.events)
    w.start(wait=False)
    until("it is ready or has ended", lambda: w.find("ready", since=seen) or not w.alive(), 30)
    kept, replies, status = set(), [], None
    if w.alive():
        kept, replies = scenario(w)
        told = w.run("status")
        status = w.stop()
    else:
        told = None
        status = w._gone()
    came = "INJECTED" in log.read_text()
    what = f"{call} {error} {n}: status {status}, {replies}\n{w.tail(8)}"
    assert status is not None and 0 <= status < 128, what
    if came:
        problems = [e for e in w.events if e.get("level") in ("error", "warn", "warning")]
        at = [ln for ln in log.read_text().splitlines() if "INJECTED" in ln]
        assert all(r[:1] in (b"2", b"4", b"") for r in replies), what
        if call == "fdatasync" and told and "SPOOL FAILED" in told.out:
            assert "start waypost again" in told.out, told.out
            first = next(i for i, r in enumerate(replies) if not r.startswith(b"250")) if len(kept) < 3 else 3
            assert not any(r.startswith(b"250") for r in replies[first:]), what
        if not kept and replies:
            assert problems, f"refused without a word: {what} {at}"
        if not replies:
            assert w.find("cannot-start") or any("waypost" in line for line in w.noise), what
    w.wrap = []
    w.start()
    until(f"all is delivered: {what}", lambda: kept <= set(sink.copies()), 30)
    await_idle(w)
    assert w.send(message())
    assert w.stop() == 0
    w.run("spool", "check", check=0)
    return came, len(kept)


@pytest.mark.parametrize("call,error,last", CASES, ids=lambda v: str(v).split(",")[0])
def test_fails_once(make, call, error, last):
    sink = make.sink()
    came = acked = 0
    for n in range(1, last + 1):
        hit, kept = one(make, sink, call, error, n)
        if not hit:
            break
        came += 1
        acked += kept
    note(f"{call.split(',')[0]} fails with {error} at 1..{came}: {acked} of {3 * came} accepted, 0 lost")
