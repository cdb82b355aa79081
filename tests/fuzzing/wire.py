"""HTTP byte by byte: requests that are whole, requests that are none, and what is read back from a connection."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson

from tests.fuzzing.target import Target

Json = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    status: int
    document: Any


@dataclass(frozen=True)
class Call:
    """One request that is whole. `framing`: how its body, and what else a request may carry, are written."""

    path: str
    key: str
    body: Json | None
    framing: str = "length"

    def to_bytes(self) -> bytes:
        content = b"" if self.body is None else orjson.dumps(self.body)
        where = f"http://elsewhere{self.path}" if self.framing == "absolute" else self.path
        lines = [f"{'GET' if self.body is None else 'POST'} {where} HTTP/1.1", "Host: core"]
        lines.append(f"Authorization: Bearer {self.key}")
        lines += _WITH_BODY.get(self.framing, ()) if content else _WITHOUT_BODY.get(self.framing, ())
        if self.framing in ("chunks", "trailers") and content:
            lines.append("Transfer-Encoding: chunked")
            trailers = b"Authorization: Bearer nobody\r\nX-More: 1\r\n" if self.framing == "trailers" else b""
            content = b"".join(_chunks(content)) + b"0;last\r\n" + trailers + b"\r\n"
        elif content:
            lines.append(f"Content-Length: {len(content)}")
        before = b"\r\n" if self.framing == "blank line" else b""
        return before + "\r\n".join([*lines, "", ""]).encode() + content


_WITHOUT_BODY = {
    "upgrade": ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"),
    "websocket": ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
    "long": (f"X-Long: {'x' * 6_000}",),
}
_WITH_BODY = {"expect": ("Expect: 100-continue",), "long": (f"X-Long: {'x' * 6_000}",)}
FRAMINGS = ["length", "chunks", "trailers", "absolute", "blank line", "upgrade", "websocket", "expect", "long"]


def _chunks(content: bytes) -> Iterator[bytes]:
    for size, start in ((7, 0), (1, 7), (len(content), 8)):
        if piece := content[start : start + size]:
            yield b"%x\r\n%s\r\n" % (len(piece), piece)


def _head(*lines: bytes, first: bytes = b"POST /v1/get/Note HTTP/1.1") -> bytes:
    return b"\r\n".join([first, b"Host: core", *lines, b"", b""])


_CHUNKED = b"Transfer-Encoding: chunked"
NO_REQUESTS: Sequence[bytes] = [
    b"nonsense\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 40,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    *(_head(first=line) for line in (b"FOO / HTTP/1.1", b"get / HTTP/1.1", b"GET\t/\tHTTP/1.1", b"GET / HTTP/1.9")),
    *(_head(first=line) for line in (b"GET /a b HTTP/1.1", b"GET /\0 HTTP/1.1", b"GET /\xff HTTP/1.1")),
    *(_head(first=line) for line in (b"CONNECT a:443 HTTP/1.1", b"GET v1/hello HTTP/1.1", b"GET http://a HTTP/1.1")),
    *(_head(line) for line in (b"X y: 1", b": 1", b"nonsense", b"X\0: 1", b"X\xff: 1", b"X : 1")),
    *(_head(line) for line in (b"X: a\0b", b"X: a\rb", b"X: a\nY: b", b"X: \x01", b"X: a\r\n folded")),
    *(_head(b"Content-Length: " + length) for length in (b"", b"+5", b"-1", b"0x5", b"5, 5", b"5_0", b"9" * 30)),
    _head(b"Content-Length: 5", b"Content-Length: 5") + b"hello",
    _head(b"Content-Length: 5", b"Content-Length: 6") + b"hello",
    _head(b"Content-Length: 5", _CHUNKED) + b"0\r\n\r\n",
    _head(_CHUNKED, b"Content-Length: 5") + b"0\r\n\r\n",
    *(_head(b"Transfer-Encoding: " + coding) for coding in (b"identity", b"xchunked", b"chunked, identity")),
    *(_head(_CHUNKED) + body for body in (b"zz\r\n", b"-5\r\nhello", b"0x5\r\nhello", b"5 \r\nhello", b"f" * 20)),
    *(_head(_CHUNKED) + body for body in (b"5\nhello\n0\n\n", b"3\r\nhello\r\n", b"5;a\nb\r\nhello\r\n")),
    _head(_CHUNKED) + b"0\r\nContent-Length: 5\r\n\r\n",
    _head(b"Connection: Upgrade", b"Upgrade: h2c", b"Content-Length: 5") + b"hello",
    _head(b"Connection: Upgrade", b"Upgrade: websocket", _CHUNKED) + b"0\r\n\r\n",
    _head(b"X: 1").replace(b"\r\n", b"\n"),
    _head(b"X: 1").replace(b"\r\n", b"\r\r\n"),
]
"""Each is to be told 400, and the last that is heard on its connection."""


class Wire:
    """A connection, and what has come of it."""

    def __init__(self, target: Target) -> None:
        self.socket = socket.create_connection(("127.0.0.1", target.port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._said = b""

    def send(self, piece: bytes) -> None:
        """Whether or not anybody still listens."""
        with suppress(OSError):
            self.socket.sendall(piece)

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.close()

    def end(self) -> None:
        """No more comes from here."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.socket.close()

    def answer(self) -> Answer | None:
        """The next one; None once the connection is closed."""
        while True:
            head, _, self._said = self._until(b"\r\n\r\n").partition(b"\r\n\r\n")
            if not head:
                return None
            status = int(head[9:12])
            if status >= 200:
                break
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        while len(self._said) < length:
            self._said += self._more()
        body, self._said = self._said[:length], self._said[length:]
        return Answer(status, orjson.loads(body) if body.startswith(b"{") else None)

    def _until(self, end: bytes) -> bytes:
        """What was said, up to there at least; empty if the connection ended before anything was."""
        while end not in self._said:
            if not (piece := self._more()):
                assert not self._said, "cut in the midst of an answer"
                return b""
            self._said += piece
        return self._said

    def _more(self) -> bytes:
        try:
            return self.socket.recv(65_536)
        except ConnectionError:
            self._said = b""  # reset, as what was sent was not read: nobody can tell what got lost
            return b""
