# SPDX-License-Identifier: ISC
"""Without descriptors, without memory: polite, and over when it is over."""
import os
import pathlib
import resource
import signal
import threading
import time

import pytest
from ledger import judge, note
from lib.wait import until

MORE = 16  # MiB above what the start alone needs: far less than the load would take
CGROUP_MIB = 30
CGROUP = pathlib.Path("/sys/fs/cgroup/memory")


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_no_descriptors(make):
    sink = make.sink()
    w = make.waypost(sink)
    load = make.load(w, clients=4, pause=0.005)
    load.await_acked(50)
    before = resource.prlimit(w.pid(), resource.RLIMIT_NOFILE)
    used = len(os.listdir(f"/proc/{w.pid()}/fd"))
    resource.prlimit(w.pid(), resource.RLIMIT_NOFILE, (8, before[1]))
    more = make.load(w, clients=4)  # these are not even greeted
    time.sleep(0.5)
    load.stop()
    began, spent = time.monotonic(), cpu_seconds(w.pid())
    time.sleep(2)
    share = (cpu_seconds(w.pid()) - spent) / (time.monotonic() - began)
    resource.prlimit(w.pid(), resource.RLIMIT_NOFILE, before)
    count = len(more.acked())
    more.await_acked(count + 50)
    more.stop()
    judge([load, more], sink, w)
    note(f"no descriptors ({used} in use, limit 8): {share * 100:.0f} % CPU, 0 lost")
    assert share < 0.2
    assert w.stop() == 0


def least(make, sink, option, low, high):
    """The smallest such limit in MiB, to an eighth, under which the daemon starts."""
    while high - low > high // 8:
        middle = (low + high) // 2
        w = make.waypost(sink, start=False)
        w.wrap = ["prlimit", f"--{option}={middle << 20}"]
        try:
            w.start()
            w.kill()
            high = middle
        except AssertionError:
            w.process.wait()
            w.process.stderr.close()
            w.process = None
            low = middle
    return high


class Service:
    """Starts the daemon again whenever it ends, as a service manager would, until the end of the block."""

    def __init__(self, w, wrap):
        self.w, self.wrap, self.deaths, self.statuses = w, wrap, [], set()
        self.ending = threading.Event()

    def start(self, wait=False):
        self.w.wrap = self.wrap
        self.w.start(wait=wait)
        self.w.wrap = []  # the wrapping command became the daemon

    def watch(self):
        while not self.ending.wait(0.02):
            if not self.w.alive():
                self.deaths.append(time.monotonic())
                self.statuses.add(self.w._gone())
                self.start()

    def __enter__(self):
        self.start(wait=True)
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.thread.join()


def load_with_large_bodies(make, sink, w, wrap, what):
    with Service(w, wrap) as service:
        load = make.load(w, clients=8, sizes=(300, 200_000, 250_000, 3_000_000))
        load.ending.wait(6)
        load.stop()
        doubled = judge(load, sink, w, kills=service.deaths)
    note(f"{what}: under load {len(service.deaths)} deaths {service.statuses or ''}, {len(load.acked())} accepted, "
         f"{len(load.of('refused'))} refused, 0 lost, {len(doubled)} doubled and noted")
    assert load.acked()
    assert all(r.startswith("4") for r in load.replies()), load.replies()
    return service


@pytest.mark.parametrize("option", ["as", "data"])
def test_little_memory(make, option):
    sink = make.sink()
    limit = least(make, sink, option, 8, 1024)
    w = make.waypost(sink, start=False)
    service = load_with_large_bodies(make, sink, w, ["prlimit", f"--{option}={(limit + MORE) << 20}"],
                                     f"--{option}: starts with {limit} MiB; with {MORE} more")
    assert service.statuses <= {-signal.SIGABRT}, service.statuses
    assert not service.deaths or any("memory" in n for n in w.noise), w.noise


def test_memory_cgroup(make, root):
    if not (CGROUP / "memory.limit_in_bytes").exists():
        pytest.skip("no memory cgroup")
    group = CGROUP / f"waypost-test-{os.getpid()}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(CGROUP_MIB << 20))
        sink = make.sink()
        w = make.waypost(sink, start=False)
        enter = ["sh", "-c", f"echo $$ >{group}/tasks; exec \"$0\" \"$@\""]
        service = load_with_large_bodies(make, sink, w, enter, f"memory cgroup of {CGROUP_MIB} MiB")
        assert service.statuses <= {-signal.SIGKILL}, service.statuses
    finally:
        make.close()
        until("the group is empty", lambda: not (group / "tasks").read_text())
        group.rmdir()
