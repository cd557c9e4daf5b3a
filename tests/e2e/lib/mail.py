# SPDX-License-Identifier: ISC
"""Messages that can be recognised again."""
import email
import email.policy
import itertools
import os
import random

_serial = itertools.count(1)


def token():
    return f"T{os.getpid()}x{next(_serial)}x{random.getrandbits(48):012x}"


def message(body=b"Hello.\r\n", name=None, sender="a@client.test", rcpt="b@sink.test", subject="test"):
    """A whole message with CRLF ends; the token is the first field, so that all of it can be compared."""
    name = name or token()
    head = (f"X-Token: {name}\r\nFrom: <{sender}>\r\nTo: <{rcpt}>\r\nSubject: {subject}\r\n"
            f"Date: Sat, 21 Nov 2026 10:00:00 +0000\r\nMessage-ID: <{name}@client.test>\r\n\r\n")
    return head.encode() + body


def name_of(data):
    at = data.find(b"X-Token: ")
    if at < 0:
        return None
    return data[at + 9:].split(b"\n", 1)[0].strip().decode()


def from_token(data):
    """What the sender wrote: everything behind the trace fields that were put before it."""
    return data[data.index(b"X-Token: "):]


def lf(data):
    return data.replace(b"\r\n", b"\n")


def parse(data):
    return email.message_from_bytes(data, policy=email.policy.default)
