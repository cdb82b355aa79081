"""HAProxy as a process, on the configuration that ships, with a certificate of its own."""

import csv
import os
import shutil
import signal
import ssl
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import httpx
import trustme

from homeroom import Client
from tests.cluster import free_port

CONFIGURATION = Path(__file__).parent.parent / "deploy" / "haproxy" / "haproxy.cfg"
HAPROXY = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
NODES = 3


@dataclass(frozen=True)
class Proxy:
    """Where it answers, whom to trust for that, and where it says what it thinks of the nodes."""

    url: str
    trust: ssl.SSLContext
    status_url: str

    def client(self, key: str, retry_seconds: float = 0) -> Client:
        transport = httpx.AsyncHTTPTransport(verify=self.trust)
        return Client(self.url, key, retry_seconds=retry_seconds, transport=transport)

    async def until(self, *states: str) -> None:
        """Wait until the nodes are thought to be in these states."""
        with anyio.fail_after(20):
            while await self._states() != list(states):
                await anyio.sleep(0.05)

    async def _states(self) -> list[str]:
        """A node is what its checks have said, never what is assumed before the first."""
        async with httpx.AsyncClient() as http:
            said = (await http.get(f"{self.status_url}/;csv")).text.removeprefix("# ")
        nodes = [row for row in csv.DictReader(said.splitlines()) if row["svname"].startswith("node")]
        return [node["status"] if node["check_status"].startswith("L") else "unknown" for node in nodes]


def environment_for(folder: Path, nodes: Sequence[str] = ()) -> tuple[dict[str, str], ssl.SSLContext]:
    """What the configuration is told on a machine of tests; nodes that are not named do not exist."""
    authority, certificate = trustme.CA(), folder / "proxy.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    addresses = [*nodes, *(f"127.0.0.1:{free_port()}" for _ in range(NODES - len(nodes)))]
    return {
        **os.environ,
        "PROXY_BIND": f"127.0.0.1:{free_port()}",
        "PROXY_STATUS_BIND": f"127.0.0.1:{free_port()}",
        "PROXY_CERTIFICATE": str(certificate),
        "PROXY_CONNECTIONS_MAX": "500",
        **{f"NODE_{number}": address for number, address in enumerate(addresses, 1)},
    }, trust


@asynccontextmanager
async def running_haproxy(folder: Path, nodes: Sequence[str] = ()) -> AsyncIterator[Proxy]:
    """It listens; what it thinks of the nodes comes with its checks."""
    assert HAPROXY is not None
    environment, trust = environment_for(folder, nodes)
    command = [HAPROXY, "-db", "-f", str(CONFIGURATION)]
    async with await anyio.open_process(command, stdout=subprocess.DEVNULL, stderr=None, env=environment) as process:
        proxy = Proxy(f"https://{environment['PROXY_BIND']}", trust, f"http://{environment['PROXY_STATUS_BIND']}")
        try:
            host, _, port = environment["PROXY_BIND"].partition(":")
            with anyio.fail_after(10):
                while not await _listens(host, int(port)):
                    assert process.returncode is None, "it has said why"
                    await anyio.sleep(0.02)
            yield proxy
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
                process.kill()


async def _listens(host: str, port: int) -> bool:
    try:
        async with await anyio.connect_tcp(host, port):
            return True
    except OSError:
        return False
