-- Who sees which records follows from associations; clients' streams are explained.

alter table core
    alter column epoch drop default,
    add column if not exists system_identifier bigint,
    add column if not exists timeline integer,
    add column if not exists fenced text,
    add column if not exists access_day date;

-- When old records were created is not known: their creators see them as if it were today.
alter table record add column if not exists created_at timestamptz not null default now();

create table if not exists association (
    student text collate "C" not null,
    organization integer not null references organization,
    cause text not null,
    source text collate "C" not null,
    begins_on date not null,
    ends_on date,
    active boolean not null,
    primary key (student, organization, cause, source)
);

create index if not exists association_ends on association (ends_on) where active;

create table if not exists missing_organization (
    code text collate "C" not null,
    student text collate "C" not null,
    primary key (code, student)
);

create table if not exists access_grant (
    student text collate "C" not null,
    organization integer not null references organization,
    ends_on date,
    granted_at timestamptz not null default now(),
    primary key (student, organization)
);

create table if not exists access_trigger (
    student text collate "C" primary key,
    generation bigint not null default 1,
    due_on date not null default '-infinity',
    leased_until timestamptz not null default '-infinity'
);

create index if not exists access_trigger_due on access_trigger (due_on, leased_until);

create table if not exists organization_move (
    organization integer not null references organization,
    notification_type integer not null references notification_type,
    after bigint not null default 0,
    until bigint,
    primary key (organization, notification_type)
);

create table if not exists access_event (
    happened_at timestamptz not null default now(),
    student text collate "C" not null,
    organization integer not null,
    cause text not null,
    source text not null,
    begun boolean not null
);

create index if not exists access_event_organization on access_event (organization, happened_at);
create index if not exists access_event_student on access_event (student, happened_at);

create table if not exists version_mark (
    marked_at timestamptz primary key,
    version bigint not null
);

alter table version_mark alter column marked_at drop default;

create table if not exists client_stream (
    client integer not null references client,
    organization integer not null references organization,
    notification_type text collate "C" not null,
    asked_at timestamptz not null,
    cursor bigint not null,
    version_hash text,
    told_reason text not null,
    told_records integer not null,
    in_step_at timestamptz,
    in_step_version bigint,
    mismatch_since timestamptz,
    mismatch_count integer not null default 0,
    reconciled_ids text[],
    primary key (client, organization, notification_type)
);

alter table client_stream alter column reconciled_ids drop not null, alter column reconciled_ids drop default;
