# SPDX-License-Identifier: ISC
"""An SMTP or LMTP server of which every answer can be scripted, for what no real server does.

    peer = Peer()
    peer.on["RCPT"] = "550 5.1.1 nobody"            # always
    peer.on["RCPT"] = lambda s, line: ... or None   # None: the usual answer
    peer.on["."] = CLOSE                            # drop the connection instead of answering

Every message whose dot was seen is in peer.messages, answered or not; peer.kept holds those that
got their 250.
"""
import socket
import threading
import time

from .mail import name_of
from .wait import PATIENCE, free_port

CLOSE = object()  # end the connection
RESET = object()  # end it with RST
SILENCE = object()  # say nothing

EHLO = ["PIPELINING", "8BITMIME", "SIZE 104857600", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES"]


class Message:
    def __init__(self, session, data):
        self.sender, self.rcpts = session.sender, list(session.rcpts)
        self.mail_line, self.rcpt_lines = session.mail_line, list(session.rcpt_lines)
        self.data = data  # dot-unstuffed, CRLF
        self.session = session
        self.name = name_of(data)


class Session:
    def __init__(self, peer, sock, number):
        self.peer, self.sock, self.number = peer, sock, number
        self.commands = []
        self.helo = None
        self.tls = False
        self.rest = b""
        self.reset()

    def reset(self):
        self.sender, self.rcpts, self.rcpt_lines, self.mail_line = None, [], [], None
        self.chunks = b""

    def more(self):
        got = self.sock.recv(1 << 18)
        if not got:
            raise ConnectionError
        return got

    def read_line(self):
        while b"\n" not in self.rest:
            self.rest += self.more()
        line, self.rest = self.rest.split(b"\n", 1)
        return line + b"\n"

    def read_content(self):
        if self.rest.startswith(b".\r\n"):
            self.rest = self.rest[3:]
            return b""
        parts, tail = [self.rest], self.rest
        at = tail.find(b"\r\n.\r\n")
        base = 0
        while at < 0:
            got = self.more()
            window = tail[-4:] + got
            base = sum(map(len, parts)) - len(tail[-4:])
            parts.append(got)
            at, tail = window.find(b"\r\n.\r\n"), window
        whole = b"".join(parts)
        end = base + at + 2
        content, self.rest = whole[:end], whole[end + 3:]
        self.wire = content
        content = content.replace(b"\r\n..", b"\r\n.")
        return content[1:] if content.startswith(b"..") else content

    def read_octets(self, n):
        while len(self.rest) < n:
            self.rest += self.more()
        data, self.rest = self.rest[:n], self.rest[n:]
        return data

    def answer(self, text):
        """False: the connection is to end."""
        if text is SILENCE:
            return True
        if text is RESET:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        if text in (CLOSE, RESET):
            return False
        if isinstance(text, str):
            text = text.encode() + b"\r\n"
        self.sock.sendall(text)
        return True


class Peer:
    def __init__(self, port=None, lmtp=False, ehlo=None, tls=None, host="127.0.0.1", receive_buffer=None):
        self.lmtp, self.ehlo, self.tls = lmtp, list(EHLO if ehlo is None else ehlo), tls
        self.host, self.port, self.receive_buffer = host, port or free_port(), receive_buffer
        self.on = {}
        self.messages, self.kept, self.sessions = [], [], []
        self.changed = threading.Condition()
        self.open, self.most = set(), 0  # connections now; the most there were at once
        self.listener = None
        self.start()

    # ---- life ----

    def start(self):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self.receive_buffer:  # else the kernel takes many MiB that nobody reads
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_buffer)
        self.listener.bind((self.host, self.port))
        self.listener.listen(512)
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()
        return self

    def stop(self):
        """Gone: connections end, new ones are refused."""
        if self.listener is not None:
            # Wakes the thread in accept(), else the port would stay open.
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
            self.listener = None
        with self.changed:
            for s in list(self.open):
                try:
                    s.sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def url(self):
        return f"{'lmtp' if self.lmtp else 'smtp'}://{self.host}:{self.port}"

    def gateway(self, **more):
        return {"url": self.url(), "tls": "off", **more}

    def _accept(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.changed:
                s = Session(self, sock, len(self.sessions))
                self.sessions.append(s)
                self.open.add(s)
                self.most = max(self.most, len(self.open))
                self.changed.notify_all()
            threading.Thread(target=self._serve, args=(s,), daemon=True).start()

    # ---- speech ----

    def _serve(self, s):
        try:
            self._talk(s)
        except (OSError, ValueError):
            pass
        finally:
            with self.changed:
                self.open.discard(s)
                self.changed.notify_all()
            s.sock.close()

    def _pick(self, s, key, line, usual):
        scripted = self.on.get(key)
        if callable(scripted):
            scripted = scripted(s, line)
        return usual if scripted is None else scripted

    def _talk(self, s):
        if not s.answer(self._pick(s, "banner", b"", "220 peer.test ESMTP")):
            return
        while True:
            line = s.read_line()
            with self.changed:
                s.commands.append(line)
                self.changed.notify_all()
            words = line.strip().split(None, 1)
            verb = words[0].upper().decode("latin-1") if words else ""
            act = getattr(self, "_do_" + verb.lower(), None)
            if act is None:
                go = s.answer(self._pick(s, verb, line, "502 5.5.2 what?"))
            else:
                go = act(s, line)
            if not go or verb == "QUIT":
                return

    def _do_ehlo(self, s, line):
        s.helo = line.split()[1]
        words = ["peer.test"] + self.ehlo
        if self.tls and not s.tls:
            words.append("STARTTLS")
        lines = [f"250{'-' if i + 1 < len(words) else ' '}{w}" for i, w in enumerate(words)]
        return s.answer(self._pick(s, "EHLO", line, "\r\n".join(lines)))

    _do_lhlo = _do_ehlo

    def _do_helo(self, s, line):
        return s.answer(self._pick(s, "HELO", line, "250 peer.test"))

    def _do_starttls(self, s, line):
        text = self._pick(s, "STARTTLS", line, "220 2.0.0 go")
        if not s.answer(text):
            return False
        if not self.tls or text[:1] not in ("2", b"2"):
            return True
        s.rest = b""
        s.sock = self.tls.wrap_socket(s.sock, server_side=True)
        s.tls = True
        return True

    def _path(self, line):
        return line[line.index(b"<") + 1:line.rindex(b">")].decode("utf-8", "surrogateescape")

    def _do_mail(self, s, line):
        s.reset()
        s.sender, s.mail_line = self._path(line), line.strip()
        return s.answer(self._pick(s, "MAIL", line, "250 2.1.0 ok"))

    def _do_rcpt(self, s, line):
        text = self._pick(s, "RCPT", line, "250 2.1.5 ok")
        if isinstance(text, str) and text.startswith("2"):
            s.rcpts.append(self._path(line))
            s.rcpt_lines.append(line.strip())
        return s.answer(text)

    def _do_rset(self, s, line):
        s.reset()
        return s.answer("250 2.0.0 ok")

    def _do_noop(self, s, line):
        return s.answer(self._pick(s, "NOOP", line, "250 2.0.0 ok"))

    def _do_quit(self, s, line):
        return s.answer(self._pick(s, "QUIT", line, "221 2.0.0 bye"))

    def _do_data(self, s, line):
        text = self._pick(s, "DATA", line, "354 go" if s.rcpts else "503 5.5.1 no recipients")
        if not s.answer(text):
            return False
        if not (isinstance(text, str) and text.startswith("3")):
            return True
        return self._message(s, s.read_content())

    def _do_bdat(self, s, line):
        words = line.split()
        s.chunks += s.read_octets(int(words[1]))
        if len(words) < 3:
            return s.answer("250 2.0.0 ok")
        return self._message(s, s.chunks)

    def _message(self, s, data):
        m = Message(s, data)
        with self.changed:
            self.messages.append(m)
            self.changed.notify_all()
        count = len(m.rcpts) if self.lmtp else 1
        for i in range(count):
            text = self._pick(s, ".", m, "250 2.0.0 kept")
            good = isinstance(text, str) and text.startswith("2")
            if good and i == 0:
                with self.changed:
                    self.kept.append(m)
                    self.changed.notify_all()
            if not s.answer(text):
                return False
        s.reset()
        return True

    # ---- looking ----

    def wait(self, what, check, seconds=PATIENCE):
        end = time.monotonic() + seconds
        with self.changed:
            while True:
                value = check()
                if value:
                    return value
                left = end - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"after {seconds:g} s still not: {what}")
                self.changed.wait(left)

    def named(self, name):
        return [m for m in self.messages if m.name == name]

    def await_message(self, name=None, count=1, seconds=PATIENCE):
        """The newest of at least `count` messages (with that token)."""
        found = lambda: self.named(name) if name else self.messages
        return self.wait(f"{count} message(s) {name or ''}",
                         lambda: len(found()) >= count and found()[-1], seconds)
