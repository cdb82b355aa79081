"""Who is told by hooks: a mail server and an HTTP receiver, on loopback sockets."""

import asyncio
import base64
import hashlib
import hmac
import json
import ssl
import threading
from collections import deque
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Mailbox:
    """A mail server that keeps what it takes. `login`: who may send; `refused`: to whom it does not deliver."""

    login: tuple[str, str] | None = None
    refused: Collection[str] = ()
    is_down: bool = False
    mails: list[EmailMessage] = field(default_factory=list)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"554 not now\r\n" if self.is_down else b"220 here\r\n")
        may_send, ended = self.login is None, self.is_down
        while not ended and (line := await reader.readline()):
            verb, _, rest = line.decode().strip().partition(" ")
            said = "250 fine"
            match verb.upper():
                case "EHLO":
                    said = "250-here\r\n250 AUTH PLAIN"
                case "AUTH":
                    _, user, password = base64.b64decode(rest.removeprefix("PLAIN ")).decode().split("\0")
                    may_send = (user, password) == self.login
                    said = "235 welcome" if may_send else f"535 not with {password}"
                case "MAIL" if not may_send:
                    said = "530 who are you"
                case "RCPT" if any(each in rest for each in self.refused):
                    said = "550 nobody here of that name"
                case "DATA":
                    writer.write(b"354 go on\r\n")
                    text = (await reader.readuntil(b"\r\n.\r\n")).removesuffix(b".\r\n").replace(b"\r\n..", b"\r\n.")
                    self.mails.append(message_from_bytes(text, EmailMessage, policy=policy.default))
                case "QUIT":
                    said, ended = "221 bye", True
            writer.write(f"{said}\r\n".encode())
        await writer.drain()
        writer.close()


@asynccontextmanager
async def opened_mailbox(mailbox: Mailbox, tls: ssl.SSLContext | None = None) -> AsyncIterator[Mailbox]:
    server = await asyncio.start_server(mailbox.serve, "127.0.0.1", 0, ssl=tls)
    mailbox.port = server.sockets[0].getsockname()[1]
    try:
        yield mailbox
    finally:
        server.close()


@dataclass
class Receiver:
    """Keeps what is posted to it; `answers`: the status of the next ones, then 204."""

    answers: deque[int] = field(default_factory=deque)
    posts: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""

    def said(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.posts]


def is_signed(headers: dict[str, str], body: bytes, secret: str) -> bool:
    """As a receiver would find it out by docs/merging.md."""
    signed = f"{headers['Homeroom-Id']}.{headers['Homeroom-Timestamp']}.".encode() + body
    expected = "sha256=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, headers["Homeroom-Signature"])


@contextmanager
def opened_receiver() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.posts.append((dict(self.headers), body))
            self.send_response(receiver.answers.popleft() if receiver.answers else 204)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 as the library names it
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        receiver.url = f"http://127.0.0.1:{server.server_port}/desk"
        yield receiver
        server.shutdown()
