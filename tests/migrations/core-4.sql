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
    -- Keys the hashes of erased students, so that their ids cannot be told from them by trying all there are.
    erasure_secret bytea not null,
    -- Rises with every student that is put on the list of the erased: 0 spares writers the look at it.
    erasures bigint not null default 0,
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
    -- From then on it counts no more; null: it counts until it is disabled.
    expires_at timestamptz,
    -- To the minute: nodes write it once a minute.
    last_used_at timestamptz,
    disabled_at timestamptz
);

-- From where a client may call; none: from everywhere.
create table client_network (
    client integer not null references client,
    network cidr not null,
    primary key (client, network)
);

-- Of which certificates a client must show one; none: it needs none.
create table client_certificate (
    client integer not null references client,
    -- SHA-256 of the certificate as DER.
    fingerprint bytea not null check (octet_length(fingerprint) = 32),
    label text not null,
    primary key (client, fingerprint)
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
    -- Of a student who was erased: it has no content, names nobody, never comes back, and goes with its tombstone.
    erased boolean not null default false,
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

-- Few: what is noted late of them is forgotten, and so are they after their retention.
create index record_erased on record (id) where erased;

-- Students whose records are gone and may not come again, by a keyed hash of their id. Never forgotten.
create table erased_student (
    student_hash bytea primary key check (octet_length(student_hash) = 32),
    listed_at timestamptz not null default now(),
    -- When the content was gone; null: it was begun, and did not come to its end.
    erased_at timestamptz
);

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

-- What each client's calls came to, hour by hour, for two days. Nodes add to it every few seconds; it explains, nothing
-- rests on it. Hour before client: what is asked for is always of late, and what is forgotten is of long ago.
create table client_traffic (
    hour timestamptz not null,
    client integer not null references client,
    calls integer not null,
    refused integer not null,
    -- The last of them, and the code of its problem.
    refused_at timestamptz,
    refused_code integer,
    -- Waits that a node ended: something had come, or they had lasted long enough.
    waits_ended integer not null,
    -- Waits whose connection was lost, and after how long: all alike where something on the way ends them.
    waits_cut integer not null,
    -- At so many different moments: a client that ends takes all its waits with it, and that is no trouble.
    cut_moments integer not null,
    cut_seconds_min real,
    cut_seconds_max real,
    primary key (hour, client)
);

-- The hour that is and the one before it, one row for each client that called, and whether it needs help: waits were
-- cut at three moments or more, all after about the same time (15 %, or 2 s); more than a tenth of ten calls or more were
-- refused.
create view client_traffic_of_late as
select client, sum(calls)::int as calls, sum(refused)::int as refused,
       (array_agg(refused_code order by refused_at desc nulls last))[1] as refused_code,
       sum(waits_cut)::int as waits_cut, max(cut_seconds_max) as cut_seconds,
       sum(cut_moments) >= 3
           and max(cut_seconds_max) <= greatest(1.15 * min(cut_seconds_min), min(cut_seconds_min) + 2) as is_cut,
       sum(calls) >= 10 and sum(refused) > 0.1 * sum(calls) as is_failing
from client_traffic where hour > now() - interval '2 hours' group by client;

-- Nodes that run, and those that died within a day: one that ends in good order takes its row away.
create table node (
    -- Drawn by the node at its start: a number given out here could be given out twice where a history is lost.
    id uuid primary key,
    -- host:port/process
    name text not null,
    started_at timestamptz not null,
    heard_at timestamptz not null,
    -- The primary, or which standby.
    reads_from text not null,
    -- Changes that stood in the primary by then and that this node had told nobody of, and since when the oldest did.
    behind integer not null,
    behind_since timestamptz
) with (fillfactor = 50); -- room on the page: every two seconds each row is updated in place

-- What each node says of itself every two seconds, for an hour: the console's charts are made of it. A crash of the
-- server may lose the last of it (synchronous_commit off).
create table node_sample (
    -- Rises from sample to sample: who watches says up to which he has seen.
    number bigint generated always as identity,
    node uuid not null,
    taken_at timestamptz not null default now(),
    -- Since the sample before it.
    seconds real not null,
    held integer not null,
    changes integer not null,
    commits integer not null,
    wakes integer not null,
    -- From the moment the node learned of a change to the moment the answers to those who waited were written; null:
    -- nobody was woken.
    wake_p50_ms real,
    wake_p99_ms real,
    primary key (node, number)
);

-- The last ten minutes of all nodes, and what has outlived its hour.
create index node_sample_age on node_sample (taken_at);

-- People who look at the console, and act there.
create table person (
    number integer primary key generated always as identity,
    name text collate "C" not null unique,
    -- operator (everything) | administrator | viewer (of their organizations alone)
    role text not null,
    -- argon2id with its parameters and salt: people's passwords can be guessed, so each guess is to cost.
    password_hash text not null,
    created_at timestamptz not null default now(),
    disabled_at timestamptz
);

create table person_organization (
    person integer not null references person,
    organization integer not null references organization,
    primary key (person, organization)
);

-- A person signed in on one browser. The token in its cookie is random, so a fast hash is right for it.
create table person_session (
    token_hash bytea primary key,
    person integer not null references person,
    -- Every form brings it back: a page of somebody else cannot know it.
    form_token text not null,
    begun_at timestamptz not null default now(),
    seen_at timestamptz not null default now()
);

-- Sign-ins that failed of late, one row each: who guesses has to wait.
create table sign_in_failure (
    name text collate "C" not null,
    address text not null,
    failed_at timestamptz not null default now()
);

create index sign_in_failure_of on sign_in_failure (address, failed_at);

-- Who read and wrote which records, and what people and operators did: only ever added to, until its retention is over.
create table audit_event (
    happened_at timestamptz not null default now(),
    -- client | person | operator | node
    actor_kind text not null,
    actor text not null,
    -- For which they acted.
    organization integer,
    -- Of people, whence they came.
    address text,
    -- read | readAll | wrote | did | lost
    action text not null,
    notification_type text,
    ids text[],
    detail text
);

-- Time goes with the order of rows.
create index audit_event_time on audit_event using brin (happened_at);
-- Who has seen this child's record?
create index audit_event_ids on audit_event using gin (ids);
-- Few among very many: their details may name a student who is erased.
create index audit_event_did on audit_event (happened_at) where action = 'did';

create function refuse_to_change_audit() returns trigger language plpgsql as $$
begin
    if current_setting('homeroom.collects_audit', true) is distinct from 'yes' then
        raise exception 'the audit is only added to';
    end if;
    return coalesce(new, old);
end $$;

create trigger audit_event_stays before update or delete on audit_event
for each row execute function refuse_to_change_audit();
create trigger audit_event_stays_whole before truncate on audit_event
for each statement execute function refuse_to_change_audit();

-- What backups hold of a student is encrypted under a key of that student's: no backup holds the key, and an erasure
-- destroys it. The empty student stands for rows that speak of students who cannot be told apart: its key goes with
-- every erasure, and the next backup makes another.
create table student_key (
    student text collate "C" primary key,
    key bytea not null check (octet_length(key) = 32)
);
