# SPDX-License-Identifier: ISC
"""kill -9 under load: nothing lost, copies explained, back at once."""
import random
import statistics
import time

from ledger import banner_ms, judge, note

KILLS = 50


def test_killed_fifty_times_under_load(make):
    sink = make.sink()
    w = make.waypost(sink)
    load = make.load(w)
    back, kills = [], []
    for _ in range(KILLS):
        load.await_acked(len(load.acked()) + 1)
        load.ending.wait(random.uniform(0.02, 0.5))
        kills.append(time.monotonic())
        w.kill()
        w.start(wait=False)
        back.append(banner_ms(w.port))
    load.stop()
    doubled = judge(load, sink, w, kills=kills)
    note(f"kill -9 x{KILLS}: {len(load.acked())} accepted, 0 lost, {len(doubled)} doubled and noted; "
         f"to the banner {statistics.median(back):.0f} ms, at most {max(back):.0f} ms")
    # What else the machine does can only make it slower: the quicker ones say what it takes.
    assert statistics.quantiles(back)[0] < 1000, sorted(back)
    assert w.stop() == 0
    w.run("spool", "check", check=0)
