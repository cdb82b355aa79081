"""Who is told how runs went: `[[hooks]]`, each an e-mail, a webhook or a command, for what it asks for."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from homeroom_merge.settings.urls import read_url
from homeroom_merge.toml_tables import Table

_ADDRESS = re.compile(r"[^@\s,;<>\"]+@[^@\s,;<>\"]+")
_SECRET = re.compile(r"[a-z][a-z0-9_]*")
_PORT_MAX = 65_535


class Occasion(StrEnum):
    """How a run ended; or no feed has come for too long."""

    FAILED = "failed"
    HELD = "held"
    FINISHED_WITH_ISSUES = "finishedWithIssues"
    NO_DATA = "noData"
    SUCCESS = "success"
    CANCELLED = "cancelled"
    OVERDUE = "overdue"


TROUBLE = frozenset(Occasion) - {Occasion.SUCCESS, Occasion.CANCELLED}


class Runner(StrEnum):
    """What began a run. Approvals, undos and restores are manual: somebody asked for them."""

    NIGHTLY = "nightly"
    REALTIME = "realtime"
    MANUAL = "manual"


UNATTENDED = frozenset({Runner.NIGHTLY, Runner.REALTIME})


class Security(StrEnum):
    """How a mail server is reached: TLS from the start, after STARTTLS, or not at all."""

    STARTTLS = "starttls"
    TLS = "tls"
    NONE = "none"


class Kind(StrEnum):
    """How somebody is told."""

    EMAIL = "email"
    WEBHOOK = "webhook"
    COMMAND = "command"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What every hook says: for what it is there. `secret`: its name under `[secrets]`; empty: it needs none."""

    on: frozenset[Occasion] = TROUBLE
    runners: frozenset[Runner] = UNATTENDED
    secret: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Email(Asked):
    """One mail a feed, occasion and day. `report_url`: where `{run}` stands for a run's id; empty: no links."""

    server: str
    port: int = 587
    security: Security = Security.STARTTLS
    user: str = ""
    sender: str
    to: tuple[str, ...]
    report_url: str = ""

    @property
    def label(self) -> str:
        """How people, and the state, call it."""
        return f"e-mail to {', '.join(self.to)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook(Asked):
    """A POST of JSON, signed with its secret."""

    url: str

    @property
    def label(self) -> str:
        """How people, and the state, call it."""
        return f"webhook {self.url}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command(Asked):
    """A program with its arguments, by no shell, that gets JSON on stdin."""

    command: tuple[str, ...]
    seconds_max: int = 60

    @property
    def label(self) -> str:
        """How people, and the state, call it."""
        return f"command {' '.join(self.command)}"


Hook = Email | Webhook | Command


def read_hooks(tables: Collection[Table], taken: Collection[str]) -> tuple[Hook, ...]:
    """`taken`: the secrets of others, which no hook is given."""
    found = []
    for table in tables:
        hook = _hook(table)
        if hook.secret in taken:
            table.fault("secret", f"{hook.secret} is not the hook's own", 'name another, as in secret = "hook_key"')
        elif hook.secret and not _SECRET.fullmatch(hook.secret):
            table.fault("secret", "this is no name of a secret", 'write secret = "hook_key"; if it was one, change it')
        table.close()
        found.append(hook)
    labels = [hook.label for hook in found]
    for table, label in zip(tables, labels, strict=True):
        if labels.count(label) > 1:
            table.fault("", "two hooks tell the same", "make one of them, with all that it is there for")
    return tuple(found)


def _hook(table: Table) -> Hook:
    if not table.has("kind"):
        table.fault("kind", "this is missing", 'write kind = "email", "webhook" or "command"')
    match table.choice("kind", Kind, Kind.EMAIL):
        case Kind.EMAIL:
            return _email(table)
        case Kind.WEBHOOK:
            url = read_url(table, "url", "https://desk.example.org/homeroom")
            if url and not url.startswith(("https://", "http://")):
                table.fault("url", "this is no address of the web", 'write url = "https://desk.example.org/homeroom"')
            asked = _asked(table)
            return Webhook(on=asked.on, runners=asked.runners, secret=table.text("secret", "hook_key"), url=url)
        case Kind.COMMAND:
            return _command(table)


def _asked(table: Table) -> Asked:
    return Asked(
        on=table.choices("on", Occasion, TROUBLE),
        runners=table.choices("runners", Runner, UNATTENDED),
    )


def _email(table: Table) -> Email:
    asked, user = _asked(table), table.text("user", "")
    secret = table.text("secret", "smtp_password")
    email = Email(
        on=asked.on,
        runners=asked.runners,
        secret=secret if user else "",
        server=table.text("server", None, "smtp.example.org"),
        port=table.whole("port", 587, lowest=1),
        security=table.choice("security", Security, Security.STARTTLS),
        user=user,
        sender=table.text("sender", None, "merge@example.org"),
        to=table.texts("to", ()),
        report_url=read_url(table, "report_url", "https://merge.example.org/runs/{run}", ""),
    )
    if email.port > _PORT_MAX:
        table.fault("port", f"{email.port} is too large", f"{_PORT_MAX} is the most")
    if not email.to:
        table.fault("to", "nobody is named", 'write to = ["office@example.org"]')
    for key, address in [("sender", email.sender), *(("to", address) for address in email.to)]:
        if address and not _ADDRESS.fullmatch(address):
            table.fault(key, f"{address} is no address", "write it bare, as in office@example.org")
    if user and email.security is Security.NONE:
        table.fault("security", "the password would go in the clear", 'write security = "starttls", or "tls"')
    if email.report_url and "{run}" not in email.report_url:
        table.fault("report_url", "nothing in it stands for the run", "write {run} where its id goes")
    return email


def _command(table: Table) -> Command:
    asked = _asked(table)
    hook = Command(
        on=asked.on,
        runners=asked.runners,
        command=table.texts("command", ()),
        seconds_max=table.whole("seconds_max", 60, lowest=1),
    )
    if not hook.command or not hook.command[0].startswith("/"):
        cure = 'write command = ["/usr/local/bin/tell", "argument"]: there is no shell'
        table.fault("command", "a program is named by its whole path", cure)
    return hook
