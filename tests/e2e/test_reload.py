# SPDX-License-Identifier: ISC
"""Reloads in any number and at any moment: each whole or not at all, and no mail in their way."""
import signal
import threading

from lib.mail import message, name_of


def test_a_storm_of_reloads_under_load(make):
    sink = make.peer()
    w = make.waypost({"sink": sink.gateway()}, loops=4)
    ended = threading.Event()

    def storm():
        while not ended.is_set():
            w.process.send_signal(signal.SIGHUP)

    def ask():
        while not ended.is_set():
            w.run("reload", check=0)

    askers = [threading.Thread(target=f) for f in (storm, ask, ask)]
    for t in askers:
        t.start()
    try:
        sent = [message() for _ in range(100)]
        for m in sent:
            w.send(m)
    finally:
        ended.set()
        for t in askers:
            t.join()
    for m in sent:
        sink.await_message(name_of(m))
    assert w.find("reloaded")


def test_the_end_waits_for_a_reload(make):
    for _ in range(10):
        w = make.waypost({"sink": make.peer().gateway()})
        for _ in range(20):
            w.process.send_signal(signal.SIGHUP)
        assert w.stop() == 0
