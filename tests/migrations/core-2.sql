-- The Core's only DDL. Applied as a whole at first start, inside one transaction.

-- One row: what is true of the whole database.
create table core (
    singleton boolean primary key default true check (singleton),
    schema_version integer not null,
    -- Names one history of this database; another one begins with a restore or a lossy fail-over.
    epoch uuid not null,
    -- The server and its timeline on which this history goes on: on any other, a new one begins.
    system_identifier bigint,
    timeline integer,
    -- Why nobody may use this database any more: another server has taken over.
    fenced text,
    -- Keys the hash of API keys, so that a copied api_key table alone cannot be tried against guesses.
    key_secret bytea not null,
    -- Rises with every change to organizations, clients and keys, so that nodes know when to read them again.
    directory_version bigint not null default 1,
    -- The date, in the Core's time zone, as of which associations count. Nodes move it on, once a day between them all,
    -- unless too many associations would lapse at once: null before the first node has looked.
    access_day date
);

-- ONE counter for every accepted change of any record. Numbers drawn and not used are harmless gaps.
create sequence core_version as bigint minvalue 1 maxvalue 9007199254740991;

-- Every history that this database has had; that of the row in core goes on.
create table history (
    epoch uuid primary key default gen_random_uuid(),
    begun_at timestamptz not null default now(),
    reason text not null,
    -- Its versions lie above.
    begun_above bigint not null,
    -- By notification type, the highest version of the history before it that lives on: what lay above is lost.
    kept json not null
);

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
    -- Who creates a student sees it until the first enrolment, two years at most.
    created_at timestamptz not null default now(),
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
    primary key (notification_type, id, organization) include (state)
);

-- The stream of one organization.
create unique index viewer_stream on viewer (notification_type, organization, version) include (state);

-- What is gone from a stream: who has to be told of revocations, and what is collected after its retention.
create index viewer_gone on viewer (notification_type, version) include (organization, state) where state <> 'live';

-- Why an organization sees the records of a student: derived from records and grants by the access worker.
create table association (
    student text collate "C" not null,
    organization integer not null references organization,
    -- created | enrolled | granted
    cause text not null,
    -- The id of the record that says so; empty for grants.
    source text collate "C" not null,
    -- Both days included.
    begins_on date not null,
    ends_on date,
    -- It counted on the access day on which it was last looked at: viewer rows follow it.
    active boolean not null,
    primary key (student, organization, cause, source)
);

-- How many lapse between two days.
create index association_ends on association (ends_on) where active;

-- Students with an association that names an organization which is not there: its arrival raises their triggers.
create table missing_organization (
    code text collate "C" not null,
    student text collate "C" not null,
    primary key (code, student)
);

-- What an operator grants.
create table access_grant (
    student text collate "C" not null,
    organization integer not null references organization,
    -- The last day; null: until revoked.
    ends_on date,
    granted_at timestamptz not null default now(),
    primary key (student, organization)
);

-- Students whose access has to be computed (again): at most one row each, however often raised.
create table access_trigger (
    student text collate "C" primary key,
    -- Rises with every raise: who finishes removes only the trigger that he saw.
    generation bigint not null default 1,
    -- Now, while work waits; else the next day on which an association begins or has ended.
    due_on date not null default '-infinity',
    leased_until timestamptz not null default '-infinity'
);

create index access_trigger_due on access_trigger (due_on, leased_until);

-- Organizations that have moved in the tree: whose streams are still to be walked, type by type, and how far.
create table organization_move (
    organization integer not null references organization,
    notification_type integer not null references notification_type,
    -- Records of its stream above `after` and up to `until` (null: not begun) may be seen by others than should.
    after bigint not null default 0,
    until bigint,
    primary key (organization, notification_type)
);

-- Append-only: who came to see a student's records, or no longer does, and why.
create table access_event (
    happened_at timestamptz not null default now(),
    student text collate "C" not null,
    organization integer not null,
    cause text not null,
    source text not null,
    begun boolean not null
);

create index access_event_organization on access_event (organization, happened_at);
create index access_event_student on access_event (student, happened_at);

-- By `marked_at` every version up to `version` had been given out: one mark an hour. What is older than a retention
-- lies at or below its mark.
create table version_mark (
    marked_at timestamptz primary key,
    version bigint not null
);

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

-- What each client was last told of each stream it follows, and since when it is not in step: one row each.
-- Nodes write it every few seconds; it explains, nothing rests on it.
create table client_stream (
    client integer not null references client,
    organization integer not null references organization,
    notification_type text collate "C" not null,
    asked_at timestamptz not null,
    -- What the client said that it holds.
    cursor bigint not null,
    version_hash text,
    -- What it was told then.
    told_reason text not null,
    told_records integer not null,
    -- The last time that its hash agreed, and the version it held then.
    in_step_at timestamptz,
    in_step_version bigint,
    -- Mismatches since then.
    mismatch_since timestamptz,
    mismatch_count integer not null default 0,
    -- Ids last listed to it by reconciliation: those in the small ranges that differed.
    reconciled_ids text[],
    primary key (client, organization, notification_type)
);
