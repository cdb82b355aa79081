"""`homeroom-merge erase-student`."""

import getpass
import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated

import asyncpg
import typer
from anyio import to_thread

from homeroom_merge.command.invocation import DATA_DIR, AsJson, DatabaseUrl, DataDir, err, out, with_state
from homeroom_merge.erasure import Erasure, Student, erase, feeds_meant
from homeroom_merge.store import erasures

app = typer.Typer()

ELSEWHERE = (
    "Tell the others: the SIS still has the student, and the Core does until homeroom erase-student; so may files of "
    "the SIS, what was dropped off for it, mails, reports that were saved, and backups of this database."
)


@app.command("erase-student")
def erase_student(
    reason: Annotated[str, typer.Option(help="Why: it is kept, and may not name the student.")],
    student: Annotated[str | None, typer.Argument(help="The student's id on the hub.")] = None,
    sis_key: Annotated[str | None, typer.Option(help="The student's key in the SIS of the one feed named.")] = None,
    feed: Annotated[
        list[str] | None, typer.Option("--feed", help="Just this one; may be said again. Else all.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    database_url: DatabaseUrl = "",
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Take all that merges keep of a student away for good, and let no feed bring the student back."""
    if not (student or sis_key):
        raise typer.BadParameter("name the student, by the hub's id or with --sis-key")
    if as_json and not yes:
        raise typer.BadParameter("--json asks nothing: say --yes")
    if not reason.strip():
        raise typer.BadParameter("say why", param_hint="--reason")
    meant = Student(student, sis_key)

    async def work(connection: asyncpg.Connection) -> list[Erasure]:
        feeds = await feeds_meant(connection, meant, feed or ())
        each = partial(erase, connection, student=meant, by=getpass.getuser(), reason=reason)
        if not yes:
            _show([await each((name, number), is_meant=False) for name, number in feeds.items()], "would be")
            await to_thread.run_sync(_ask)
        done = []
        for name, number in feeds.items():
            with err.status(f"erasing from {name}"):
                done.append(await each((name, number), is_meant=True))
        await erasures.vacuum(connection)
        return done

    done = with_state(database_url, data_dir, work)
    if as_json:
        typer.echo(json.dumps({"feeds": list(map(_json, done)), "elsewhere": ELSEWHERE}))
        return
    _show(done, "was")
    _say(ELSEWHERE)


def _ask() -> None:
    typer.confirm("Erase? It cannot be taken back", abort=True)


def _show(done: Sequence[Erasure], verb: str) -> None:
    for each in done:
        counts = ", ".join(f"{count:,} {kind}" for kind, count in each.counts.items() if count)
        _say(f"{each.feed}: {counts or 'nothing is kept of the student'}" + (f" {verb} erased" if counts else ""))
        _say(f"{each.feed}: {each.listed:,} names {verb} put on the list of those who are refused")
        if each.shared_numbers:
            _say(
                f"{each.feed}: another student has the same number; is it the same child, erase that one with --sis-key"
            )
        for place in each.plain_backups:
            _say(f"{each.feed}: delete this backup, which is not sealed or cannot be read: {place}")


def _json(done: Erasure) -> dict[str, object]:
    return {
        "feed": done.feed,
        "known": done.is_known,
        "erased": dict(done.counts),
        "listed": done.listed,
        "sharedNumbers": done.shared_numbers,
        "plainBackups": list(done.plain_backups),
    }


_say: Callable[[str], None] = partial(out.print, markup=False, highlight=False, soft_wrap=True)
