-- The only DDL of the merge pipeline's state. Applied as a whole at first use, inside one transaction, into a schema
-- of its own, so that it may share a database with a Core.

create schema homeroom_merge;
set local search_path = homeroom_merge;

-- One row: what is true of the whole state.
create table state (
    singleton boolean primary key default true check (singleton),
    schema_version integer not null
);

-- One SIS source, speaking for named schools.
create table feed (
    number integer primary key generated always as identity,
    name text collate "C" not null unique,
    -- The settings in force: a row of settings.
    state_name text not null,
    paused_at timestamptz,
    paused_because text
);

-- Settings as versioned states: every version that was ever in force or tried, as the TOML that was pushed.
create table settings (
    feed integer not null references feed,
    state_name text not null,
    version integer not null,
    toml text not null,
    comment text not null,
    pushed_at timestamptz not null default now(),
    pushed_by text not null,
    primary key (feed, state_name, version)
);

-- Whose records these are: one kind of record of one feed. Numbers keep the large tables narrow.
create table subject (
    number integer primary key generated always as identity,
    feed integer not null references feed,
    entity text collate "C" not null,
    -- Up to where each side has been fetched; moves in the transaction that stores what was seen.
    hub_cursor text,
    hub_epoch text,
    hub_fetched_at timestamptz,
    sis_cursor text,
    sis_fetched_at timestamptz,
    -- The columns that complete feeds had: one that goes missing is known by it.
    sis_columns text[],
    unique (feed, entity)
);

-- What the last fetch of a side showed of a record.
create type seen_state as enum ('live', 'deleted', 'absent', 'outOfView', 'failed');

-- A record: its link, what both sides last agreed on (base) and what each was last seen to be. Bodies are canonical
-- JSON text (sorted members), so that equal texts are equal bodies and PostgreSQL tells who has changed.
create table record (
    number bigint primary key generated always as identity,
    subject integer not null references subject,
    sis_key text collate "C",
    hub_id text collate "C",
    -- The link is set aside while the hub does not show the record: neither side is written.
    school text collate "C",
    school_year integer,
    -- What else identifies it (a student number), for proposals of re-keys.
    identifier text collate "C",
    base_hub text,
    base_sis text,
    base_deleted boolean not null default false,
    -- SIS values that an undo took back, by JSON pointer.
    refused text,
    -- The rendering that was written to the SIS and that no feed has shown yet.
    awaiting text,
    hub_state seen_state not null default 'absent',
    hub_seen text,
    hub_version bigint not null default 0,
    hub_changed_at timestamptz,
    sis_state seen_state not null default 'absent',
    sis_seen text,
    sis_covered text[],
    sis_token text,
    sis_changed_at timestamptz,
    -- Complete feeds in a row in which it was absent.
    sis_absences integer not null default 0,
    -- The faults for which a side's record was left out, for reports and health.
    hub_faults text,
    sis_faults text,
    check (sis_key is not null or hub_id is not null)
);

create unique index record_by_sis_key on record (subject, sis_key) where sis_key is not null;
create unique index record_by_hub_id on record (subject, hub_id) where hub_id is not null;
create index record_by_identifier on record (subject, identifier) where identifier is not null;

-- Whoever works on one subject, for as long as his heart beats.
create table run (
    id uuid primary key default gen_random_uuid(),
    subject integer not null references subject,
    -- Runs of one night or one command.
    group_id uuid not null,
    runner text not null,
    -- running | success | finishedWithIssues | noData | held | failed | cancelled
    status text not null default 'running',
    settings_version integer not null,
    -- What was set for this run alone.
    overrides text not null default '{}',
    begun_at timestamptz not null default now(),
    beats_at timestamptz not null default now(),
    ended_at timestamptz,
    -- What undoes it, or what it undoes.
    undoes uuid references run,
    -- Who approved or discarded a held one, and when.
    decided_by text,
    decided_at timestamptz,
    report text
);

create index run_latest on run (subject, begun_at desc);

-- A plan, record by record, with the exact bodies; kept with its run.
create table planned (
    run uuid not null references run on delete cascade,
    record bigint not null,
    change text not null,
    -- planned | done | conflict | waits | stale | failed | unknown
    outcome text not null default 'planned',
    detail text not null default '',
    primary key (run, record)
);

-- Every write to either side: the intent before it, the result after it. What has no result was cut by a crash.
create table journal (
    number bigint primary key generated always as identity,
    run uuid not null references run,
    record bigint not null,
    side text not null,
    kind text not null,
    -- Drawn here, so that a crash between intent and result repeats the same call.
    idempotency_key uuid not null,
    hub_id text,
    body text,
    expected_version bigint not null,
    expected text,
    intended_at timestamptz not null default now(),
    -- done | moved | refused | transient | unknown; null: not known yet
    result text,
    detail text not null default '',
    core_version bigint,
    ended_at timestamptz
);

create index journal_open on journal (run) where result is null;
create index journal_record on journal (record);

-- Where both sides disagree and no rule decides: one row a field, until a later merge agrees.
create table conflict (
    record bigint not null references record on delete cascade,
    pointer text not null,
    base text,
    sis text,
    hub text,
    rule text not null,
    since timestamptz not null default now(),
    -- A decision stands until a value changes: the value it was made for, and the one it chose.
    decided_value text,
    decided_for text,
    decided_by text,
    decided_at timestamptz,
    primary key (record, pointer)
);

-- A record's own rule for a field, and hand edits of the hub that are to stay.
create table own_rule (
    record bigint not null references record on delete cascade,
    pointer text not null,
    method text not null,
    sticky boolean not null default false,
    made_by text not null,
    made_at timestamptz not null default now(),
    primary key (record, pointer)
);

-- How often a field has flipped, for those over which two systems argue.
create table flip (
    record bigint not null references record on delete cascade,
    pointer text not null,
    flipped_at timestamptz not null default now()
);

create index flip_of on flip (record, pointer, flipped_at);

-- What is dirty: the truth that jobs only point at. Removed by generation, in the transaction that stores the result.
create table trigger (
    subject integer not null references subject,
    -- A hub id or a SIS key, as the side that moved names it.
    side text not null,
    key text collate "C" not null,
    generation bigint not null default 1,
    raised_at timestamptz not null default now(),
    parked boolean not null default false,
    primary key (subject, side, key)
);

-- What a run may have changed, as it was before.
create table backup (
    run uuid primary key references run,
    place text not null,
    bytes bigint not null,
    records bigint not null,
    made_at timestamptz not null default now(),
    collected_at timestamptz
);
