"""The files in deploy/ hold together: each is read by the program it is for, and their times and numbers fit."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import trustme
import typer
import typer.main
import yaml

from homeroom.client import _ANSWER_SECONDS
from homeroom.protocol import WAIT_SECONDS_MAX
from homeroom_merge.command import app as merge_app
from homeroom_server.cli import app
from homeroom_server.database import connections_of_node
from homeroom_server.doctor.configuration import check_proxies
from homeroom_server.doctor.finding import Level
from homeroom_server.server import _KEEP_ALIVE_SECONDS, LAST_ANSWERS_SECONDS
from homeroom_server.settings import Settings, read_settings
from tests.haproxy import CONFIGURATION, HAPROXY, environment_for
from tests.processes import HOMEROOM

DEPLOY = Path(__file__).parent.parent / "deploy"
FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file())
COMPOSE = sorted(DEPLOY.rglob("compose.yaml"))
UNITS = sorted(DEPLOY.rglob("*.service"))
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin"
NODES = 3
_CLOSING_SECONDS = 10


def times(text: str, *words: str) -> float:
    """The seconds that stand after these words."""
    found = re.search(rf"^[^#\n]*\b{' +'.join(words)}[ =]+(\d+)(ms|s|m)?\b", text, re.M)
    assert found is not None, words
    return float(found[1]) * {"ms": 0.001, "s": 1, "m": 60, None: 1}[found[2]]


def value(text: str, variable: str) -> float:
    """What an environment file or a compose file gives a variable."""
    found = re.search(rf'^\s*{variable}[=:]\s*"?([\d.]+)', text, re.M)
    assert found is not None, variable
    return float(found[1])


def test_every_variable_is_a_setting() -> None:
    nodes = [path for path in FILES if not path.name.startswith("homeroom-merge")]
    used = {name for path in nodes for name in re.findall(r"HOMEROOM_[A-Z_]+", path.read_text(encoding="utf-8"))}
    assert used <= {f"HOMEROOM_{field.name.upper()}" for field in fields(Settings)}
    assert "HOMEROOM_DRAIN_NOTICE_SECONDS" in used


@pytest.mark.parametrize("path", [path for path in FILES if path.suffix == ".yaml"], ids=lambda path: path.parent.name)
def test_no_key_stands_twice(path: Path) -> None:
    """Docker refuses such a file, and a reader believes the wrong one of them."""
    for node in nodes_of(yaml.compose(path.read_text(encoding="utf-8"), yaml.SafeLoader)):
        if isinstance(node, yaml.MappingNode):
            keys = [key.value for key, _ in node.value]
            assert len(set(keys)) == len(keys), keys


def nodes_of(node: yaml.Node | None) -> Iterator[yaml.Node]:
    """It and all below it."""
    if node is None:
        return
    yield node
    below = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
    for each in below if isinstance(node, yaml.CollectionNode) else ():
        yield from nodes_of(each)


def nodes_environments() -> dict[str, dict[str, str]]:
    """What each of the files that start a node gives it."""
    dockerfile = (DEPLOY / "compose" / "Dockerfile").read_text(encoding="utf-8")
    image = dict(re.findall(r"(HOMEROOM_[A-Z_]+)=(\S+)", dockerfile))
    found = {}
    for path in COMPOSE:
        services = yaml.safe_load(path.read_text(encoding="utf-8"))["services"]
        for name, service in services.items():
            if name.startswith("node"):
                found[f"{path.parent.name} {name}"] = image | service["environment"]
    for path in DEPLOY.rglob("homeroom.env"):
        found[path.parent.name] = dict(re.findall(r"^(HOMEROOM_[A-Z_]+)=(.*)$", path.read_text(encoding="utf-8"), re.M))
    return found


@pytest.mark.parametrize("file", nodes_environments())
def test_settings_of_every_file_are_taken_and_the_proxy_before_the_node_is_believed(
    file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, said in nodes_environments()[file].items():
        monkeypatch.setenv(variable, said)
    settings = read_settings()
    assert settings.held_requests_per_node_max <= 20_000
    assert check_proxies(settings).level is Level.OK


def test_the_image_is_built_of_what_is_there_on_a_python_that_it_is_pinned_for() -> None:
    dockerfile = (DEPLOY / "compose" / "Dockerfile").read_text(encoding="utf-8")
    let_in = {
        line[1:]
        for line in Path(f"{DEPLOY}/compose/Dockerfile.dockerignore").read_text().splitlines()
        if line[0] == "!"
    }
    taken = {name for line in re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.M) for name in line.split()}
    assert taken == let_in
    assert all((DEPLOY.parent / name).exists() for name in taken)
    pinned = re.findall(r"--python-version (\S+)", (DEPLOY.parent / "Makefile").read_text(encoding="utf-8"))
    assert set(re.findall(r"^FROM python:(\S+?)-slim", dockerfile, re.M)) == set(pinned)


def test_the_proxies_never_cut_a_held_request_and_close_idle_connections_before_the_node() -> None:
    longest = WAIT_SECONDS_MAX + _ANSWER_SECONDS
    haproxy = CONFIGURATION.read_text(encoding="utf-8")
    assert times(haproxy, "timeout", "server") > longest
    assert times(haproxy, "timeout", "client") > longest
    assert times(haproxy, "hard-stop-after") > longest
    assert times(haproxy, "timeout", "http-keep-alive") < _KEEP_ALIVE_SECONDS
    nginx = (DEPLOY / "nginx" / "homeroom.conf").read_text(encoding="utf-8")
    assert times(nginx, "proxy_read_timeout") > longest
    assert times(nginx, "keepalive_timeout") < _KEEP_ALIVE_SECONDS


@pytest.mark.parametrize("path", [DEPLOY / "compose" / "compose.yaml", DEPLOY / "systemd" / "homeroom.env"])
def test_notice_lasts_longer_than_the_proxy_takes_to_see_it(path: Path) -> None:
    haproxy = CONFIGURATION.read_text(encoding="utf-8")
    fall = int(times(haproxy, "fall"))
    each = times(haproxy, "timeout", "check")
    seen = times(haproxy, "inter") + (fall - 1) * times(haproxy, "fastinter") + fall * each
    assert value(path.read_text(encoding="utf-8"), "HOMEROOM_DRAIN_NOTICE_SECONDS") > seen


@pytest.mark.parametrize(
    ("variables", "unit", "words"),
    [
        ("systemd/homeroom.env", "systemd/homeroom@.service", "TimeoutStopSec"),
        ("one-machine/homeroom.env", "one-machine/homeroom.service", "TimeoutStopSec"),
        ("compose/compose.yaml", "compose/compose.yaml", "stop_grace_period:"),
        ("one-machine/compose.yaml", "one-machine/compose.yaml", "stop_grace_period:"),
    ],
)
def test_a_node_is_not_killed_while_it_drains(variables: str, unit: str, words: str) -> None:
    said = (DEPLOY / variables).read_text(encoding="utf-8")
    drain = value(said, "HOMEROOM_DRAIN_NOTICE_SECONDS") + value(said, "HOMEROOM_DRAIN_SECONDS")
    needed = drain + LAST_ANSWERS_SECONDS + _CLOSING_SECONDS
    assert times((DEPLOY / unit).read_text(encoding="utf-8"), words) >= needed


def test_postgresql_allows_the_connections_of_all_nodes_and_of_those_that_replace_them() -> None:
    each = connections_of_node(Settings())
    conf = (DEPLOY / "postgresql" / "primary.conf").read_text(encoding="utf-8")
    assert times(conf, "max_connections") >= 2 * NODES * each + 10 + 3


@pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed (apt-get install haproxy)")
def test_haproxy_reads_its_configuration_without_a_warning(folder: Path) -> None:
    environment, _ = environment_for(folder)
    check([str(HAPROXY), "-c", "-dW", "-f", str(CONFIGURATION)], environment)


def test_nginx_reads_its_configuration(folder: Path) -> None:
    nginx = program("nginx")
    certificate = folder / "nginx.pem"
    trustme.CA().issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
    shipped = (DEPLOY / "nginx" / "homeroom.conf").read_text(encoding="utf-8")
    shipped = shipped.replace("/etc/nginx/homeroom.pem", str(certificate)).replace("443 ssl", "127.0.0.1:8443 ssl")
    conf = folder / "nginx.conf"
    conf.write_text(f"pid {folder}/pid;\nevents {{}}\nhttp {{\naccess_log off;\n{shipped}\n}}\n", encoding="utf-8")
    check([nginx, "-t", "-q", "-c", str(conf), "-p", str(folder), "-e", str(folder / "log")])


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_systemd_reads_its_units(unit: Path, folder: Path) -> None:
    """Only where programs stand is another place here."""
    shipped = unit.read_text(encoding="utf-8")
    copy = folder / unit.name.replace("@", "@8081")
    copy.write_text(shipped.replace("/opt/homeroom/bin/homeroom", HOMEROOM).replace("/usr/bin/curl", "/bin/true"))
    said = check([program("systemd-analyze"), "verify", "--man=no", str(copy)])
    assert unit.name.partition("@")[0] not in said, said


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_units_start_commands_that_exist(unit: Path) -> None:
    found = re.search(r"^ExecStart=/opt/homeroom/bin/homeroom(-merge)? (.+)$", unit.read_text(encoding="utf-8"), re.M)
    assert found is not None
    check_command(found[2].split(), merge_app if found[1] else app)


@pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.parent.name)
def test_compose_files_start_what_exists(path: Path) -> None:
    document: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    images = {re.sub(r":.*", "", service["image"]) for service in document["services"].values()}
    assert images <= {"homeroom", "postgres", "haproxy"}
    addresses = [service["networks"]["core"]["ipv4_address"] for service in document["services"].values()]
    assert len(addresses) == len(set(addresses))
    known = re.findall(r"\$\{([A-Z_0-9]+)-", CONFIGURATION.read_text(encoding="utf-8"))
    assert set(document["services"]["haproxy"]["environment"]) <= set(known)
    for name, service in document["services"].items():
        if name.startswith("node"):
            check_command(service["command"])
            assert (path.parent / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            if source.startswith(".") and not source.endswith("homeroom.pem"):  # which the operator brings
                assert (path.parent / source).exists(), source
            else:
                assert source in document["volumes"] or source == "./homeroom.pem"


def check_command(arguments: list[str], of: typer.Typer = app) -> None:
    """Fails unless `homeroom`, or another, has this command with these flags."""
    command = typer.main.get_command(of)
    known = command.get_command(typer.Context(command), arguments[0])  # type: ignore[attr-defined]  # a group
    assert known is not None
    flags = {flag for parameter in known.params for flag in parameter.opts}
    assert {argument for argument in arguments if argument.startswith("--")} <= flags


def program(name: str) -> str:
    found = shutil.which(name, path=SYSTEM_PATH)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def check(command: list[str], environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", ["constraints.txt", "constraints-dev.txt", "constraints-supply.txt"])
def test_every_package_is_pinned_by_its_hashes_wherever_it_comes_from(name: str) -> None:
    pins = (DEPLOY.parent / name).read_text().replace("\\\n", "").splitlines()
    loose = [pin for pin in pins if not re.fullmatch(r"[\w.\[\]-]+==[\w.]+(?: +--hash=sha256:[0-9a-f]{64})+ *", pin)]
    assert pins
    assert loose == []
