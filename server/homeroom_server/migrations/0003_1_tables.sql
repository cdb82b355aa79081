-- People, what nodes say of themselves, keys that end, and one audit of all that was done.

alter table api_key
    add column if not exists expires_at timestamptz,
    add column if not exists last_used_at timestamptz;

create table if not exists client_network (
    client integer not null references client,
    network cidr not null,
    primary key (client, network)
);

create table if not exists client_certificate (
    client integer not null references client,
    fingerprint bytea not null check (octet_length(fingerprint) = 32),
    label text not null,
    primary key (client, fingerprint)
);

create table if not exists client_traffic (
    hour timestamptz not null,
    client integer not null references client,
    calls integer not null,
    refused integer not null,
    refused_at timestamptz,
    refused_code integer,
    waits_ended integer not null,
    waits_cut integer not null,
    cut_moments integer not null,
    cut_seconds_min real,
    cut_seconds_max real,
    primary key (hour, client)
);

create or replace view client_traffic_of_late as
select client, sum(calls)::int as calls, sum(refused)::int as refused,
       (array_agg(refused_code order by refused_at desc nulls last))[1] as refused_code,
       sum(waits_cut)::int as waits_cut, max(cut_seconds_max) as cut_seconds,
       sum(cut_moments) >= 3
           and max(cut_seconds_max) <= greatest(1.15 * min(cut_seconds_min), min(cut_seconds_min) + 2) as is_cut,
       sum(calls) >= 10 and sum(refused) > 0.1 * sum(calls) as is_failing
from client_traffic where hour > now() - interval '2 hours' group by client;

create table if not exists node (
    id uuid primary key,
    name text not null,
    started_at timestamptz not null,
    heard_at timestamptz not null,
    reads_from text not null,
    behind integer not null,
    behind_since timestamptz
) with (fillfactor = 50);

create table if not exists node_sample (
    number bigint generated always as identity,
    node uuid not null,
    taken_at timestamptz not null default now(),
    seconds real not null,
    held integer not null,
    changes integer not null,
    commits integer not null,
    wakes integer not null,
    wake_p50_ms real,
    wake_p99_ms real,
    primary key (node, number)
);

create index if not exists node_sample_age on node_sample (taken_at);

create table if not exists person (
    number integer primary key generated always as identity,
    name text collate "C" not null unique,
    role text not null,
    password_hash text not null,
    created_at timestamptz not null default now(),
    disabled_at timestamptz
);

create table if not exists person_organization (
    person integer not null references person,
    organization integer not null references organization,
    primary key (person, organization)
);

create table if not exists person_session (
    token_hash bytea primary key,
    person integer not null references person,
    form_token text not null,
    begun_at timestamptz not null default now(),
    seen_at timestamptz not null default now()
);

create table if not exists sign_in_failure (
    name text collate "C" not null,
    address text not null,
    failed_at timestamptz not null default now()
);

create index if not exists sign_in_failure_of on sign_in_failure (address, failed_at);

create table if not exists audit_event (
    happened_at timestamptz not null default now(),
    actor_kind text not null,
    actor text not null,
    organization integer,
    address text,
    action text not null,
    notification_type text,
    ids text[],
    detail text
);

create index if not exists audit_event_time on audit_event using brin (happened_at);
create index if not exists audit_event_ids on audit_event using gin (ids);

create or replace function refuse_to_change_audit() returns trigger language plpgsql as $$
begin
    if current_setting('homeroom.collects_audit', true) is distinct from 'yes' then
        raise exception 'the audit is only added to';
    end if;
    return old;
end $$;

create or replace trigger audit_event_stays before update or delete on audit_event
for each row execute function refuse_to_change_audit();
create or replace trigger audit_event_stays_whole before truncate on audit_event
for each statement execute function refuse_to_change_audit();

-- What people did was noted in a table of its own for a while.
do $$
begin
    if to_regclass('person_event') is not null then
        insert into audit_event (happened_at, actor_kind, actor, address, action, detail)
        select happened_at, 'person', person, address, 'did', what from person_event order by number;
        drop table person_event;
    end if;
end $$;

update core set schema_version = 3;
