"""How a PostgreSQL is set up and runs: whether it keeps what it promises, and takes all who will come."""

from collections.abc import Iterator, Sequence

from homeroom_server.doctor.finding import Finding, fix, ok, warning
from homeroom_server.store.examination import ServerRow, SlotRow

VERSION_MIN = 15
_TRANSACTION_SECONDS_MAX = 3_600.0
_AGE_WARNING = 500_000_000
_AGE_WRONG = 1_200_000_000
"""PostgreSQL stops taking writes at about two thousand millions."""
_KEPT_BYTES_WARNING = 2**30
_KEPT_BYTES_WRONG = 32 * 2**30
_VERSION, _DURABILITY, _CONNECTIONS = "PostgreSQL version", "durability", "database connections"
_VACUUM, _SLOTS = "vacuum", "replication slots"


def check_version(server: ServerRow) -> Finding:
    major = server.version // 10_000
    if major < VERSION_MIN:
        return fix(_VERSION, f"it is {major}", f"upgrade it to {VERSION_MIN} or newer")
    return ok(_VERSION, str(major))


def check_durability(server: ServerRow) -> Iterator[Finding]:
    """Whether what is acknowledged survives the loss of power."""
    said = server.settings
    faults = [
        fix(_DURABILITY, f"{name} is off", f"set {name} = on in postgresql.conf: {why}")
        for name, why in (
            ("fsync", "a crash of the machine corrupts the database"),
            ("full_page_writes", "a crash of the machine may corrupt the database"),
            ("synchronous_commit", "a crash loses records that clients were told are stored"),
        )
        if said[name] == "off"
    ]
    if said["default_transaction_read_only"] == "on" and not server.is_standby:
        faults.append(
            fix("writes", "default_transaction_read_only is on", "set it off: as it is, every submit gets 2001")
        )
    yield from faults or [ok(_DURABILITY, f"fsync and full_page_writes on, commits {said['synchronous_commit']}")]


def check_connections(each: int, nodes: int, allowed: int, opened: int) -> Finding:
    """Whether all nodes may open what they may come to need, and one command besides."""
    needed = each * nodes + 1
    found = f"{nodes} node{'s' * (nodes != 1)} may open {needed}, {allowed} are allowed, {opened} are open now"
    if needed > allowed:
        return fix(
            _CONNECTIONS, found, f"max_connections = {2 * needed} in postgresql.conf, or lower ..._connections_max"
        )
    return ok(_CONNECTIONS, found)


def check_vacuum(server: ServerRow) -> Iterator[Finding]:
    """What keeps dead rows, and whether the numbers of transactions may run out."""
    if server.settings["autovacuum"] == "off":
        yield fix(
            _VACUUM, "autovacuum is off", "set autovacuum = on: without it every table grows, and at last all stops"
        )
    age = f"the oldest row is {server.oldest_transaction_age / 1e6:,.0f} million transactions old"
    if server.oldest_transaction_age > _AGE_WRONG:
        yield fix(_VACUUM, age, "VACUUM FREEZE now (vacuumdb --all --freeze): at 2,000 million no write is taken")
    elif server.oldest_transaction_age > _AGE_WARNING:
        yield warning(
            _VACUUM, age, "see that autovacuum gets done (pg_stat_progress_vacuum), or vacuumdb --all --freeze"
        )
    else:
        yield ok(_VACUUM, age)
    if server.longest_transaction_seconds > _TRANSACTION_SECONDS_MAX:
        open_for = f"a transaction is open for {server.longest_transaction_seconds / 3_600:,.1f} hours"
        yield warning(_VACUUM, open_for, "find it in pg_stat_activity and end it: dead rows are kept for it")
    if server.prepared_transactions:
        left = f"{server.prepared_transactions} prepared transactions are left for more than an hour"
        yield warning(_VACUUM, left, "commit or roll them back (pg_prepared_xacts): homeroom makes none")


def check_slots(slots: Sequence[SlotRow]) -> Iterator[Finding]:
    """Slots of standbys that are gone, for which WAL is kept until the disk is full."""
    for slot in slots:
        found = f"nobody uses {slot.name}, for which {slot.kept_bytes / 2**30:,.1f} GiB of WAL are kept"
        todo = f"start its standby, or select pg_drop_replication_slot('{slot.name}')"
        if slot.kept_bytes > _KEPT_BYTES_WRONG:
            yield fix(_SLOTS, found, todo)
        elif slot.kept_bytes > _KEPT_BYTES_WARNING:
            yield warning(_SLOTS, found, todo)
