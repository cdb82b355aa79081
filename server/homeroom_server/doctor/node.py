"""What a running node says of itself when it is asked over its port."""

from collections.abc import Iterator
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from homeroom_server.doctor.finding import Finding, fix, ok, unknown, warning
from homeroom_server.doctor.machine import check_open_files

_SECONDS_MAX = 5.0
_NODE = "readiness"
_NO_METRICS = unknown("open files", "the node does not show its /metrics here", "ask from HOMEROOM_METRICS_NETWORKS")


async def look_at(url: str) -> list[Finding]:
    """What `/readyz` answers, and whether it can be reached as clients would reach it."""
    try:
        async with httpx.AsyncClient(timeout=_SECONDS_MAX) as http:
            answer = await http.get(f"{url.rstrip('/')}/readyz")
            said = answer.json()
            metrics = await http.get(f"{url.rstrip('/')}/metrics")
    except (httpx.HTTPError, httpx.InvalidURL) as failure:
        return [fix(_NODE, f"{url} does not answer: {failure or type(failure).__name__}", _reaching(failure))]
    except ValueError:
        return [fix(_NODE, f"{url}/readyz answers {answer.status_code}, and not as a node does", "name a node's URL")]
    found = check_metrics(url, metrics.text) if metrics.status_code == 200 else [_NO_METRICS]
    return [*check_readiness(url, said), *found]


def check_readiness(url: str, said: dict[str, Any]) -> Iterator[Finding]:
    """What is in the way of a node, by its own words."""
    reasons, troubles = said.get("reasons", []), said.get("troubles", [])
    for reason in reasons:
        yield fix(_NODE, f"{url} is not ready: {reason}", "see its log; while it drains, wait for the next one")
    for trouble in troubles:
        yield warning(_NODE, f"{url} had trouble within the last half minute", trouble)
    if not reasons and not troubles:
        yield ok(_NODE, f"{url} is ready, holds {said.get('held', 0):,} requests, reads from {said.get('reads')}")


def check_metrics(url: str, text: str) -> Iterator[Finding]:
    """What its numbers say of open files, and of connections that were taken for one client's."""
    families = text_string_to_metric_families(text)
    told = {(each.name, each.labels.get("limit")): each.value for family in families for each in family.samples}
    held_max = told["homeroom_limit", "held_requests_per_node_max"]
    yield check_open_files(int(held_max), told["homeroom_process_max_fds", None], url)
    refused = told["homeroom_limit_refusals_total", "connections_per_address_max"]
    if refused:
        found = f"{url} refused {refused:,.0f} connections, as their address had too many"
        yield warning("proxies", found, "if that is a proxy's address, name it in HOMEROOM_PROXIES")


def _reaching(failure: Exception) -> str:
    if "certificate" in str(failure).lower():
        return "clients will refuse this certificate as well, unless they were given its authority (SSL_CERT_FILE)"
    return "see whether a node runs there (homeroom serve), and what stands between"
