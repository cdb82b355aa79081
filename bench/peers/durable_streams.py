"""@durable-streams/server, in memory: long polls of one stream, held by one Node.js process."""

import json
import shutil
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.peers import MissingPeerError, Peer, cache_folder, free_port, running

_SCRIPT = """\
import { createRequire } from "node:module";
const require = createRequire(%(folder)s + "/");
const { DurableStreamTestServer } = require("@durable-streams/server");
await new DurableStreamTestServer({ port: %(port)d, host: "127.0.0.1", longPollTimeout: 600000 }).start();
"""


@contextmanager
def opened(message_bytes: int) -> Iterator[Peer]:
    """Running, with an empty stream; who asks from now on waits for the next message."""
    home, node = cache_folder("durable-streams"), shutil.which("node")
    if node is None or not (home / "node_modules/@durable-streams/server").is_dir():
        raise MissingPeerError(f"durable-streams: npm install --prefix {home} @durable-streams/server")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="homeroom-bench-streams-") as folder:
        script = Path(folder, "serve.mjs")
        script.write_text(_SCRIPT % {"folder": json.dumps(str(home)), "port": port}, encoding="utf-8")
        with running([node, str(script)], port, Path(folder, "said.log")) as process:
            url = f"http://127.0.0.1:{port}/bulletins"
            create = urllib.request.Request(url, method="PUT", headers={"Content-Type": "text/plain"})
            urllib.request.urlopen(create, timeout=10).close()
            ask = b"GET /bulletins?offset=now&live=long-poll HTTP/1.1\r\nHost: peer\r\n\r\n"
            head = "POST /bulletins HTTP/1.1\r\nHost: peer\r\nContent-Type: text/plain\r\n"
            publish = f"{head}Content-Length: {message_bytes}\r\n\r\n".encode() + b"x" * message_bytes
            yield Peer("durable-streams", "127.0.0.1", port, process.pid, ask, publish)
