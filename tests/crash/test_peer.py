# SPDX-License-Identifier: ISC
"""A next hop that freezes, and one that loses its answers."""
import time

from ledger import judge, note
from lib.wait import until


def test_frozen_next_hop_with_data_in_flight(make):
    sink = make.sink(delay=0.05)
    w = make.waypost(sink)
    load = make.load(w, sizes=(300, 3000, 300_000))
    load.await_acked(50)
    until("some has arrived", lambda: sink.copies())
    sink.freeze()
    at = len(load.acked())
    load.await_acked(at + 100)  # whoever hands mail in does not feel it
    w.run("status", check=0)
    time.sleep(4)
    arrived = len(sink.copies())
    sink.thaw()
    load.stop()
    doubled = judge(load, sink, w)
    assert not doubled
    assert len(sink.copies()) > arrived
    note(f"next hop frozen for 4 s: {len(load.acked())} accepted, 0 lost, 0 doubled")


def test_killed_while_the_next_hop_is_frozen(make):
    """What lay in the frozen one's socket arrives as well; each second copy is accounted for."""
    sink = make.sink(delay=0.05)
    w = make.waypost(sink)
    load = make.load(w)
    load.await_acked(50)
    sink.freeze()
    load.await_acked(len(load.acked()) + 50)
    kill = time.monotonic()
    w.kill()
    load.stop()
    w.start()
    sink.thaw()
    # The sink writes down late what it was sent before the kill: the order of its ledger says nothing.
    until("all has arrived", lambda: {m.token for m in load.acked()} <= set(sink.copies()))
    doubled = judge(load, sink, w, kills=[kill, *(c.time for found in sink.copies().values() for c in found)])
    assert all(len(found) <= 2 for found in sink.copies().values())
    note(f"killed while the next hop was frozen: {len(load.acked())} accepted, 0 lost, {len(doubled)} doubled and noted")


def test_next_hop_that_loses_every_seventh_answer(make):
    sink = make.sink(drop=7)
    w = make.waypost(sink)
    load = make.load(w, pause=0.02)
    load.await_acked(100)
    load.stop()
    doubled = judge(load, sink, w)
    copies = sink.copies().values()
    lost = sum(not c.answered for found in copies for c in found)
    assert lost and sum(map(len, copies)) == len(load.mails) + lost
    note(f"{lost} answers lost by the next hop: {len(load.acked())} accepted, 0 lost, {len(doubled)} doubled and noted, none besides")
