# SPDX-License-Identifier: ISC
"""Load with a ledger on both sides: which tokens got their 250, and how often each one arrived."""
import collections
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import threading
import time

from lib.mail import message
from lib.wait import free_port, until
from lib.waypost import Line

HERE = pathlib.Path(__file__).parent
LATE = 5  # seconds until the sink has written down what it was sent: it may be short of CPU
Copy = collections.namedtuple("Copy", "answered time rcpts size")


class Sink:
    """sink.py, which may be stopped, frozen and started again on its port and ledger."""

    def __init__(self, path, start=True, **how):
        self.port, self.ledger, self.how = free_port(), pathlib.Path(path), how
        self.ledger.touch()
        self.process = None
        if start:
            self.start()

    def start(self):
        args = [f"--{k}={v}" for k, v in self.how.items()]
        self.process = subprocess.Popen([sys.executable, str(HERE / "sink.py"), str(self.port), str(self.ledger), *args],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == b"ready\n"
        return self

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.process = None

    def freeze(self):
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self):
        os.kill(self.process.pid, signal.SIGCONT)

    def gateway(self, **more):
        return {"url": f"smtp://127.0.0.1:{self.port}", "tls": "off", **more}

    def copies(self):
        """{token: [Copy, ...]}"""
        found = collections.defaultdict(list)
        for line in self.ledger.read_text().splitlines():
            how, token, when, rcpts, size = line.split()
            found[token].append(Copy(how == "kept", float(when), rcpts, int(size)))
        return found


class Mail:
    """One message of the load, and what the client knows of it."""

    def __init__(self, token, rcpt, size):
        self.token, self.rcpt, self.size = token, rcpt, size
        self.id = None
        self.reply = b""
        self.state = "sent"  # acked, refused, unsure (its dot was sent, no answer came)


class Load:
    """Clients that go on whatever happens to the server."""

    serial = 0

    def __init__(self, port, clients=4, sizes=(300, 3000), pause=0.0):
        self.port, self.sizes, self.pause = port, sizes, pause
        self.mails, self.lock = [], threading.Lock()
        self.ending = threading.Event()
        Load.serial += 1
        self.threads = [threading.Thread(target=self._client, args=(f"L{os.getpid()}x{Load.serial}x{i}x",), daemon=True)
                        for i in range(clients)]
        for t in self.threads:
            t.start()

    def _client(self, prefix):
        n = 0
        while not self.ending.is_set():
            try:
                with Line(("127.0.0.1", self.port), 20) as line:
                    if not line.banner.startswith(b"220") or not line.say("EHLO load.test").startswith(b"250"):
                        raise OSError
                    while not self.ending.is_set():
                        n += 1
                        if not self._one(line, f"{prefix}{n}"):
                            break
                        if self.pause:
                            self.ending.wait(self.pause)
            except OSError:
                pass
            self.ending.wait(0.005)

    def _one(self, line, token):
        """False: this connection is over."""
        mail = Mail(token, f"r-{token}@sink.test", random.choice(self.sizes))
        data = message(b"x" * 70 + b"\r\n", name=token, rcpt=mail.rcpt)
        data += (b"0123456789" * 7 + b"\r\n") * (mail.size // 72)
        mail.size = len(data)
        with self.lock:
            self.mails.append(mail)
        try:
            mail.reply = line.hand_in(data, rcpt=mail.rcpt)
        except OSError:
            pass
        if mail.reply.startswith(b"250"):
            mail.id, mail.state = mail.reply.split()[2].decode(), "acked"
        elif mail.reply[:1] in (b"4", b"5") and mail.reply.endswith(b"\n"):
            mail.state = "refused"
            if not mail.reply.startswith(b"421"):
                self.ending.wait(0.05)
                return line.say("RSET").startswith(b"250")
        else:
            mail.state = "unsure"
        return mail.state == "acked"

    def stop(self):
        self.ending.set()
        for t in self.threads:
            t.join(30)
        return self

    def of(self, *states):
        with self.lock:
            return [m for m in self.mails if m.state in states]

    def acked(self):
        return self.of("acked")

    def replies(self):
        return collections.Counter(m.reply.split(b"\r")[0].decode("utf-8", "replace") for m in self.of("refused"))

    def await_acked(self, count, seconds=30):
        until(f"{count} accepted ({self.replies().most_common(3)})", lambda: len(self.acked()) >= count, seconds)


def status(waypost):
    """Or None when no daemon answers."""
    done = waypost.run("status", "--json")
    return json.loads(done.out) if done.returncode == 0 else None


def await_idle(waypost, seconds=60, history=True):
    """The queue is empty, and its history written."""
    def idle():
        s = status(waypost)
        return s and s["queue"]["messages"] == 0 and (not history or s["spool"]["index_lag"] == 0)
    until("the queue is empty", idle, seconds, step=0.1)


def judge(load, sink, waypost, kills=(), seconds=60, history=True):
    """The promise: every acked mail arrived, to its own recipient, whole; nothing that was refused
    before its content ended did; between two copies either a kill (its time in `kills`) or an answer
    that was not given, and a record that says so. Returns the doubled mails."""
    loads = load if isinstance(load, list) else [load]
    mails = {m.token: m for one in loads for m in one.mails}
    acked = {t for t, m in mails.items() if m.state == "acked"}
    try:
        until("all accepted mail has arrived", lambda: acked <= set(sink.copies()), seconds, step=0.1)
    except AssertionError:
        missing = sorted(acked - set(sink.copies()))
        told = [f"{t} {mails[t].id}: {waypost.run('log', mails[t].id).out}" for t in missing[:3]]
        raise AssertionError(f"LOST {len(missing)} of {len(acked)}: {missing[:5]}\n" + "\n".join(told)
                             + waypost.run("status").out + waypost.tail())
    await_idle(waypost, seconds, history)
    copies = sink.copies()
    for token, found in copies.items():
        mail = mails[token]
        assert mail.state in ("acked", "unsure") or mail.reply.startswith(b"4"), f"{token} was refused: {mail.reply}"
        for c in found:
            assert c.rcpts == mail.rcpt, f"{token} went to {c.rcpts}"
            assert c.size == mail.size, f"{token} has {c.size} octets of {mail.size}"
    doubled = [mails[t] for t, found in copies.items() if len(found) > 1]
    for mail in doubled:
        found = sorted(copies[mail.token], key=lambda c: c.time)
        for one, two in zip(found, found[1:]):
            # What was in the sink's socket at the kill is written down a little later.
            assert not one.answered or any(one.time - LATE < k < two.time for k in kills), \
                f"{mail.token} {mail.id} came {len(found)} times for no reason: {found}"
        if mail.id:
            said = waypost.run("log", mail.id, "--json")
            assert "in doubt" in said.out or '"doubt"' in said.out, \
                f"{mail.token} doubled, not a word of it: {said.out}{said.err}{waypost.find('index')}"
    return doubled


def note(text):
    """Shown at the end of the stage."""
    with open(os.environ.get("CRASH_NOTES", os.devnull), "a") as out:
        out.write(f"note {text}\n")


def banner_ms(port, seconds=20):
    """Until a client is greeted, from now on."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        try:
            with Line(("127.0.0.1", port), 5) as line:
                if line.banner.startswith(b"220"):
                    return (time.monotonic() - began) * 1000
        except OSError:
            pass
        time.sleep(0.002)
    raise AssertionError(f"no banner within {seconds} s")
