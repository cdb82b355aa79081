"""What deploy/ has for Prometheus and Grafana asks for metrics that nodes tell, and can raise its alarms."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from homeroom_server.metrics import told
from tests.conftest import Core
from tests.records import accepted, available, note
from tests.test_deploy_files import DEPLOY, check, program

ALERTS = DEPLOY / "prometheus" / "alerts.yaml"
PROMETHEUS = DEPLOY / "prometheus" / "prometheus.yaml"
DASHBOARD = DEPLOY / "grafana" / "homeroom.json"
OPERATING = DEPLOY.parent / "docs" / "operating.md"

FIRING: Mapping[str, Mapping[str, str]] = {
    "HomeroomNodeDown": {'up{job="homeroom", instance="a"}': "0x90"},
    "HomeroomDatabaseAway": {'homeroom_feed_alive{instance="a"}': "0x90"},
    "HomeroomTellsLate": {'homeroom_behind_seconds{instance="a"}': "0+60x90"},
    "HomeroomAnswersErrors": {
        'homeroom_requests_total{instance="a", service="get", status="2xx"}': "0+90x90",
        'homeroom_requests_total{instance="a", service="submit", status="5xx"}': "0+10x90",
    },
    "HomeroomAuditLost": {'homeroom_audit_lost_total{instance="a"}': "0x80 5x10"},
    "HomeroomAuditWaits": {'homeroom_audit_waiting{instance="a"}': "20000x90"},
    "HomeroomRefuses": {'homeroom_limit_refusals_total{instance="a", limit="turn_seconds_max"}': "0+60x90"},
    "HomeroomNearALimit": {
        'homeroom_limit_in_use{instance="a", limit="writes_waiting_max"}': "9000x90",
        'homeroom_limit{instance="a", limit="writes_waiting_max"}': "10000x90",
    },
    "HomeroomCommitsSlowly": {
        'homeroom_commit_seconds_bucket{instance="a", le="1.0"}': "0+1x90",
        'homeroom_commit_seconds_bucket{instance="a", le="5.0"}': "0+60x90",
        'homeroom_commit_seconds_bucket{instance="a", le="+Inf"}': "0+60x90",
    },
    "HomeroomWakesSlowly": {
        'homeroom_wake_seconds_bucket{instance="a", le="1.0"}': "0+1x90",
        'homeroom_wake_seconds_bucket{instance="a", le="5.0"}': "0+60x90",
        'homeroom_wake_seconds_bucket{instance="a", le="+Inf"}': "0+60x90",
    },
    "HomeroomTriggersWait": {'homeroom_triggers_waiting{instance="a", kind="status"}': "5000x90"},
    "HomeroomWritersBusy": {
        'homeroom_database_connections_in_use{instance="a", pool="write"}': "4x90",
        'homeroom_limit{instance="a", limit="write_connections_max"}': "4x90",
    },
    "HomeroomFollowersGone": {'homeroom_held_requests{instance="a"}': "1000x80 10x10"},
    "HomeroomMemory": {'homeroom_process_resident_memory_bytes{instance="a"}': "2000000000x90"},
    "HomeroomOpenFiles": {
        'homeroom_process_open_fds{instance="a"}': "990x90",
        'homeroom_process_max_fds{instance="a"}': "1000x90",
    },
}
"""For each alert what a node tells, minute by minute, when something is wrong."""
WELL: Mapping[str, str] = {
    'up{job="homeroom", instance="a"}': "1x90",
    'homeroom_feed_alive{instance="a"}': "1x90",
    'homeroom_behind_seconds{instance="a"}': "0x90",
    'homeroom_requests_total{instance="a", service="get", status="2xx"}': "0+900x90",
    'homeroom_requests_total{instance="a", service="submit", status="5xx"}': "0+10x90",
    'homeroom_audit_lost_total{instance="a"}': "0x90",
    'homeroom_audit_waiting{instance="a"}': "20x90",
    'homeroom_limit_refusals_total{instance="a", limit="turn_seconds_max"}': "0+1x90",
    'homeroom_limit_in_use{instance="a", limit="requests_at_once_max"}': "64x90",
    'homeroom_limit{instance="a", limit="requests_at_once_max"}': "64x90",
    'homeroom_limit{instance="a", limit="write_connections_max"}': "4x90",
    'homeroom_commit_seconds_bucket{instance="a", le="1.0"}': "0+60x90",
    'homeroom_commit_seconds_bucket{instance="a", le="+Inf"}': "0+60x90",
    'homeroom_triggers_waiting{instance="a", kind="status"}': "10x90",
    'homeroom_database_connections_in_use{instance="a", pool="write"}': "1x90",
    'homeroom_held_requests{instance="a"}': "1000x90",
    'homeroom_process_resident_memory_bytes{instance="a"}': "200000000x90",
    'homeroom_process_open_fds{instance="a"}': "100x90",
    'homeroom_process_max_fds{instance="a"}': "1000x90",
}


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return found


def queries(document: dict[str, Any]) -> Iterator[str]:
    """What the dashboard asks Prometheus for, with its variables filled in."""
    asked = [target["expr"] for panel in document["panels"] for target in panel.get("targets", ())]
    asked += [each["expr"] for each in document["annotations"]["list"]]
    for query in asked:
        yield query.replace("$__rate_interval", "1m").replace("$instance", ".*")


async def test_every_metric_and_label_that_is_asked_for_is_told_by_a_node(plain_core: Core) -> None:
    client = await plain_core.client("S.0982")
    (version,) = await accepted(client, "Note", note("a"))
    await available(client, "Note")
    await client.get("Note", [{"id": "a", "expectedVersion": version}])
    families = list(text_string_to_metric_families(told(plain_core.services).decode()))
    names = {sample.name for family in families for sample in family.samples}
    labels = {pair for family in families for sample in family.samples for pair in sample.labels.items()}
    labels |= {("status", "5xx"), ("instance", ".*"), ("job", "homeroom")}
    asked = [*queries(dashboard()), *(rule["expr"] for rule in rules())]
    assert len(asked) > 40
    for query in asked:
        assert {*re.findall(r"\bhomeroom_\w+", query)} <= names, query
        wanted = re.findall(r'(\w+)=~?"([^"]*)"', query)
        assert {(label, value) for label, said in wanted for value in said.split("|")} <= labels, query


def test_the_dashboard_holds_together() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = [
        (p["gridPos"]["x"] + x, p["gridPos"]["y"] + y)
        for p in panels
        for x in range(p["gridPos"]["w"])
        for y in range(p["gridPos"]["h"])
    ]
    assert len(set(taken)) == len(taken), "panels lie upon each other"
    assert max(x for x, _ in taken) < 24


def test_every_alert_has_a_runbook_that_is_there() -> None:
    headings = re.findall(r"^#+ (.+)$", OPERATING.read_text(encoding="utf-8"), re.M)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for rule in rules():
        assert set(rule["annotations"]) == {"summary", "runbook"}
        assert rule["labels"]["severity"] in ("critical", "warning")
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert (page, anchor in anchors) == ("docs/operating.md", True), rule["annotations"]["runbook"]


def test_prometheus_reads_its_files() -> None:
    check([program("promtool"), "check", "config", str(PROMETHEUS)])


def test_every_query_of_the_dashboard_is_one(folder: Path) -> None:
    asked = [{"record": f"asked:{number}", "expr": query} for number, query in enumerate(queries(dashboard()))]
    file = folder / "asked.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "asked", "rules": asked}]}), encoding="utf-8")
    check([program("promtool"), "check", "rules", str(file)])


@pytest.mark.parametrize("alert", [rule["alert"] for rule in rules()])
def test_an_alert_fires_when_something_is_wrong_and_not_while_all_is_well(alert: str, folder: Path) -> None:
    promtool = program("promtool")
    for series, fires in ((FIRING[alert], True), (WELL, False)):
        tried = {
            "rule_files": [str(ALERTS)],
            "evaluation_interval": "1m",
            "tests": [
                {
                    "interval": "1m",
                    "input_series": [{"series": name, "values": values} for name, values in series.items()],
                    "promql_expr_test": [
                        {
                            "expr": f'count(ALERTS{{alertname="{alert}", alertstate="firing"}})',
                            "eval_time": "88m",
                            "exp_samples": [{"labels": "{}", "value": 1}] if fires else [],
                        }
                    ],
                }
            ],
        }
        file = folder / "tried.yaml"
        file.write_text(yaml.safe_dump(tried), encoding="utf-8")
        check([promtool, "test", "rules", str(file)])
