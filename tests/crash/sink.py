# SPDX-License-Identifier: ISC
"""An SMTP server in a process of its own that writes down every token it was given, with the time,
before it answers the final dot. What it wrote is the truth about copies.

    sink.py PORT LEDGER [--delay SECONDS] [--drop N]

--drop N: each Nth message is kept, but the connection closed instead of answering. In the ledger
`kept TOKEN TIME RCPT LENGTH`, and `unanswered ...` for the latter.
"""
import argparse
import asyncio
import os
import time

READ = 1 << 18


class Sink:
    def __init__(self, ledger, delay, drop):
        self.ledger = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.delay, self.drop, self.count = delay, drop, 0

    async def serve(self, reader, writer):
        try:
            await self.talk(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    async def talk(self, reader, writer):
        writer.write(b"220 sink.test ESMTP\r\n")
        rcpts = []
        while True:
            line = await reader.readuntil(b"\n")
            verb = line[:4].upper()
            if verb == b"EHLO":
                writer.write(b"250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n"
                             b"250-SIZE 104857600\r\n250 ENHANCEDSTATUSCODES\r\n")
            elif verb == b"RCPT":
                rcpts.append(line[line.index(b"<") + 1:line.rindex(b">")].decode())
                writer.write(b"250 2.1.5 ok\r\n")
            elif verb == b"DATA":
                writer.write(b"354 go\r\n")
                data = await reader.readuntil(b"\r\n.\r\n")
                if not await self.message(writer, data, rcpts):
                    return
                rcpts = []
            elif verb == b"QUIT":
                writer.write(b"221 2.0.0 bye\r\n")
                return
            else:
                if verb in (b"MAIL", b"RSET"):
                    rcpts = []
                writer.write(b"250 2.0.0 ok\r\n")

    async def message(self, writer, data, rcpts):
        self.count += 1
        at = data.find(b"X-Token: ")
        token = data[at + 9:data.index(b"\r", at)].decode() if at >= 0 else "none"
        size = len(data) - 3 - at  # of what the sender wrote
        answered = not self.drop or self.count % self.drop != 0
        os.write(self.ledger, f"{'kept' if answered else 'unanswered'} {token} {time.monotonic():.6f} "
                              f"{','.join(rcpts)} {size}\n".encode())
        if self.delay:
            await asyncio.sleep(self.delay)
        if answered:
            writer.write(b"250 2.0.0 kept\r\n")
        return answered


async def main():
    args = argparse.ArgumentParser()
    args.add_argument("port", type=int)
    args.add_argument("ledger")
    args.add_argument("--delay", type=float, default=0)
    args.add_argument("--drop", type=int, default=0)
    args = args.parse_args()
    sink = Sink(args.ledger, args.delay, args.drop)
    server = await asyncio.start_server(sink.serve, "127.0.0.1", args.port, limit=1 << 27, backlog=512)
    print("ready", flush=True)
    async with server:
        await server.serve_forever()


asyncio.run(main())
