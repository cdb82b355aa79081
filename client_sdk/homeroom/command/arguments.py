"""What can be typed after `homeroom-replica`."""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

_ROWS_SHOWN = 100

_CONFIGURATION = """\
where settings come from, first found first:
  1. flags
  2. HOMEROOM_URL, HOMEROOM_KEY, HOMEROOM_ORGANIZATION, HOMEROOM_REPLICA_FILE
  3. the file, which remembers URL, organisation and types of its last sync, never the key
"""
_ENDINGS = """\
exit codes:
  0  fine
  1  something differs or is damaged (verify)
  2  wrong use: a flag, a type that the Core does not have, a statement that is not SQL or would write
  3  nothing differs, but changes are missing or a type is not loaded yet (verify)
  4  the Core cannot be reached now (sync --once, verify, repair)
  5  a person must act: the key is refused, or lacks a right
  6  the local file cannot be used: not there, in use, full or damaged
"""


class Arguments(Namespace):
    """The arguments of one call; those of other commands are not there."""

    command: Literal["sync", "status", "verify", "repair", "query"]
    file: Path | None
    json: bool
    url: str | None
    key: str | None
    key_file: Path | None
    organization: str | None
    types: list[str]
    once: bool
    sql: str
    csv: bool
    wide: bool
    rows: int


def read_arguments(words: Sequence[str]) -> Arguments:
    """The arguments; SystemExit with code 2 after saying what is wrong, with 0 after help."""
    return parser().parse_args(words, Arguments())


def parser() -> ArgumentParser:
    """All commands, their arguments and what they say of themselves."""
    whole = ArgumentParser(
        "homeroom-replica",
        description="A local copy, in a SQLite file, of the records that your organisation may see in a homeroom Core.",
        epilog=f"{_CONFIGURATION}\n{_ENDINGS}",
        formatter_class=RawDescriptionHelpFormatter,
    )
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    file, core = _file_flags(), _core_flags()

    def command(name: str, says: str, more: str, *parents: ArgumentParser) -> ArgumentParser:
        return commands.add_parser(
            name,
            help=says,
            description=f"{says[0].upper()}{says[1:]}.\n\n{more}",
            epilog=_ENDINGS if core not in parents else f"{_CONFIGURATION}\n{_ENDINGS}",
            formatter_class=RawDescriptionHelpFormatter,
            parents=[file, *parents],
        )

    _add_sync(command("sync", "load the records and keep the file in step", _SYNC, core))
    _add_json(command("status", "say how the file stands, without a network", _STATUS))
    _add_json(command("verify", "hold the file against the Core without changing anything", _VERIFY, core))
    _add_json(command("repair", "compare every record with the Core and mend what differs", _REPAIR, core))
    _add_query(command("query", "ask the file in SQL", _QUERY))
    return whole


_SYNC = """\
Goes on for ever, through outages and restarts, until SIGINT or SIGTERM. The types named replace those that the
file kept before; records of types no longer named stay in the file but are not kept in step."""
_STATUS = "For each type: whether it is in step and since when, what is in the way, and what repairs found."
_VERIFY = "Reads every row: one that other hands changed is found even where its version is right."
_REPAIR = "Not beside a running sync, which repairs by itself."
_QUERY = """\
Each type has a view: CourseEnrolment.2027 is CourseEnrolment_2027, with id, version, changed_at, body (JSON) and a
column for each member of the body that the catalogue names.

  homeroom-replica query "select id, json_extract(body, '$.text') as text from Note order by id" """


def _file_flags() -> ArgumentParser:
    flags = ArgumentParser(add_help=False)
    flags.add_argument("--file", type=Path, metavar="FILE", help="the replica's file (default: replica.db)")
    return flags


def _core_flags() -> ArgumentParser:
    flags = ArgumentParser(add_help=False)
    flags.add_argument("--url", help="where the Core is, as in https://core.example")
    flags.add_argument("--key", help="the API key; other users of this machine can see it in the list of processes")
    flags.add_argument("--key-file", type=Path, metavar="FILE", help="a file that holds nothing but the API key")
    flags.add_argument(
        "--organization", metavar="CODE", help="for whom to act, if the key represents more than one organisation"
    )
    return flags


def _add_json(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout, for machines")


def _add_sync(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--type",
        action="append",
        dest="types",
        default=[],
        metavar="TYPE",
        help="a type to keep, as in School or CourseEnrolmentStatus.2027; may be given several times",
    )
    parser.add_argument("--once", action="store_true", help="end when everything is in step")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout for each thing that happens")


def _add_query(parser: ArgumentParser) -> None:
    parser.add_argument("sql", metavar="SQL", help="one statement that reads")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="all rows as CSV with a heading")
    form.add_argument("--json", action="store_true", help="all rows, one JSON object in each line")
    parser.add_argument("--wide", action="store_true", help="do not cut long cells")
    parser.add_argument(
        "--rows", type=int, default=_ROWS_SHOWN, metavar="N", help=f"rows of the table to show (default: {_ROWS_SHOWN})"
    )
