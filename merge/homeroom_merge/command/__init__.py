"""The `homeroom-merge` command.

Exit codes: 0 done (what needs somebody is named on stderr), 1 refused, failed or no data, 2 wrong usage, 3 held, 130
cancelled.
"""

import typer

from homeroom_merge.command.backups import backups_app
from homeroom_merge.command.formatter import formatter_app
from homeroom_merge.command.health import health_app
from homeroom_merge.command.inbox import inbox_app
from homeroom_merge.command.own import own_app
from homeroom_merge.command.reports import reports_app
from homeroom_merge.command.runs import runs_app
from homeroom_merge.command.secrets import secrets_app
from homeroom_merge.command.settings import settings_app
from homeroom_merge.command.worker import worker_app

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(runs_app)
app.add_typer(backups_app)
app.add_typer(inbox_app)
app.add_typer(own_app)
app.add_typer(health_app)
app.add_typer(reports_app)
app.add_typer(worker_app)
app.add_typer(settings_app, name="settings")
app.add_typer(secrets_app, name="secrets")
app.add_typer(formatter_app, name="formatter")


def main() -> None:
    """Entry point."""
    app()
