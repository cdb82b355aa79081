"""How a SIS's database is reached: its driver, its password, bounds on every wait, and what is said of failures."""

import math
import sqlite3
from collections.abc import Callable
from typing import Any, TypeVar

import anyio
import sqlalchemy as sa
from anyio import to_thread
from sqlalchemy import event, exc

from homeroom_merge.formatters.formatter import Row

_CONNECT_SECONDS = 10
_LOCK_SHARE = 0.3
_STATEMENT_SHARE = 0.9
_DETAILS_MAX = 300
_SQLITE_PASSES = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR}
T = TypeVar("T")


class NoDriverError(Exception):
    """A URL that no connection can be made by; the message says what to do."""


class Engine:
    """The connections to one database. Whatever it says, it does not say the password."""

    def __init__(self, url: str | sa.URL, password: str, timeout_seconds: float) -> None:
        """Nothing is connected yet. Raises NoDriverError."""
        told = _url(url)
        self.engine = _engine(told.set(password=password) if password else told)
        self.timeout_seconds = timeout_seconds
        self._secrets = {"": told.password or password}
        if self.engine.dialect.name == "postgresql" and timeout_seconds:
            event.listen(self.engine, "connect", self._bound)

    async def in_thread(self, call: Callable[[], T]) -> T:
        """What blocks, within the time, or TimeoutError; a lost connection is a ConnectionError."""
        try:
            with anyio.fail_after(self.timeout_seconds or math.inf):
                return await to_thread.run_sync(call, abandon_on_cancel=True)
        except (exc.OperationalError, exc.InterfaceError, exc.TimeoutError) as fault:
            raise ConnectionError(
                f"the SIS's database cannot be reached: {self.details(fault)}; see that it runs, that url under "
                "[connector] is right, and that the environment variable of sis_password holds its password"
            ) from fault
        except TimeoutError:
            raise TimeoutError(f"the database did not answer within {self.timeout_seconds:g} seconds") from None

    def details(self, fault: Exception, row: Row | None = None) -> str:
        """What a database says of its failure, in one line and without what a row says: that is children's data."""
        return details(fault, {**(row or {}), **self._secrets})

    def _bound(self, connection: Any, _: object) -> None:
        """Nothing that was given up goes on in the database: neither waits for locks nor statements without end."""
        lock, statement = (int(self.timeout_seconds * share * 1_000) or 1 for share in (_LOCK_SHARE, _STATEMENT_SHARE))
        with connection.cursor() as cursor:
            cursor.execute("select set_config('lock_timeout', %s, false), set_config('statement_timeout', %s, false)",
                           (str(lock), str(statement)))  # fmt: skip
        connection.commit()


def passes(fault: exc.SQLAlchemyError) -> bool:
    """Whether a failure may be over when the same is tried again."""
    code = getattr(getattr(fault, "orig", None), "sqlite_errorcode", None)
    if code is not None:
        return code & 0xFF in _SQLITE_PASSES
    return isinstance(fault, exc.OperationalError | exc.InterfaceError | exc.TimeoutError)


def details(fault: Exception, row: Row | None) -> str:
    """What is said of a failure, in one line, without any text of the row."""
    said = str(getattr(fault, "orig", None) or fault).partition("\n")[0]
    for value in sorted((str(each) for each in (row or {}).values() if each is not None), key=len, reverse=True):
        said = said.replace(value, "…") if value else said
    kind = type(getattr(fault, "orig", None) or fault).__name__
    return f"{kind}: {said}"[:_DETAILS_MAX] if isinstance(fault, exc.SQLAlchemyError) else kind


def _url(url: str | sa.URL) -> sa.URL:
    try:
        told = sa.make_url(url)
    except (exc.ArgumentError, ValueError):
        cure = 'write url = "postgresql+psycopg://reader@sis.example/sis", or "sqlite:////srv/sis.sqlite"'
        raise NoDriverError(f"the url of the SIS's database is none that SQLAlchemy knows; {cure}") from None
    if told.drivername == "postgresql":
        told = told.set(drivername="postgresql+psycopg")
    if told.drivername == "postgresql+psycopg" and "connect_timeout" not in told.query:
        told = told.update_query_dict({"connect_timeout": str(_CONNECT_SECONDS)})
    return told


def _engine(url: sa.URL) -> sa.Engine:
    try:
        return sa.create_engine(url, pool_pre_ping=True, hide_parameters=True)
    except exc.NoSuchModuleError:
        cure = "install the package that brings it, or write another, as in postgresql+psycopg, mysql+pymysql, sqlite"
        raise NoDriverError(f"SQLAlchemy knows no {url.drivername} to reach a database by; {cure}") from None
    except ImportError as missing:
        cure = f"install the package that brings it (for {missing.name}: pip install {missing.name})"
        raise NoDriverError(f"the driver of {url.drivername} is not installed, {missing.name}; {cure}") from None
