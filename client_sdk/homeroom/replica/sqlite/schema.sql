-- A replica's file. Applied as a whole when it is made. Open to any tool for reading; only the SDK writes.

-- What the file is about: schema version, URL, organization.
create table replica_setting (name text primary key, value text not null) without rowid;

-- Rises with every version of any record that is applied here.
create table replica_sequence (last integer not null);
insert into replica_sequence values (0);

-- Each notification type that is kept, in a table records_… of its own.
create table replica_type (
    name text primary key collate nocase,
    -- For a status: the type that comes with it.
    source text,
    -- 1: has a cursor of its own; 0: comes with its status, or was once followed.
    followed integer not null,
    -- Members of the body with a column of their own in the view, as a JSON list.
    members text not null,
    -- 1: the first load is finished; until then nobody sees its records.
    loaded integer not null default 0,
    -- Every change up to this core version is stored (while loading: every record of the window up to it).
    cursor integer not null default 0,
    -- The end of the window of a first load that is under way, else 0.
    until integer not null default 0,
    -- The history of the Core's database that the cursor belongs to.
    epoch text not null default '',
    -- The sequence of the latest change of this type.
    last_sequence integer not null default 0,
    -- What the live rows of the table add up to, kept with every change: rows that other hands take away show.
    live integer not null default 0,
    version_sum integer not null default 0,
    -- When it was last proved to be what the Core has, when the Core was last asked, what is in the way (UTC).
    in_step_at text not null default '',
    asked_at text not null default '',
    trouble text not null default ''
) without rowid;

-- Versions that were replaced or dropped and that a consumer of changes has not yet seen: its new or old body.
create table replica_past (
    type text not null,
    sequence integer not null,
    id text not null,
    version integer not null,
    deleted integer not null,
    -- Null in the row that says that a record was dropped.
    body text,
    -- The sequence of what replaced it; its own for a drop.
    next_sequence integer not null,
    primary key (type, sequence)
) without rowid;

create index replica_past_next on replica_past (type, next_sequence);

-- How far each consumer of changes has come, by type.
create table replica_consumer (
    name text not null,
    type text not null,
    sequence integer not null,
    primary key (name, type)
) without rowid;

-- Writes on their way to the Core, and those it rejected.
create table replica_write (
    number integer primary key autoincrement,
    type text not null,
    id text not null,
    expected_version integer not null,
    deleted integer not null,
    organization text,
    body text,
    queued_at text not null,
    -- The earlier write of the same record whose version this one waits for.
    follows integer,
    alone integer not null default 0,
    -- The idempotency key of the call that it is part of: sent again under the same key until it is answered.
    call text,
    -- A JSON list once the Core has rejected it.
    rejections text
);

-- What writes from here have made of records: the next write builds upon it, though it may not have come back yet.
create table replica_accepted (
    type text not null,
    id text not null,
    version integer not null,
    primary key (type, id)
) without rowid;

-- What repairs found.
create table replica_difference (
    number integer primary key autoincrement,
    found_at text not null,
    type text not null,
    id text not null,
    held_version integer not null,
    core_version integer not null,
    cause text not null
);
