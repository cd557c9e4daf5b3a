# SPDX-License-Identifier: ISC
"""Reloads in any number and at any moment: each whole or not at all, and no mail in their way."""
import signal
import threading

from lib.mail import message, name_of
from lib.names import Names
from lib.wait import free_port


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


# ---- Name servers ----

def test_other_name_servers_are_asked_after_a_reload(make, tmp_path):
    """Mail that waits because the name servers do not answer goes as soon as those do that the reload names."""
    back = make.peer(host="127.0.0.5")
    zone = {"sink.test": "@ MX 10 mx\nmx A 127.0.0.5\n"}
    names = Names(tmp_path / "nsd", zone).start()
    try:
        w = make.waypost({"direct": {"port": back.port, "tls": "off"}},
                         dns={"servers": [f"127.0.0.1:{free_port()}"], "timeout": "1s"}, routes=[{"via": ["direct"]}])
        sent = message()
        id = w.send(sent, rcpt="u@sink.test")
        w.await_event("deferred", id=id)
        w.conf["dns"] = {"servers": [names.server()], "timeout": "1s"}
        w.write()
        assert "restart" not in w.run("config", "diff", "--live", str(w.file), check=0).out
        w.run("reload", check=0)
        back.await_message(name_of(sent))
        w.conf["dns"]["anchor"] = str(tmp_path / "no-such-key")  # all of it or nothing
        w.write()
        assert w.run("reload").returncode != 0
        again = message()
        w.send(again, rcpt="u@sink.test")
        back.await_message(name_of(again))
    finally:
        names.stop()


def test_what_needs_a_restart_is_named(make):
    w = make.waypost({"isp": make.peer().gateway()})
    good = dict(w.conf)
    for key, value in (("loops", 3), ("user", "nobody")):
        w.conf[key] = value
        w.write()
        done = w.run("reload")
        assert done.returncode != 0 and f"a change of `{key}` needs a restart" in done.err, done.err
        w.conf.clear()
        w.conf.update(good)
        w.write()
    w.run("reload", check=0)
