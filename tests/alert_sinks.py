"""A real HTTP and a real SMTP server on localhost that take messages, and fail when told to.

Both note every message they took, with its key, also when the sender never learns of it. `effects`
is what a receiver that looks at keys makes of them: the first of a key counts, others do not.
"""

from __future__ import annotations

import email
import email.policy
import json
import random
import socket
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller

# what may happen to one message, and whether the receiver has it afterwards
FAULTS = {
    "taken": True,  # and said so
    "slow": True,  # after a while
    "lost": True,  # taken, but the answer never arrives
    "busy": False,  # refused, with an answer
    "cut": False,  # hung up on before it was read
}


class Luck:
    """Draws what happens to each message: as told in `script`, then by shares."""

    def __init__(self, seed: int = 0, shares: dict[str, float] | None = None) -> None:
        self.chance = random.Random(seed)
        self.shares = shares or {"taken": 1.0}
        self.script: list[str] = []
        self.drawn: Counter[str] = Counter()
        self.lock = threading.Lock()

    def draw(self) -> str:
        with self.lock:
            fate = self.script.pop(0) if self.script else self._by_shares()
            self.drawn[fate] += 1
            return fate

    def _by_shares(self) -> str:
        return self.chance.choices(list(self.shares), list(self.shares.values()))[0]


class Sink:
    """What both servers note."""

    def __init__(self, luck: Luck) -> None:
        self.luck = luck
        self.taken: list[str] = []  # keys in order, also those whose answer was lost
        self.bodies: list[Any] = []
        self.refused = 0

    @property
    def effects(self) -> set[str]:
        return set(self.taken)

    @property
    def twice(self) -> dict[str, int]:
        return {key: n for key, n in Counter(self.taken).items() if n > 1}


class HttpSink(Sink):
    """Takes POSTs; the key is the header Idempotency-Key."""

    def __enter__(self) -> HttpSink:
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                fate = sink.luck.draw()
                if fate == "cut":
                    sink.refused += 1
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if fate == "busy":
                    sink.refused += 1
                    self.send_response(503, "Busy")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                sink.taken.append(self.headers["Idempotency-Key"])
                sink.bodies.append(json.loads(body))
                if fate == "lost":
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                if fate == "slow":
                    time.sleep(0.03)
                try:
                    self.send_response(200)
                    self.send_header("Content-Length", "2")
                    self.end_headers()
                    self.wfile.write(b"ok")
                except OSError:
                    pass  # the sender was killed

            def log_message(self, *_: Any) -> None: ...

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None: ...

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook/s3cret"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class MailSink(Sink):
    """Takes mail; the key is the left part of the Message-ID."""

    def __enter__(self) -> MailSink:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.controller = Controller(self, hostname="127.0.0.1", port=self.port)
        self.controller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.controller.stop()

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        import asyncio

        fate = self.luck.draw()
        if fate == "cut":
            self.refused += 1
            server.transport.abort()
            return "421 gone"
        if fate == "busy":
            self.refused += 1
            return "451 busy"
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.taken.append(mail["Message-ID"].strip("<>").partition("@")[0])
        self.bodies.append(mail)
        if fate == "lost":
            server.transport.abort()
            return "421 gone"
        if fate == "slow":
            await asyncio.sleep(0.03)
        return "250 taken"


def nobody_listens() -> int:
    """A port on which nothing answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
