-- Runs that go by themselves, settings by the day, an inbox with decisions, backups before each run.

create table if not exists feed_secret (
    feed integer not null references feed,
    name text collate "C" not null,
    ciphertext bytea not null,
    key_id text not null,
    set_at timestamptz not null default now(),
    set_by text not null,
    primary key (feed, name)
);

create table if not exists settings_days (
    feed integer not null references feed,
    first_day date not null,
    last_day date not null,
    state_name text not null,
    primary key (feed, first_day),
    check (first_day <= last_day)
);

alter table subject
    add column if not exists sis_whole_at timestamptz,
    add column if not exists sis_columns_shown text[];

-- What an undo had refused was not written by then; nobody loses it.
alter table record
    drop column if exists refused,
    add column if not exists base_more text,
    add column if not exists awaiting_since timestamptz,
    add column if not exists unlinked boolean not null default false;
update record set awaiting_since = now() where awaiting is not null and awaiting_since is null;

alter table run
    alter column settings_version set default 0,
    add column if not exists settings_state text not null default '',
    add column if not exists dry boolean not null default false,
    add column if not exists log text not null default '{"steps": [], "notes": [], "guardReasons": []}',
    add column if not exists cancel_asked_at timestamptz;

create index if not exists run_running on run (beats_at) where status = 'running';

create table if not exists night (
    feed integer not null references feed,
    local_date date not null,
    begins_at timestamptz not null,
    until timestamptz not null,
    job bigint,
    hand_out_at timestamptz not null default now(),
    skipped text,
    primary key (feed, local_date)
);

alter table planned add column if not exists is_delete boolean not null default false;
alter table planned alter column is_delete drop default;

create table if not exists left_out (
    number bigint primary key generated always as identity,
    run uuid not null references run on delete cascade,
    side text not null,
    record bigint,
    place text not null,
    faults text not null
);

create index if not exists left_out_of on left_out (run, record);

do $$
begin
    if exists (select from pg_attribute where attrelid = 'journal'::regclass and attname = 'expected') then
        alter table journal rename column expected to before;
    end if;
end $$;

-- Nothing was ever written into what goes here: decisions have a table of their own, before anybody could decide.
alter table conflict
    drop column if exists decided_value,
    drop column if exists decided_for,
    drop column if exists decided_by,
    drop column if exists decided_at,
    add column if not exists found_at timestamptz not null default now();

create table if not exists decision (
    record bigint not null references record on delete cascade,
    pointer text not null,
    outcome text,
    base text,
    sis text,
    hub text,
    made_by text not null,
    made_at timestamptz not null default now(),
    primary key (record, pointer)
);

alter table own_rule drop column if exists sticky;

create table if not exists sticky (
    record bigint not null references record on delete cascade,
    pointer text not null,
    made_by text not null,
    made_at timestamptz not null default now(),
    primary key (record, pointer)
);

create table if not exists re_key (
    record bigint not null references record on delete cascade,
    sis_key text collate "C" not null,
    is_same boolean not null,
    made_by text not null,
    made_at timestamptz not null default now(),
    primary key (record, sis_key)
);

drop table if exists flip;

create table if not exists writing (
    record bigint not null references record on delete cascade,
    pointer text not null,
    before text,
    after text,
    written_at timestamptz not null default now()
);

create index if not exists writing_of on writing (record);
create index if not exists writing_age on writing (written_at);

create table if not exists told (
    feed integer not null references feed,
    hook text not null,
    occasion text not null,
    day date not null,
    claimed_at timestamptz not null default now(),
    told_at timestamptz,
    primary key (feed, hook, occasion, day)
);

create table if not exists hook_failure (
    feed integer not null references feed,
    hook text not null,
    runs uuid[] not null,
    message text not null,
    first_seen timestamptz not null default now(),
    last_tried timestamptz not null default now(),
    primary key (feed, hook)
);

create table if not exists failing (
    record bigint not null references record on delete cascade,
    what text not null,
    message text not null,
    first_seen timestamptz not null default now(),
    last_tried timestamptz not null default now(),
    primary key (record, what)
);

alter table trigger
    add column if not exists version bigint not null default 0,
    add column if not exists why text not null default '',
    add column if not exists read_by uuid;

create index if not exists trigger_dirty on trigger (subject, raised_at) where not parked;

alter table backup
    alter column bytes drop not null,
    alter column records drop not null,
    alter column made_at drop not null,
    alter column made_at drop default,
    add column if not exists begun_at timestamptz not null default now(),
    add column if not exists checksum text;

create table if not exists restoring (
    run uuid not null references run on delete cascade,
    record bigint not null,
    hub text,
    sis text,
    sis_covered text[],
    primary key (run, record)
);

create table if not exists heard (
    feed integer not null references feed,
    organization text collate "C" not null,
    notification_type text collate "C" not null,
    version bigint not null,
    epoch text not null,
    primary key (feed, organization, notification_type)
);

create table if not exists webhook_call (
    signature bytea primary key,
    forget_at timestamptz not null
);

create index if not exists webhook_call_age on webhook_call (forget_at);

create table if not exists watched_file (
    feed integer not null references feed,
    name text collate "C" not null,
    stamp text not null,
    digest text not null,
    came_at timestamptz not null default now(),
    primary key (feed, name)
);
