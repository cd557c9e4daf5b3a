# SPDX-License-Identifier: ISC
"""The daemon under test: its configuration, its life, its log as events."""
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import threading
import time

from .wait import PATIENCE, free_port

ROOT = pathlib.Path(__file__).resolve().parents[3]
BINARY = os.path.abspath(os.environ.get("WAYPOST", ROOT / "build" / "waypost"))
FAULTS = re.compile(r"AddressSanitizer|LeakSanitizer|UndefinedBehavior|runtime error:|Assertion .* failed")


class Waypost:
    """One configuration in a directory, started as often as wanted.

    `gateways` is a dict as in the configuration; `settings` are merged over everything else.
    """

    def __init__(self, path, gateways=None, listeners=None, binary=None, wrap=(), **settings):
        self.dir = pathlib.Path(path)
        self.dir.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.binary = binary or BINARY
        self.wrap = list(wrap)  # a command before the daemon: strace, prlimit
        self.file = self.dir / "waypost.yaml"
        self.conf = {
            "hostname": "waypost.test",
            "spool": str(self.dir / "spool"),
            "run": str(self.dir / "run"),
            "loops": 2,
            "log": {"format": "json", "level": "info"},
            "listeners": listeners or {"local": {"address": [f"127.0.0.1:{self.port}"]}},
            # No server outside: a test that needs names brings its own.
            "dns": {"servers": ["127.0.0.1:1"]},
        }
        if gateways is not None:
            self.conf["gateways"] = gateways
        self.conf.update(settings)
        self.write()
        self.process = None
        self.reader = None
        self.events = []  # of all starts
        self.noise = []  # lines that are no events
        self.changed = threading.Condition()
        self.env = dict(os.environ, ASAN_OPTIONS="detect_leaks=0:abort_on_error=1",
                        UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1")

    # ---- configuration ----

    def write(self):
        # JSON is YAML, and leaves no question of quoting.
        self.file.write_text(json.dumps(self.conf, indent=1) + "\n")
        self.file.chmod(0o600)

    # ---- life ----

    def start(self, wait=True):
        seen = len(self.events)
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            self.wrap + [self.binary, "--config", str(self.file), "serve"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            env=self.env, start_new_session=True)
        self.reader = threading.Thread(target=self._read, args=(self.process,), daemon=True)
        self.reader.start()
        if wait:
            self.await_event("ready", since=seen)
        return self

    def _read(self, process):
        for line in process.stderr:
            try:
                event = json.loads(line)
                kept, item = self.events, event
                item["event"]
            except (ValueError, KeyError, TypeError):
                kept, item = self.noise, line.decode("utf-8", "replace").rstrip()
            with self.changed:
                kept.append(item)
                self.changed.notify_all()
        with self.changed:
            self.changed.notify_all()

    def pid(self):
        """Of the daemon itself, also behind a wrapping command."""
        if not self.wrap:
            return self.process.pid
        children = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        below = pathlib.Path(children).read_text().split()
        return int(below[0]) if below else self.process.pid

    def kill(self):
        """kill -9."""
        os.kill(self.pid(), signal.SIGKILL)
        self._gone()

    def stop(self, seconds=PATIENCE):
        """Ends in order; the exit status."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            os.kill(self.pid(), signal.SIGTERM)
        return self._gone(seconds)

    def _gone(self, seconds=PATIENCE):
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"the daemon did not end within {seconds:g} s\n{self.tail()}")
        self.reader.join(PATIENCE)
        self.process.stderr.close()
        self.process = None
        return status

    def close(self):
        """Stops, and judges what the run left behind."""
        status = self.stop()
        faults = [n for n in self.noise if FAULTS.search(n)]
        assert not faults, "\n".join(self.noise)
        assert status in (None, 0), f"exit status {status}\n{self.tail()}"

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def tail(self, n=25):
        lines = [f"{e.get('level', '')} {e['event']} {e.get('id') or ''} {e.get('text', '')}"
                 for e in self.events[-n:]]
        return "\n".join(lines + self.noise[-n:])

    # ---- events ----

    def find(self, event, text=None, since=0, **fields):
        return [e for e in self.events[since:] if e["event"] == event
                and (text is None or re.search(text, e.get("text", "")))
                and all(e.get(k) == v for k, v in fields.items())]

    def await_event(self, event, text=None, since=0, count=1, seconds=PATIENCE, **fields):
        """The count-th such event since a mark (len(self.events) at some moment)."""
        end = time.monotonic() + seconds
        with self.changed:
            while True:
                found = self.find(event, text, since, **fields)
                if len(found) >= count:
                    return found[count - 1]
                ended = self.process is not None and self.process.poll() is not None
                left = end - time.monotonic()
                if left <= 0 or (ended and not self.reader.is_alive()):
                    raise AssertionError(
                        f"no `{event}` {text or ''} {fields or ''} ({'ended' if ended else 'timeout'})\n"
                        + self.tail())
                self.changed.wait(min(left, 0.5))

    # ---- commands ----

    def run(self, *args, input=None, check=None, program=None, env=None, timeout=60):
        argv = [program or self.binary] + ([] if program else ["--config", str(self.file)]) + list(args)
        done = subprocess.run(argv, input=input, capture_output=True, timeout=timeout,
                              env=env or dict(self.env, WAYPOST_CONFIG=str(self.file)))
        done.out = done.stdout.decode("utf-8", "replace")
        done.err = done.stderr.decode("utf-8", "replace")
        assert not FAULTS.search(done.err), done.err
        if check is not None:
            assert done.returncode == check, f"{args}: {done.returncode}\n{done.out}{done.err}"
        return done

    def json(self, *args):
        """What a reading command says with --json: one value, or a list of one value a line."""
        out = self.run(*args, "--json", check=0).out
        try:
            return json.loads(out)
        except ValueError:
            return [json.loads(line) for line in out.splitlines() if line]

    def queue(self):
        found = self.json("queue", "list")
        return found if isinstance(found, list) else [found]

    # ---- raw speech ----

    def send(self, message, expect=b"250", **how):
        """Hands one message in over a connection of its own; its id."""
        with self.connect() as c:
            c.say("EHLO client.test")
            r = c.hand_in(message, **how)
            assert r.startswith(expect), r
            c.say("QUIT")
        return r.split()[2].decode() if r.startswith(b"250") else None

    def connect(self, port=None, timeout=PATIENCE):
        return Line(("127.0.0.1", port or self.port), timeout)


class Line:
    """A client that writes bytes and reads replies, with no manners of its own."""

    def __init__(self, address, timeout=PATIENCE, greeting=True):
        self.sock = socket.create_connection(address, timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest = b""
        self.banner = self.reply() if greeting else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def line(self):
        """One line with its end; b"" at the end of the connection."""
        while b"\n" not in self.rest:
            try:
                got = self.sock.recv(65536)
            except ConnectionError:
                got = b""
            if not got:
                line, self.rest = self.rest, b""
                return line
            self.rest += got
        line, self.rest = self.rest.split(b"\n", 1)
        return line + b"\n"

    def reply(self):
        """All lines of one reply; b"" at the end of the connection."""
        lines = []
        while True:
            line = self.line()
            lines.append(line)
            if len(line) < 4 or line[3:4] != b"-":
                return b"".join(lines)

    def say(self, command):
        self.send(command.encode() + b"\r\n" if isinstance(command, str) else command)
        return self.reply()

    def rest_of_replies(self):
        """Everything until the other side closes."""
        found = []
        while True:
            r = self.reply()
            if not r:
                return found
            found.append(r)

    def hand_in(self, message, sender="a@client.test", rcpt="b@sink.test", mail="", each=""):
        """One message, waiting for each reply; the last reply. `mail` and `each` are parameters."""
        rcpts = [rcpt] if isinstance(rcpt, str) else rcpt
        for command in (f"MAIL FROM:<{sender}> {mail}".strip(),
                        *(f"RCPT TO:<{r}> {each}".strip() for r in rcpts), "DATA"):
            r = self.say(command)
            if not r[:1] in b"23":
                return r
        self.send(stuff(message) + b".\r\n")
        return self.reply()


def stuff(message):
    """CRLF line ends to the wire's dot-stuffed form."""
    wire = message.replace(b"\r\n.", b"\r\n..")
    return b"." + wire if wire.startswith(b".") else wire
