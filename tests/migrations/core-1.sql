-- The Core's only DDL. Applied as a whole at first start, inside one transaction.

-- One row: what is true of the whole database.
create table core (
    singleton boolean primary key default true check (singleton),
    schema_version integer not null,
    -- Names one history of this database; another one begins with a restore or a lossy fail-over.
    epoch uuid not null default gen_random_uuid(),
    -- Keys the hash of API keys, so that a copied api_key table alone cannot be tried against guesses.
    key_secret bytea not null,
    -- Rises with every change to organizations, clients and keys, so that nodes know when to read them again.
    directory_version bigint not null default 1
);

-- ONE counter for every accepted change of any record. Numbers drawn and not used are harmless gaps.
create sequence core_version as bigint minvalue 1 maxvalue 9007199254740991;

-- Schools, authorities and the ministry.
create table organization (
    number integer primary key generated always as identity,
    code text collate "C" not null unique,
    name text not null,
    parent integer references organization,
    -- Itself and those above it, the ministry (which reads the records themselves) left out:
    -- exactly the organizations that see what it owns. Kept here so that a write needs no recursion.
    lineage integer[] not null
);

-- Systems that call.
create table client (
    number integer primary key generated always as identity,
    name text not null unique,
    role text not null,
    created_at timestamptz not null default now(),
    disabled_at timestamptz
);

create table client_organization (
    client integer not null references client,
    organization integer not null references organization,
    primary key (client, organization)
);

-- Keys are random, so a fast keyed hash is right for them; the key itself is shown once and never stored.
create table api_key (
    hash bytea primary key,
    client integer not null references client,
    created_at timestamptz not null default now(),
    disabled_at timestamptz
);

-- A type of the catalogue. Its number outlives changes of the catalogue's order.
create table record_type (
    number integer primary key generated always as identity,
    name text collate "C" not null unique
);

-- A type with its school year (0: none): the unit of subscription, of locking and of the watermark.
create table notification_type (
    number integer primary key generated always as identity,
    record_type integer not null references record_type,
    school_year integer not null,
    -- The highest committed version. Written by every commit of the type, under the type's advisory lock.
    watermark bigint not null default 0,
    -- The highest version whose tombstone or revocation has been collected.
    horizon bigint not null default 0,
    unique (record_type, school_year)
) with (fillfactor = 20); -- room on the page: each commit updates the row in place

-- Every record, once, at its newest version. No foreign keys: a bulk load would pay for them per row,
-- and every number in here was looked up by the same transaction.
create table record (
    record_type integer not null,
    id text collate "C" not null,
    notification_type integer not null,
    version bigint not null,
    -- The version at which body or deletion last changed: what an expected version is held against (3004).
    body_version bigint not null,
    -- Status records: the version of the source that they were calculated from.
    source_version bigint,
    owner integer not null,
    student text collate "C",
    deleted boolean not null,
    changed_at timestamptz not null,
    -- json, not jsonb: it goes out byte for byte as it was stored, and is never taken apart here.
    body json not null,
    -- Ids are unique per type across years.
    primary key (record_type, id)
);

-- The stream of those who see everything of a type: deltas, full lists, hashes.
create unique index record_stream on record (notification_type, version) include (deleted);

-- Rules look at what else is known of a student.
create index record_student on record (record_type, student) where student is not null;

create type visibility as enum ('live', 'deleted', 'revoked');

-- Who else sees a record: one row per school and authority, none for public types and for the ministry.
create table viewer (
    notification_type integer not null,
    id text collate "C" not null,
    organization integer not null,
    version bigint not null,
    state visibility not null,
    -- Id before organization: a change of a record finds all who see it.
    primary key (notification_type, id, organization)
);

-- The stream of one organization.
create unique index viewer_stream on viewer (notification_type, organization, version) include (state);

-- Source records whose status has to be calculated (again): at most one row each, however often raised.
create table status_trigger (
    record_type integer not null,
    id text collate "C" not null,
    -- Rises with every raise: who finishes a calculation removes only the trigger that he saw.
    generation bigint not null default 1,
    -- Now, while work waits; in the future while a worker holds the lease, or until a rule's next scan date.
    due_at timestamptz not null default now(),
    -- The record itself has moved, not just what its rules look at: those who look at it follow.
    changed boolean not null,
    primary key (record_type, id)
);

create index status_trigger_due on status_trigger (due_at);

-- What a rule looked for and did not find: its arrival raises the trigger of those who missed it.
create table missing_reference (
    record_type integer not null,
    id text collate "C" not null,
    source_type integer not null,
    source_id text collate "C" not null,
    primary key (record_type, id, source_type, source_id)
);

-- First answers to calls with an idempotency key, stored with the records that they speak of.
create table idempotent_call (
    client integer not null,
    organization integer not null,
    key uuid not null,
    request_hash bytea not null,
    answer bytea,
    called_at timestamptz not null default now(),
    primary key (client, organization, key)
);

-- Collection after the retention time.
create index idempotent_call_age on idempotent_call (called_at);
