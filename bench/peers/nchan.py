"""nginx + Nchan: long polls of one channel, held by one worker process."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from bench.peers import MissingPeerError, Peer, free_port, running

_MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
_WORKER_SECONDS = 10
_CONF = """\
{user}
load_module {module};
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 19900; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_timeout 600s;
    keepalive_requests 100000;
    nchan_shared_memory_size 64M;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location = /publish {{
            nchan_publisher;
            nchan_channel_id bulletins;
            nchan_message_buffer_length 1;
        }}
        location = /subscribe {{
            nchan_subscriber longpoll;
            nchan_channel_id bulletins;
            nchan_subscriber_first_message newest;
            nchan_subscriber_timeout 600s;
        }}
    }}
}}
"""


@contextmanager
def opened(message_bytes: int) -> Iterator[Peer]:
    """Running, with nothing published yet; who asks without saying what they have seen waits for the next message."""
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if nginx is None or not _MODULE.exists():
        raise MissingPeerError("Nchan: apt-get install nginx libnginx-mod-nchan (Debian)")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="homeroom-bench-nchan-") as folder:
        conf = Path(folder, "nginx.conf")
        user = "user root;" if os.geteuid() == 0 else ""
        conf.write_text(_CONF.format(user=user, module=_MODULE, folder=folder, port=port), encoding="utf-8")
        command = [nginx, "-p", folder, "-c", str(conf), "-e", f"{folder}/error.log"]
        with running(command, port, Path(folder, "said.log")) as master:
            worker = _worker(master.pid)
            ask = b"GET /subscribe HTTP/1.1\r\nHost: peer\r\n\r\n"
            body = b"x" * message_bytes
            head = f"POST /publish HTTP/1.1\r\nHost: peer\r\nContent-Length: {len(body)}\r\n\r\n"
            yield Peer("nginx + Nchan", "127.0.0.1", port, worker, ask, head.encode() + body)


def _worker(master: int) -> int:
    """The process that holds: the port accepts a moment before it is there."""
    deadline = time.monotonic() + _WORKER_SECONDS
    while not (workers := psutil.Process(master).children()):
        assert time.monotonic() < deadline, "nginx starts its worker"
        time.sleep(0.05)
    return workers[0].pid
