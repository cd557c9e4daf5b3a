# SPDX-License-Identifier: ISC
"""The power goes under load. The control runs without syncs and must lose mail."""
import random
import time

from disk import Ext4, no_sync_object
from ledger import await_idle, judge, note

CUTS = 20


def cut_and_return(w, disk):
    disk.cut()
    when = time.monotonic()
    w.kill()
    disk.unmount()
    disk.mount()
    return when


def test_power_cut_under_load(make, root, tmp_path):
    disk = Ext4(tmp_path / "disk", 700)
    try:
        sink = make.sink(delay=0.02)
        w = make.waypost(sink, spool=str(disk.path / "spool"))
        load = make.load(w, sizes=(300, 3000, 40_000, 400_000))
        cuts = []
        for _ in range(CUTS):
            load.await_acked(len(load.acked()) + 1)
            load.ending.wait(random.uniform(0.05, 0.8))
            cuts.append(cut_and_return(w, disk))
            checked = w.run("spool", "check")
            assert checked.returncode == 0, checked.out + checked.err
            w.start()
        load.stop()
        doubled = judge(load, sink, w, kills=cuts)
        assert not w.find("damaged")
        note(f"power cut x{CUTS}: {len(load.acked())} accepted, 0 lost, 0 damaged, {len(doubled)} doubled and noted")
        assert w.stop() == 0
    finally:
        make.close()
        disk.unmount()


def test_control_without_syncs_loses_mail(make, root, tmp_path):
    disk = Ext4(tmp_path / "disk", 400)
    try:
        sink = make.sink(start=False)
        w = make.waypost(sink, start=False, spool=str(disk.path / "spool"))
        w.start().stop()  # its files are there, and synced
        w.env["LD_PRELOAD"] = str(no_sync_object(tmp_path))
        acked = set()
        for _ in range(3):
            w.start()
            load = make.load(w)
            load.await_acked(50)
            cut_and_return(w, disk)
            load.stop()
            acked |= {m.token for m in load.acked()}
        w.env.pop("LD_PRELOAD")
        sink.start()
        w.start()
        await_idle(w)
        lost = acked - set(sink.copies())
        note(f"control, syncs switched off, 3 cuts: {len(lost)} of {len(acked)} lost, as must be")
        assert lost
    finally:
        make.close()
        disk.unmount()
