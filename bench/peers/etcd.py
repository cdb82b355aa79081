"""etcd: watches of one key over its HTTP/JSON gateway, held by one process."""

import base64
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.peers import MissingPeerError, Peer, free_port, running

_KEY = base64.b64encode(b"bulletins").decode()


@contextmanager
def opened(message_bytes: int) -> Iterator[Peer]:
    """Running, alone. A watch is acknowledged with a first piece; then each change is one."""
    etcd = shutil.which("etcd")
    if etcd is None:
        raise MissingPeerError("etcd: apt-get install etcd-server (Debian)")
    port, peer_port = free_port(), free_port()
    at, among = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer_port}"
    with tempfile.TemporaryDirectory(prefix="homeroom-bench-etcd-") as folder:
        command = [etcd, "--data-dir", f"{folder}/data", "--listen-client-urls", at, "--advertise-client-urls", at]
        command += ["--listen-peer-urls", among, "--initial-advertise-peer-urls", among]
        command += ["--initial-cluster", f"default={among}", "--log-level", "error"]
        with running(command, port, Path(folder, "said.log")) as process:
            value = base64.b64encode(b"x" * message_bytes).decode()
            ask = _post("/v3/watch", {"create_request": {"key": _KEY}})
            publish = _post("/v3/kv/put", {"key": _KEY, "value": value})
            yield Peer("etcd", "127.0.0.1", port, process.pid, ask, publish, mark=b'"result"')


def _post(path: str, body: object) -> bytes:
    content = json.dumps(body).encode()
    return f"POST {path} HTTP/1.1\r\nHost: peer\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content
