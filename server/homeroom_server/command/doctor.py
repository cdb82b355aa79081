"""`homeroom doctor`: what is wrong with a deployment, and what to do."""

import asyncio
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated

import typer

from homeroom_server import database
from homeroom_server.command.invocation import AsJson, Config, DatabaseUrl, DataDir, NodesCatalogue, out
from homeroom_server.doctor import examination
from homeroom_server.doctor.configuration import check_variables
from homeroom_server.doctor.finding import Finding, Level, fix
from homeroom_server.settings import Settings, SettingsError, read_settings

doctor_app = typer.Typer()

_STYLES = {Level.OK: "green", Level.UNKNOWN: "dim", Level.WARNING: "yellow", Level.FIX: "bold red"}


@doctor_app.command()
def doctor(
    url: Annotated[str | None, typer.Option(help="Of a running node, which is asked how it is.")] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    catalogue: NodesCatalogue = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Check a deployment and say what to fix; run it as the nodes run, with their settings. 1: something must be."""
    flags = {"data_dir": data_dir, "database_url": database_url, "catalogue": catalogue}
    try:
        findings = _examined(read_settings(flags, config), url)
    except SettingsError as fault:
        findings = [
            *check_variables(os.environ),
            fix("settings", str(fault), "correct them: no node starts with these"),
        ]
    worst = max((finding.level for finding in findings), key=list(Level).index)
    if as_json:
        typer.echo(json.dumps({"worst": worst, "findings": [_as_json(finding) for finding in findings]}))
    else:
        _show(findings)
    if worst is Level.FIX:
        raise typer.Exit(1)


def _examined(settings: Settings, url: str | None) -> list[Finding]:
    findings = asyncio.run(examination.examine(settings, url, os.environ))
    missing = examination.has_database(settings)
    if missing is not None:
        return [*findings, missing]
    try:
        with database.open_database(settings) as database_url:
            return [*findings, *asyncio.run(examination.examine_database(settings, database_url))]
    except database.DatabaseError as failure:
        return [*findings, fix("database", str(failure), "read its log in that folder")]


def _as_json(finding: Finding) -> Mapping[str, str]:
    said = asdict(finding)
    return {"level": said["level"], "lookedAt": said["looked_at"], "found": said["found"], "todo": said["todo"]}


def _show(findings: list[Finding]) -> None:
    for finding in findings:
        words = f"{finding.level:8}{finding.looked_at}: {finding.found}"
        out.print(words, style=_STYLES[finding.level], markup=False, highlight=False, soft_wrap=True)
        if finding.todo:
            out.print(f"{'':8}→ {finding.todo}", markup=False, highlight=False, soft_wrap=True)
    counts = {level: sum(finding.level is level for finding in findings) for level in Level}
    said = f"{counts[Level.FIX]} to fix, {counts[Level.WARNING]} warnings, {counts[Level.UNKNOWN]} unknown"
    out.print(f"{len(findings)} looked at: {said}", markup=False, highlight=False, soft_wrap=True)
